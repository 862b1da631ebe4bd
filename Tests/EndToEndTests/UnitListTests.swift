import TestSupport
import Testing

extension EndToEnd {
    /// What a unit has an effect by though no function and no variable of it changes, beside one whose code does change.
    @Suite(.serialized) struct UnitListTests {
        static let sources = [
            "day.c": "int charge(int n);\nint day(int n) { return charge(n) + 1; }\n",
            "list.c": """
            struct command { const char *name; int (*run)(int); };
            #define COMMAND(f) static const struct command item_##f __attribute__((section("commands"), used)) = {#f, f}
            static int add(int n) { return n + 3; }
            static int twice(int n) { return n * 2; }
            int first(int n) { return n + 5; }
            int second(int n) { return n * 7; }
            int charge(int n) __attribute__((alias("first")));
            COMMAND(add);
            COMMAND(twice);

            """,
            "main.c": """
            #include <stdio.h>
            struct command { const char *name; int (*run)(int); };
            extern const struct command __start_commands[], __stop_commands[];
            int day(int);
            int main(int count, char **arguments)
            {
                for (const struct command *c = __start_commands; c < __stop_commands; c++)
                    count += c->run(count);
                printf("%d\\n", day(count));
            }
            """,
        ]

        @Test(
            "a unit whose code stays but whose lists change is refused",
            arguments: [
                ("COMMAND(add);\n", "", "constructors"),
                ("COMMAND(twice);\n", "COMMAND(twice);\nCOMMAND(second);\n", "constructors"),
                ("alias(\"first\")", "alias(\"second\")", "aliases"),
                (
                    "COMMAND(add);\n",
                    "COMMAND(add);\nint started;\n__attribute__((constructor)) static void start(void) { started++; }\n",
                    "constructors"
                ),
                (
                    "COMMAND(add);\n",
                    "COMMAND(add);\n__asm__(\".pushsection more,\\\"a\\\"; .quad 1; .popsection\");\n",
                    "constructors"
                ),
            ])
        func changedList(_ old: String, _ new: String, _ rule: String) throws {
            let program = try SmallProgram("unit-lists", Self.sources)
            let day = SmallProgram.Edit(file: "day.c", old: "+ 1", new: "+ 2")
            let built = try program.build([day, .init(file: "list.c", old: old, new: new)])
            try expectRefusal(rule, built)
            // Alone as well: it is not that there is nothing to patch.
            try expectRefusal(rule, try program.build([.init(file: "list.c", old: old, new: new)]))
        }

        @Test(
            "a unit that is only written in another way passes",
            arguments: [
                ("COMMAND(add);\nCOMMAND(twice);", "/* both */\nCOMMAND(add);\n\nCOMMAND(twice);"),
                ("int second", "int unused(int n) { return n - 1; }\nint second"),
            ])
        func sameList(_ old: String, _ new: String) throws {
            let program = try SmallProgram("unit-lists", Self.sources)
            let day = SmallProgram.Edit(file: "day.c", old: "+ 1", new: "+ 2")
            let built = try program.build([day, .init(file: "list.c", old: old, new: new)])
            #expect(built.status == 0, "\(built)")
        }
    }
}
