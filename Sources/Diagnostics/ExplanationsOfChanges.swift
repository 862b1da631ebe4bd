/// Rules about what a patch changes in a running process.
let explanationsOfChanges: [(rule: Rule, text: RuleExplanation)] = [
    (
        .typeLayout,
        RuleExplanation(
            "Objects in the process's memory were laid out by the old code. A type that the changed code can reach has another size, other offsets, members of another type, another alignment, or enumerators with other values; or a variable has another type. New code would read what was never written there.",
            example: """
                struct session {
                    int state;
                +   int retries;        // existing sessions are 4 bytes too short
                };
                """,
            remedy: "restart, or change the fix so that the layout stays",
            wayOut:
                "Keep the layout: put the new state into a table beside the objects, or into bits that were unused and zero in every object. Otherwise restart. Members with a new name, enumerators behind the last one, and types that only new code uses are not refused.",
            decision:
                "no object of this type is alive at the switch and used behind it, or that new code never touches the part that differs in one that is."
        )
    ),
    (
        .dataInitialValue,
        RuleExplanation(
            "The initial value of a writable variable changes. The process has initialised it already, and may have changed it since; new code would find the old value. So would it where the first call of a function has computed the value of a static variable, and the fix computes another.",
            example: """
                -static int limit = 1000;
                +static int limit = 2000;
                """,
            remedy: "restart, or set the value from patched code",
            wayOut:
                "Restart, or set the value from patched code: a changed function that runs after the switch may assign it. Or have the value written at the switch, by a decision; that can't be done for pointers, thread-locals, and variables that a library exports.",
            decision:
                "the new value may be written at the switch, in each aligned word (8 bytes) of the variable that memory still holds as it was at the start; what the program has changed meanwhile is left alone, and `livepatch status` says so. Reverting puts back what still holds the new value. Of a value that a first call computed: that the old one may stay."
        )
    ),
    (
        .dataSize,
        RuleExplanation(
            "A variable gets another size, or an alignment that it does not have in the process. A larger one has no room, of a smaller one other code may go on using the rest, and aligned instructions (movaps) would fault.",
            example: """
                -static char name[64];
                +static char name[256];
                """,
            remedy: "restart, or keep the object's size in the fix",
            wayOut:
                "Keep the size and refuse longer input, or use a new variable under another name, with a new purpose.")
    ),
    (
        .lostState,
        RuleExplanation(
            "A variable is gone, and a new one takes its place in the same code. The new one starts with its initial value: what the process has stored in the old one is lost without a word.",
            example: """
                -static int open_calls;
                +static int calls_in_progress;
                """,
            remedy: "keep the variable's name in the fix",
            wayOut: "Keep the variable's name in the fix that is patched in.",
            decision: "what the old variable holds does not matter to the new code.")
    ),
    (
        .initialiserHasRun,
        RuleExplanation(
            "A variable is set up only by code that has run in the process and does not run again: the start of main, a constructor, and what only they call. New code would use it as it is: a new variable is zero, a table empty, a limit refuses everything.",
            example: """
                +static size_t limit;
                 static void read_options(void) { … limit = 4096; }      // main called it when the program started
                 static int receive(size_t n) { if (n > limit) return -1; … }
                """,
            remedy: "restart, or set the variable up where it is used",
            wayOut:
                "Give the variable its value in its definition, or set it up in the function that uses it, when it finds it unset.",
            decision:
                "new code does what it should with the value that the process has: zero where the variable is new.")
    ),
    (
        .readOnlyData,
        RuleExplanation(
            "A constant becomes a variable. The process has it in memory that can't be written, and storing into it would end the process.",
            example: """
                -static const int limits[4] = {1, 2, 4, 8};
                +static int limits[4] = {1, 2, 4, 8};      // and limits[n]++ in a function
                """,
            remedy: "restart, or give the fix a new variable under another name",
            wayOut: "Give the fix a new variable under another name; it travels in the patch.")
    ),
    (
        .meaning,
        RuleExplanation(
            "A constant has another value, and something made by the old value outlives the switch: an allocation whose size it decides while other code relies on that size, or a stored number that now means something else. Layouts are equal, so nothing else would tell. Every changed constant is listed by `build` and `show` with the functions that use it.",
            example: """
                -#define ROOM 64
                +#define ROOM 256
                 buffer = malloc(ROOM);                            // before the switch: 64 bytes
                 for (i = 0; i < ROOM; i++) buffer[i] = 0;         // after it: 256
                """,
            remedy: "restart, or keep the constant and give the fix one of its own",
            wayOut: "Keep the constant and give the fix one of its own, or restart.",
            decision: "nothing made with the old value is used by new code, or that it does no harm there.")
    ),
    (
        .changedSignature,
        RuleExplanation(
            "A function takes other parameters, or gives another result, and somebody goes on calling it in the old way: a unit that changes with it, but is in none of the given targets; or whoever was given its address before, as a callback, a handler or an entry of a table.",
            example: """
                -int parse(const char *text);                  // in the library, which is the --target
                +int parse(const char *text, size_t length);   // the program calls it, and is not
                """,
            remedy: "give every program and library that the change reaches, each with a --target of its own",
            wayOut:
                "Give both with a --target each: they are patched in one switch. Give the new form of a callback another name, and leave the old one for the registrations that have been made.",
            decision:
                "nobody who has been given the function's address calls it any more. What a unit outside of the given targets calls can't be decided."
        )
    ),
    (
        .changedConstant,
        RuleExplanation(
            "A constant changes, and its address may be known to code that stays: another unit, a stored pointer, a section that is read as a whole. That code would go on with the old one. A label's address that a function stores is refused for the same reason.",
            example: """
                -static const struct rule rules[] = {{"a", 1}};
                +static const struct rule rules[] = {{"a", 2}};
                 void init(void) { current = rules; }          // has run already
                """,
            remedy: "restart, or read the constant only in replaced functions",
            wayOut:
                "Read the constant directly, in functions that are replaced: loads are no escape. Or restart.",
            decision: "nobody has kept the address, or that who has may go on with the old constant.")
    ),
    (
        .vanishedFunction,
        RuleExplanation(
            "The fix has no function of that name any more, but its address has been given away: a callback, a handler, a table. The process goes on calling the old one, unfixed.",
            example: """
                -static int on_read(int fd) { … }
                +static int handle_read(int fd) { … }          // event_set(handle_read) has long run with on_read
                """,
            remedy: "keep a function of that name in the fix",
            wayOut: "Keep the name in the fix that is patched in.",
            decision: "what still calls the old function may go on doing so.")
    ),
    (
        .newThreadLocal,
        RuleExplanation(
            "The fix adds a thread-local variable. Threads that run already have no room for it.",
            example: "+static _Thread_local int depth;",
            remedy: "keep the new state in an ordinary variable",
            wayOut: "Keep the new state in an ordinary variable, or in what the thread's functions hand on.")
    ),
    (
        .inlinedCopy,
        RuleExplanation(
            "A function of a touched header has a copy in a unit of the target that no recorded command compiles: inlined, or as a whole. The copy would stay unfixed. The target's debug information tells of it.",
            example: """
                 // size.h, read by a.c (recorded) and b.c (not recorded)
                -static inline int fits(int n) { return n < 64; }
                +static inline int fits(int n) { return n >= 0 && n < 64; }
                """,
            remedy: "record the whole build, so that the function that holds the copy is recompiled too",
            wayOut: "Record the whole build, so that every unit of the target is known: patchbuild record -- make",
            decision: "the copy that stays does no harm.")
    ),
    (
        .neverReturns,
        RuleExplanation(
            "The fix changes main, and every process of the program is in main until it ends, so that a patch that replaces it finds the process busy. The build says so. A decision leaves main as it is; that is refused where main calls what changes with it.",
            example: """
                 int main(int argc, char **argv) { … limit = atoi(optarg);
                +    if (limit > 100) limit = 100;      // has run already; handle() is fixed too, and can be patched
                     for (;;) handle(next()); }
                """,
            remedy: "restart, or leave main as it is in the fix",
            wayOut: "Move what has to change into a function that main calls, and that returns.",
            decision: "main may stay as it is, with what is inlined into it: what changes there has run already.")
    ),
    (
        .entryNone,
        RuleExplanation(
            "The function's entry can't hold a jump: it is shorter than 5 bytes, something branches into its first bytes, or it crosses a page.",
            example: "int version(void) { return 3; }      // 6 bytes with ret; `return 0` has 3",
            remedy: "patch the callers instead, or build the target with -fpatchable-function-entry",
            wayOut:
                "Patch the callers instead, or build the target with pads (`patchbuild check` tells how)."
        )
    ),
    (
        .constructors,
        RuleExplanation(
            "What changes runs before main, or only once: a constructor, a function that only constructors call, their order, a list that the linker collects in a section. It has run already, and code that read the list has read it.",
            example: """
                 __attribute__((constructor)) static void start(void)
                -{ table_size = 16; }
                +{ table_size = 32; }
                """,
            remedy: "restart: constructors of the target have run already",
            wayOut: "Restart, or do the same in a function that runs again.",
            decision: "what the constructor or list did before the switch is right for the new code.")
    ),
    (
        .aliases,
        RuleExplanation(
            "Several names have one address in the target (aliases, identical functions folded by the linker). A jump at the address would patch all of them, and the fix changes only some.",
            example: """
                 int old_name(int) __attribute__((alias("parse")));
                -// parse and old_name are one function
                +// the fix gives old_name a body of its own
                """,
            remedy: "give all names at the address the same new body",
            wayOut: "Give all names at the address the same new body.")
    ),
    (
        .cplusplus,
        RuleExplanation(
            "A coroutine changes. One that waits in the process goes on by a number that means a place of the old code only.",
            example: "Task go() { co_await a; co_await b; }     // becomes: co_await b; co_await a;",
            remedy: "restart, or leave the coroutine as it is",
            wayOut: "Restart.")
    ),
    (
        .relocationType,
        RuleExplanation(
            "New code refers to something by a kind of relocation that is not in the closed list of those known to be safe, or to a place inside of another function.",
            example: "-fPIC -mcmodel=large reaches data by its distance from the GOT (R_X86_64_GOTOFF64)",
            remedy: "report the relocation type; it is not in the list that is known to be safe",
            wayOut: "Report the type of relocation with the compiler and its flags.")
    ),
    (
        .pieLibraryData,
        RuleExplanation(
            "Code of a program newly reads or writes a variable of a library directly. That needs a copy relocation, which only the program's own link could make. (Taking its address does not, but with -fno-pie.)",
            example: "+if (optind < argc) …                    // the program did not use optind before",
            remedy: "use the library's variable in a function that is compiled with -fPIC, or through a function call",
            wayOut: "Use the variable in a unit that is compiled with -fPIC, or through a function call.")
    ),
]
