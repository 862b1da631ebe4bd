import MachineCode
import TestSupport
import Testing

@Suite("Entries")
struct EntryTests {
    /// A body that is long enough for a jump and does nothing suspicious.
    private static let body = "mov %rdi, %rax\n add $1, %rax\n ret\n"

    private func analyze(_ source: String) throws -> EntryAnalysis { analyzeEntry(try assemble(source).function()) }

    @Test("a function with 5 nops at its entry is padded")
    func padded() throws {
        let found = try analyze("f: .fill 5, 1, 0x90\n \(Self.body) f_end: nop")
        #expect(found.kind == .padded)
        #expect(found.jumpOffset == 0 && found.resumeOffset == 5 && found.padLength == 5)
        #expect(found.reasons.isEmpty)
    }

    @Test("a pad behind endbr64, of single or of long nops")
    func paddedBehindEndbr() throws {
        let single = try analyze("f: endbr64\n .fill 7, 1, 0x90\n \(Self.body) f_end: nop")
        #expect(single.kind == .padded && single.jumpOffset == 4 && single.resumeOffset == 9)
        let long = try analyze("f: endbr64\n .nops 3\n .nops 6\n \(Self.body) f_end: nop")
        #expect(long.kind == .padded && long.jumpOffset == 4 && long.resumeOffset == 13 && long.padLength == 9)
    }

    @Test("a function without a pad is bare")
    func bare() throws {
        let found = try analyze("f: endbr64\n .nops 4\n \(Self.body) f_end: nop")
        #expect(found.kind == .bare && found.jumpOffset == 0 && found.resumeOffset == 0)
    }

    @Test("a pad before the entry with two nops at it is told, and the entry taken as bare")
    func padBefore() throws {
        let found = try analyze("ret\n .fill 5, 1, 0x90\n f: .fill 2, 1, 0x90\n \(Self.body) f_end: nop")
        #expect(found.kind == .bare && found.jumpOffset == 0)
        #expect(found.reasons.contains { $0.contains("before the entry") })
    }

    @Test("what -fpatchable-function-entry makes is padded", arguments: ["-fcf-protection=none", "-fcf-protection"])
    func compiled(_ protection: String) throws {
        let source = "int f(int a) { return a * 3 + 1; }\nint f_end(void) { return 0; }"
        let flags = ["-O2", "-S", "-fno-toplevel-reorder", "-fpatchable-function-entry=5", protection]
        let assembly = readText(try Fixture.compile(source, flags, output: "code.s"))
        let found = analyzeEntry(try assemble(assembly.replacingHashes).function())
        #expect(found.kind == .padded && found.padLength == 5)
    }

    @Test("a branch from inside into bytes 1 to 4 leaves no entry")
    func branchInto() throws {
        let found = try analyze("f: push %rbx\n 1: mov %rdi, %rax\n dec %rdi\n jne 1b\n pop %rbx\n ret\n f_end: nop")
        #expect(found.kind == .none)
        #expect(found.reasons.contains { $0.contains("goes to byte 1") })
        #expect(!found.loopsToEntry)
    }

    @Test("a branch from a cold half into bytes 1 to 4 leaves no entry")
    func branchFromCold() throws {
        let code = try assemble("f: push %rbx\n 1: \(Self.body) f_end: ret\n cold: nop\n jmp 1b\n cold_end: nop")
        #expect(analyzeEntry(code.function()).kind == .bare)
        #expect(analyzeEntry(code.function(cold: [code.part("cold", "cold_end")])).kind == .none)
    }

    @Test("a known target in bytes 1 to 4 leaves no entry, one elsewhere does no harm")
    func knownTargets() throws {
        let code = try assemble("f: push %rbx\n 1: \(Self.body) f_end: nop")
        let f = code.address("f")
        #expect(analyzeEntry(code.function(knownTargets: [f, f + 5, f - 1])).kind == .bare)
        for offset in UInt64(1)...4 {
            #expect(analyzeEntry(code.function(knownTargets: [f + offset])).kind == .none)
        }
    }

    @Test("trap loop-to-entry: a loop to byte 0 is told, for stack consistency only makes it safe")
    func loopToEntry() throws {
        let bare = try analyze("f: mov (%rdi), %rax\n add $8, %rdi\n test %rax, %rax\n jne f\n ret\n f_end: nop")
        #expect(bare.kind == .bare && bare.loopsToEntry)
        let padded = try analyze("f: endbr64\n 1: .fill 5, 1, 0x90\n dec %rdi\n jne 1b\n ret\n f_end: nop")
        #expect(padded.kind == .padded && padded.loopsToEntry)
        let behind = try analyze("f: .fill 5, 1, 0x90\n 1: dec %rdi\n jne 1b\n ret\n f_end: nop")
        #expect(behind.kind == .padded && !behind.loopsToEntry)
        let recursive = try analyze("f: dec %rdi\n je 1f\n call f\n 1: ret\n f_end: nop")
        #expect(recursive.kind == .bare && !recursive.loopsToEntry)
    }

    @Test("trap noreturn-end: a function, or a cold half, that ends with a call")
    func noreturnEnd() throws {
        let code = try assemble(
            "f: \(Self.body) f_end: nop\n g: push %rax\n call f\n g_end: nop\n cold: call f\n cold_end: nop")
        #expect(!analyzeEntry(code.function()).endsWithCall)
        #expect(analyzeEntry(code.function(cold: [code.part("cold", "cold_end")])).endsWithCall)
        let ends = analyzeEntry(FunctionCode(main: code.part("g", "g_end")))
        #expect(ends.endsWithCall && ends.kind == .bare)
    }

