import CBinutils

/// The instructions of `bytes`, in order, without gap or overlap: an undecodable byte is one instruction of kind
/// `invalid`. `address` is that of the first byte. Operands are spelled out only when asked for, since that is slow.
public func disassemble(_ bytes: [UInt8], at address: UInt64, operands: Bool = false) -> [Instruction] {
    var instructions: [Instruction] = []
    instructions.reserveCapacity(bytes.count / 4)
    forEachInstruction(bytes[...], at: address, operands: operands) { instructions.append($0) }
    return instructions
}

/// Hands each instruction of `bytes` to `body`: for whole sections, where an array would be large.
public func forEachInstruction(
    _ bytes: ArraySlice<UInt8>, at address: UInt64, operands: Bool = false, _ body: (Instruction) -> Void
) {
    guard let decoder = binutils_open() else { return }
    defer { binutils_close(decoder) }
    bytes.withUnsafeBufferPointer { buffer in
        var offset = 0
        var raw = binutils_instruction()
        while offset < buffer.count {
            binutils_decode(decoder, buffer.baseAddress, buffer.count, address, offset, &raw)
            // Truncated instructions are reported with the length they would have.
            let length = min(Int(raw.length), buffer.count - offset)
            let text = operands ? String(cString: binutils_operands(decoder)) : ""
            let encoded = buffer[offset..<offset + length]
            body(instruction(raw, at: address &+ UInt64(offset), operands: text, encoded: encoded))
            offset += length
        }
    }
}

private func instruction(
    _ raw: binutils_instruction, at address: UInt64, operands: String, encoded: Slice<UnsafeBufferPointer<UInt8>>
) -> Instruction {
    let word = Mnemonic(low: raw.mnemonic.0, high: raw.mnemonic.1)
    let kind = kind(raw, word, encoded: encoded)
    let branches = kind == .call || kind == .jump || kind == .conditionalJump
    let isDirect = branches && raw.has_target != 0
    return Instruction(
        address: address, length: encoded.count, kind: kind, target: isDirect ? raw.target : nil,
        ripRelativeTarget: raw.has_reference != 0 && !isDirect ? raw.reference : nil, operands: operands, word: word)
}

private func kind(
    _ raw: binutils_instruction, _ word: Mnemonic, encoded: Slice<UnsafeBufferPointer<UInt8>>
) -> Instruction.Kind {
    if raw.invalid != 0 { return .invalid }
    // Spelled `xchg %ax,%ax` by libopcodes, with any number of 66 prefixes before the 90.
    if encoded.last == 0x90, encoded.dropLast().allSatisfy({ $0 == 0x66 }) { return .nop }
    if let kind = Mnemonic.kinds[word] { return kind }
    // `enum dis_insn_type`: 2 branch, 3 conditional branch, 4 and 5 calls.
    return switch raw.type {
    case 2: .jump
    case 3: .conditionalJump
    case 4, 5: .call
    default: .other
    }
}
