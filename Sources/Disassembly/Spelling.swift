extension Instruction {
    /// The instruction as text, from one that was decoded with its operands: `lock cmpxchg %edx,(%rdi)`. A direct branch has its
    /// absolute address, unless `name` stands for it.
    ///
    /// - Parameter bytes: its own.
    public func spelled(_ bytes: some Collection<UInt8>, operands given: String? = nil) -> String {
        var operands = given ?? self.operands.trimmed
        if given == nil, operands.isEmpty, let target { operands = "0x" + String(target, radix: 16) }
        return [prefix(bytes), mnemonic, operands].filter { !$0.isEmpty }.joined(separator: " ")
    }

    /// Prefixes that change what the instruction does, and that its mnemonic leaves out.
    private func prefix(_ bytes: some Collection<UInt8>) -> String {
        let prefixes = bytes.prefix { [0xf0, 0xf2, 0xf3, 0x66, 0x2e, 0x3e, 0x64, 0x65].contains($0) }
        if prefixes.contains(0xf0) { return "lock" }
        let isString = ["movs", "stos", "cmps", "scas", "lods", "ins", "outs"].contains { mnemonic.hasPrefix($0) }
        // SSE instructions have the same bytes for another purpose, and are longer.
        guard isString, bytes.count - prefixes.count <= 2 else { return "" }
        return prefixes.contains(0xf3) ? "rep" : prefixes.contains(0xf2) ? "repnz" : ""
    }
}

extension String {
    /// Without blanks at its ends.
    var trimmed: String { String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
}