    @Test("no return address may lie in bytes 1 to 4; one at byte 5 is behind the jump")
    func returnAddress() throws {
        let inside = try analyze("f: call *%rax\n \(Self.body) f_end: nop")
        #expect(inside.kind == .none)
        #expect(inside.reasons.contains { $0.contains("returns to byte 2") })
        #expect(try analyze("f: call f_end\n \(Self.body) f_end: nop").kind == .bare)
    }

    @Test("a system call that begins in the first 5 bytes leaves no entry: it is started again from inside")
    func systemCall() throws {
        #expect(try analyze("f: xor %eax, %eax\n nop\n syscall\n \(Self.body) f_end: nop").kind == .none)
        #expect(try analyze("f: mov $39, %eax\n syscall\n ret\n f_end: nop").kind == .bare)
    }

    @Test("trap killed-between-entries: an entry whose bytes cross a page is none")
    func pageCrossing() throws {
        for (start, kind) in [(4091, EntryAnalysis.Kind.bare), (4092, .none), (4095, .none), (4096, .bare)] {
            let found = try analyze(".fill \(start), 1, 0x90\n f: \(Self.body) f_end: nop")
            #expect(found.kind == kind, "at \(start)")
        }
    }

    @Test("trap killed-between-entries: a jump goes to the part of a pad that crosses no page")
    func padCrossingPage() throws {
        let long = try analyze(".fill 4094, 1, 0x90\n f: .fill 8, 1, 0x90\n \(Self.body) f_end: nop")
        #expect(long.kind == .padded && long.jumpOffset == 2 && long.resumeOffset == 7)
        let short = try analyze(".fill 4088, 1, 0x90\n f: endbr64\n .fill 5, 1, 0x90\n \(Self.body) f_end: nop")
        #expect(short.kind == .bare && short.jumpOffset == 0)
        #expect(short.reasons.contains { $0.contains("cross a page") })
    }

    @Test("trap data-in-entry: a symbol inside the first 5 bytes, or data read from them, leaves no entry")
    func dataInEntry() throws {
        let code = try assemble("f: \(Self.body) f_end: nop")
        let data = SymbolSpan(name: "constant", address: code.address("f") + 2, size: 2)
        let found = analyzeEntry(code.function(symbols: [data]))
        #expect(found.kind == .none)
        #expect(found.reasons == ["the symbol constant lies at byte 2"])
        #expect(try analyze("f: mov f(%rip), %eax\n add f+2(%rip), %eax\n ret\n f_end: nop").kind == .none)
        #expect(try analyze("f: mov %rdi, %rax\n lea f+3(%rip), %rcx\n ret\n f_end: nop").kind == .none)
        #expect(try analyze("f: lea f(%rip), %rax\n ret\n f_end: nop").kind == .bare)
    }

    @Test("trap data-in-entry: with bytes that are no instruction, branches may be missed")
    func undecodable() throws {
        let found = try analyze("f: \(Self.body) .byte 0x06\n ret\n f_end: nop")
        #expect(found.kind == .none && found.hasUndecodableBytes)
    }

    @Test("trap shorter-alias: an alias of under 5 bytes with code behind it leaves no entry")
    func shorterAlias() throws {
        let code = try assemble("f: \(Self.body) f_end: nop")
        let start = code.address("f")
        let own = SymbolSpan(name: "f", address: start, size: 8)
        let alias = SymbolSpan(name: "g", address: start, size: 3)
        let found = analyzeEntry(code.function(symbols: [own, alias]))
        #expect(found.kind == .none)
        #expect(found.reasons == ["its alias g is only 3 bytes long, and code follows"])
        let unknown = SymbolSpan(name: "h", address: start, size: 0)
        #expect(analyzeEntry(code.function(symbols: [own, unknown])).kind == .bare)
    }

    @Test("trap shorter-alias: a function of under 5 bytes is bare only before padding")
    func short() throws {
        let alone = try analyze("f: xor %eax, %eax\n ret\n f_end: .p2align 4\n ret")
        #expect(alone.kind == .bare && alone.overwritesPadding)
        #expect(try analyze("f: xor %eax, %eax\n ret\n f_end: int3\n int3\n ret").overwritesPadding)
        #expect(try analyze("f: xor %eax, %eax\n ret\n f_end: nop\n ret\n ret").kind == .none)
        #expect(try analyze("f: ret\n f_end: nop").kind == .none)
        let code = try assemble("f: ret\n f_end: .p2align 4\n ret")
        let next = SymbolSpan(name: "next", address: code.address("f") + 4, size: 0)
        #expect(analyzeEntry(code.function(symbols: [next])).kind == .none)
        #expect(analyzeEntry(code.function(knownTargets: [code.address("f") + 3])).kind == .none)
    }

    @Test("a function of unknown size, and one that runs on into the next, are none")
    func unclear() throws {
        #expect(try analyze("f:\n f_end: \(Self.body)").kind == .none)
        let runsOn = try analyze("f: mov %rdi, %rax\n add $1, %rax\n f_end: ret")
        #expect(runsOn.kind == .none)
        #expect(runsOn.reasons.contains { $0.contains("runs on") })
    }
}

extension String {
    /// gcc's assembly is given to the preprocessor, which reads a line that begins with `#` as its own.
    fileprivate var replacingHashes: String {
        split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: "\n")
    }
}
