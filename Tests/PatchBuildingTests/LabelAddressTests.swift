import Testing

@testable import Guarding

/// Addresses of labels (`&&label`) that leave their function lead into the old body for ever (trap escaping-labels).
@Suite struct LabelAddressTests {
    private static let main = "int sink(int x) { return x * 3; }\n" + Patching.main("work")

    private func outcome(_ function: String, flags: [String], _ edit: (String, String) = ("1000", "2000")) throws
        -> [String]
    {
        let patching = try Patching(
            ["a.c": "int sink(int);\n" + function, "m.c": Self.main], ["a.c": [edit]], flags: flags)
        return patching.rules + patching.functions
    }

    static let escaping: [(String, String)] = [
        (
            "its table is published",
            """
            const void *const *published;
            int work(int x) {
                static const void *const table[] = {&&a, &&b};
                if (x < 0) { published = table; return 0; }
                goto *table[x & 1];
                a: return sink(x + 1000);
                b: return sink(x + 7);
            }
            """
        ),
        (
            "loaded labels are stored",
            """
            void *code[8];
            int work(int x) {
                static const void *const table[] = {&&a, &&b};
                if (x < 0) { for (int i = 0; i < 8; i++) code[i] = (void *)table[i & 1]; return 0; }
                goto *code[x & 7];
                a: return sink(x + 1000);
                b: return sink(x + 7);
            }
            """
        ),
        (
            "a label's own address is stored",
            """
            struct thread { void *resume; } self;
            int work(int x) {
                if (self.resume) goto *self.resume;
                self.resume = &&next;
                return sink(x);
                next: return sink(x + 1000);
            }
            """
        ),
        (
            "a label is an argument",
            """
            extern void *volatile kept;
            int work(int x) {
                void *to = x > 3 ? &&a : &&b;
                kept = to;
                goto *kept;
                a: return sink(x + 1000);
                b: return sink(x + 7);
            }
            void *volatile kept;
            """
        ),
        (
            "an automatic table is copied",
            """
            void *volatile kept[3];
            int work(int x) {
                void *table[] = {&&a, &&b, &&c};
                __builtin_memcpy((void *)kept, table, sizeof table);
                goto *kept[x % 3];
                a: return sink(x + 1000);
                b: return sink(x + 7);
                c: return sink(x + 9);
            }
            """
        ),
        (
            "another function reads the table",
            """
            static const void *const *table;
            static const void *get(int x) { return table[x]; }
            const void *volatile next;
            int work(int x) {
                static const void *const labels[] = {&&a, &&b};
                table = labels;
                if (x & 4) next = get(x & 1); else next = labels[0];
                goto *next;
                a: return sink(x + 1000);
                b: return sink(x + 7);
            }
            """
        ),
        (
            "a structure holds them",
            """
            struct op { const char *name; const void *label; };
            const struct op *volatile current;
            int work(int x) {
                static const struct op ops[] = {{"a", &&a}, {"b", &&b}};
                if (!current) { current = &ops[x & 1]; return 0; }
                goto *current->label;
                a: return sink(x + 1000);
                b: return sink(x + 7);
            }
            """
        ),
    ]

    @Test(arguments: escaping, [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"]])
    func `trap escaping-labels: a function whose labels leave it`(_ shape: (String, String), flags: [String]) throws {
        #expect(try outcome(shape.1, flags: flags) == ["changed-constant-escapes"], "\(shape.0)")
    }

    static let inner: [(String, String)] = [
        (
            "a table only jumped through",
            """
            int work(int x) {
                static const void *const table[] = {&&a, &&b, &&c};
                int n = x;
                goto *table[n & 1];
                a: n = sink(n + 1000); goto *table[2];
                b: n = sink(n + 7); goto *table[2];
                c: return n;
            }
            """
        ),
        (
            "distances from a label",
            """
            int work(int x) {
                static const int table[] = {&&a - &&a, &&b - &&a};
                goto *(&&a + table[x & 1]);
                a: return sink(x + 1000);
                b: return sink(x + 7);
            }
            """
        ),
        (
            "a switch",
            """
            int work(int x) {
                switch (x) {
                case 0: return sink(x + 1000);
                case 1: return sink(x + 5);
                case 2: return sink(x * 7);
                case 3: return sink(x - 9);
                case 4: return sink(x ^ 11);
                case 5: return sink(x + 80);
                case 6: return sink(x / 13);
                default: return 0;
                }
            }
            """
        ),
    ]

    @Test(arguments: inner, [["-O2"], ["-O2", "-fno-pie", "-no-pie"]])
    func `labels that a function keeps to itself`(_ shape: (String, String), flags: [String]) throws {
        #expect(try outcome(shape.1, flags: flags) == ["work"], "\(shape.0)")
    }

    @Test func `a function that keeps its body may give its labels away`() throws {
        let other = try Patching(
            [
                "a.c": "int sink(int);\n" + Self.escaping[2].1 + "\nint other(int x) { return sink(x + 3); }\n",
                "m.c": "int sink(int x) { return x * 3; }\n" + Patching.main("work", "other"),
            ], ["a.c": [("x + 3", "x + 4")]])
        #expect(other.functions == ["other"])
    }
}
