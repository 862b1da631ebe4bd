import TestSupport

/// A library of a few functions and a program that calls them: what compilers treat in different ways is in it, and the fix
/// touches each of them.
struct MatrixProgram {
    let directory: String
    let target: String
    var program: String { directory + "/program" }
    var bundle: String { directory + "/fix.lpatch" }

    /// How the target is compiled and linked.
    struct Kind {
        var compile: [String]
        var link: [String]
        static let pie = Kind(compile: ["-fPIE"], link: ["-pie"])
        static let fixed = Kind(compile: ["-fno-pie"], link: ["-no-pie"])
        static let shared = Kind(compile: ["-fPIC"], link: ["-shared"])
        var isShared: Bool { link == ["-shared"] }
    }

    /// Compiled once per machine: the directory's name is that of its contents.
    init(compiler: String, kind: Kind, flags: [String], link: [String] = []) throws {
        let fixed = Self.edits.reduce(Self.sources["work.c"] ?? "") { $0.replacing($1.0, with: $1.1) }
        let key =
            Self.sources.sorted { $0.key < $1.key }.map(\.value) + [fixed, compiler] + kind.compile + flags + link
        directory = try Fixture.cached(key) { directory in
            for (name, text) in Self.sources { try writeText(text, to: directory + "/" + name) }
            try writeText(fixed, to: directory + "/fixed")
            let diff = try run(
                "diff", ["-u", "--label", "a/work.c", "--label", "b/work.c", "work.c", "fixed"], in: directory)
            try writeText(diff.stdout, to: directory + "/fix.diff")
            let units = ["work", "other", "main"]
            for unit in units {
                try runOrThrow(compiler, kind.compile + flags + ["-c", "\(unit).c", "-o", "\(unit).o"], in: directory)
            }
            let objects = ["work.o", "other.o"] + (kind.isShared ? [] : ["main.o"])
            let output = kind.isShared ? "libwork.so" : "program"
            try runOrThrow(
                compiler, flags + link + kind.link + objects + ["-Wl,--build-id", "-o", output], in: directory)
            if kind.isShared {
                let found = ["-L.", "-lwork", "-Wl,-rpath,$ORIGIN", "-Wl,--build-id", "-o", "program"]
                try runOrThrow(compiler, flags + link + ["main.o"] + found, in: directory)
            }
        }
        target = directory + (kind.isShared ? "/libwork.so" : "/program")
        let commands = ["work", "other", "main"].map { unit in
            let words = [compiler] + kind.compile + flags + ["-c", "\(unit).c", "-o", "\(unit).o"]
            let list = words.map { "\"\($0)\"" }.joined(separator: ", ")
            return #"{"directory": "\#(directory)", "file": "\#(unit).c", "arguments": [\#(list)]}"#
        }
        try writeText("[\(commands.joined(separator: ",\n"))]", to: directory + "/compile_commands.json")
    }

    /// What a line of the program is before the fix, and with it.
    static let before = "82666603755 <cyan 24 1>"
    static let after = "136809612699 [cyan 24 1]"

    /// What the fix replaces, whatever the compiler: `clamp` is part of `evaluate` and of `shift_block` everywhere.
    static let replaced: Set<String> = [
        "classify", "describe", "evaluate", "mod", "real_name", "shift_block", "tail", "weigh",
    ]

    static let edits: [(String, String)] = [
        ("value > 4096 ? 4096", "value > 8192 ? 8192"),
        ("\"modulo by zero: %d\\n\", a);", "\"modulo by zero: %d (%s)\\n\", a, names[a & 7]);"),
        (
            "__attribute__((noinline)) int classify(int code)\n{\n",
            """
            static int audits;
            __attribute__((noinline)) static int checked(int code, int limit)
            {
                static int counter = 1;
                audits++;
                return code > limit ? counter++ + audits : 0;
            }

            __attribute__((noinline)) int classify(int code)
            {
                if (code < -8 || checked(code, 1000))
                    return join((char[64]){0}, 64, "refused %d", code);

            """
        ),
        ("case 8: return depth + 42;", "case 8: return depth + 43;\n    case 9: return calls + total_calls;"),
        ("mass * 0.75 + 3.5", "mass * 0.625 + 4.5"),
        ("return code * 5 + calls; }", "return code * 6 + calls; }"),
        ("if (code > 100)\n        return real", "if (code > 100 && depth > 0)\n        return real"),
        ("\"<%s %u %d>\"", "\"[%s %u %d]\""),
    ]

