import TestSupport
import Testing

/// Assembler sources are units like others: what counts is that functions have symbols with a type and a size.
@Suite struct AssemblerTests {
    private static func function(_ name: String, _ body: String, linkage: String = ".globl") -> String {
        """
        \(linkage) \(name)
        .type \(name), @function
        \(name):
        \(body)
        ret
        .size \(name), .-\(name)

        """
    }

    private static let head = ".section .note.GNU-stack,\"\",@progbits\n.text\n"
    private static let tail = ".local calls\n.comm calls,4,4\n"
    private static let step = function("step", "leal 3(%rdi), %eax\naddl $1, calls(%rip)\naddl base(%rip), %eax")
    private static let twice = function("twice", "leal (%rdi,%rdi), %eax\ncall more\nnop\nnop")
    private static let more = function("more", "addl $100, %eax\nnop\nnop", linkage: ".local")

    private func patching(_ text: String, _ edit: (String, String), _ callee: String) throws -> Patching {
        try Patching(
            ["a.S": Self.head + text + Self.tail, "m.c": "int base = 10;\n" + Patching.main(callee)],
            ["a.S": [edit]])
    }

    @Test func `a function alone in its section is replaced`() throws {
        let patched = try patching(Self.step, ("$1, calls", "$2, calls"), "step")
        #expect(patched.functions == ["step"])
        #expect(patched.bindings["calls"] != nil && patched.bindings["base"] != nil)
    }

    /// The assembler has resolved what functions of one section call each other by.
    @Test func `functions that share a section are refused, the local one too`() throws {
        let text = Self.twice + Self.more
        #expect(try Set(patching(text, ("leal (", "leal 1("), "twice").rules) == ["ambiguous-symbol"])
        #expect(try Set(patching(text, ("$100", "$101"), "twice").rules) == ["ambiguous-symbol"])
    }

    @Test func `sections of their own may be named in the source`() throws {
        let text = ".section .text.twice,\"ax\"\n" + Self.twice + ".section .text.more,\"ax\"\n" + Self.more
        #expect(try patching(text, ("$100", "$101"), "twice").functions == ["more"])
    }
}