    static let sources = [
        "work.h": """
        #ifndef WORK_H
        #define WORK_H
        #include <stddef.h>
        struct block { int id; char name[60]; long values[24]; double scale; };
        struct op { const char *name; int (*run)(int, int); };
        enum color { RED, GREEN, BLUE, CYAN, MAGENTA, YELLOW, BLACK, WHITE };
        extern const struct op operations[4];
        extern _Thread_local int depth;
        extern int total_calls;
        int join(char *out, size_t size, const char *format, ...);
        int classify(int code);
        int paint(enum color color, int shade);
        struct block shift_block(struct block b, int by);
        int evaluate(int code, int argument);
        int other_count(int step);
        double weigh(int code, double mass);
        int weak_hook(int code);
        int tail(int code);
        int real_name(int code);
        int alias_name(int code);
        const char *describe(int code);
        #endif

        """,
        "work.c": """
        #include "work.h"
        #include <stdarg.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>

        static int calls;
        static int counter = 3;
        _Thread_local int depth;
        int total_calls;
        static const int weights[8] = {3, 1, 4, 1, 5, 9, 2, 6};
        static const char *const names[8] = {"red", "green", "blue", "cyan", "magenta", "yellow", "black", "white"};

        __attribute__((noinline)) int join(char *out, size_t size, const char *format, ...)
        {
            va_list list;
            va_start(list, format);
            int n = vsnprintf(out, size, format, list);
            va_end(list);
            return n;
        }

        static int add(int a, int b) { static int counter = 10; counter++; return a + b + (counter > 1000); }
        static int mul(int a, int b) { static int counter = 20; counter += 2; return a * b + (counter < 0); }
        static int sub(int a, int b) { calls++; return a - b; }
        static inline __attribute__((always_inline)) int clamp(int value) { return value > 4096 ? 4096 : value; }

        static int mod(int a, int b)
        {
            if (b == 0) {
                fprintf(stderr, "modulo by zero: %d\\n", a);
                abort();
            }
            return a % b;
        }
        const struct op operations[4] = {{"add", add}, {"mul", mul}, {"sub", sub}, {"mod", mod}};

        __attribute__((noinline)) int classify(int code)
        {
            switch (code) {
            case 0: return 12;
            case 1: return calls + 7;
            case 2: return weights[2] * 3;
            case 3: return (int)strlen(names[3]);
            case 4: return counter++ > 0;
            case 5: return 77 - code;
            case 6: return total_calls > -1;
            case 7: return weights[code & 7];
            case 8: return depth + 42;
            default: return -1;
            }
        }

        __attribute__((noinline)) int paint(enum color color, int shade)
        {
            char text[48];
            int length = join(text, sizeof text, "%s/%d", names[color], shade);
            for (int i = 0; i < length; i++)
                shade = shade * 31 + text[i];
            return shade & 0xffff;
        }

        __attribute__((noinline)) struct block shift_block(struct block b, int by)
        {
            struct block copy = b;
            for (int i = 0; i < 24; i++)
                copy.values[i] = b.values[(i + by) % 24] << 1;
            copy.scale *= 1.25;
            copy.id = clamp(by);
            return copy;
        }

        __attribute__((noinline)) double weigh(int code, double mass)
        {
            double result = mass * 0.75 + 3.5;
            if (code & 1)
                result = result / 1.125;
            return result + weights[code & 7];
        }

        __attribute__((weak)) int weak_hook(int code) { return code * 2; }

        __attribute__((noinline)) int real_name(int code) { return code * 5 + calls; }
        int alias_name(int code) __attribute__((alias("real_name")));

        __attribute__((noinline)) int tail(int code)
        {
            depth++;
            if (code > 100)
                return real_name(code - 100);
            return weak_hook(code + (depth > 0));
        }

        __attribute__((noinline)) const char *describe(int code)
        {
            static char text[40];
            static int counter = 0;
            counter++;
            unsigned high;
            __asm__("movl %1, %0\\n\\troll $3, %0" : "=r"(high) : "r"((unsigned)code));
            snprintf(text, sizeof text, "<%s %u %d>", names[code & 7], high, counter > 0);
            return text;
        }

        __attribute__((noinline)) int evaluate(int code, int argument)
        {
            static int counter = 100;
            counter++;
            total_calls++;
            struct block b;
            memset(&b, 0, sizeof b);
            b.scale = 2.5;
            b.values[3] = argument;
            struct block moved = shift_block(b, code);
            int result = operations[code & 3].run(argument, code + 1);
            result += classify(code) + paint((enum color)(code & 7), argument);
            result += (int)moved.values[(27 - code) % 24] + (int)(moved.scale * 4.0);
            result += (int)weigh(code, argument) + tail(argument + 100 * (code & 1));
            return clamp(result) * 3 + (counter < 0) + other_count(code);
        }

        """,
        "other.c": """
        #include "work.h"
        static int calls = 500;
        static int counter;
        static int add(int a, int b) { return a * 2 + b; }
        int other_count(int step)
        {
            static int last;
            counter += step;
            calls++;
            last = add(step, 3);
            return last + (calls < 0) + (counter < 0);
        }

        """,
        "main.c": """
        #include "work.h"
        #include <stdio.h>
        #include <unistd.h>
        int main(void)
        {
            setlinebuf(stdout);
            for (;;) {
                long sum = 0;
                for (int code = 0; code < 9; code++)
                    sum = sum * 7 + evaluate(code, code + 5);
                printf("%ld %s\\n", sum, describe(3));
                usleep(20000);
            }
        }

        """,
    ]
}
