/// Bytes of x86-64 instructions that other rooms look for or write (Intel SDM, volume 2).
package enum Encoding {
    /// `int3`, which fills what nobody runs.
    package static let filler: UInt8 = 0xcc
    /// Two bytes that do nothing.
    package static let shortNop: [UInt8] = [0x66, 0x90]
    /// `lea distance(%rip), %rax`, without the distance.
    package static let addressToRAX: [UInt8] = [0x48, 0x8d, 0x05]
    /// `mov distance(%rip), %rax`, without the distance.
    package static let loadToRAX: [UInt8] = [0x48, 0x8b, 0x05]
    /// `mov $value, %rax`, without the value.
    package static let constantToRAX: [UInt8] = [0x48, 0xc7, 0xc0]
    /// Makes a load of the `lea` that has the same operands.
    package static let loadOpcode: UInt8 = 0x8b
    /// `notrack jmp *distance(%rip)` with room for the distance, 3 bytes behind its start, and a filler: 8 bytes.
    package static let jumpThroughSlot: [UInt8] = [0x3e, 0xff, 0x25, 0, 0, 0, 0, filler]

    /// Whether the 4-byte field at `offset` belongs to `call`, `jmp` or a conditional jump.
    package static func isBranchField(in code: [UInt8], at offset: UInt64) -> Bool {
        guard let at = Int(exactly: offset), at >= 1, at <= code.count else { return false }
        if code[at - 1] == 0xe8 || code[at - 1] == 0xe9 { return true }
        return at >= 2 && code[at - 2] == 0x0f && code[at - 1] & 0xf0 == 0x80
    }

    /// Whether the field at `offset` may be that of `lea distance(%rip), register`, of 8 bytes.
    package static func mayTakeAddress(in code: [UInt8], at offset: Int) -> Bool {
        offset >= 3 && offset <= code.count - 4 && code[offset - 3] & 0xf8 == 0x48 && code[offset - 2] == 0x8d
            && isRIPRelative(code[offset - 1])
    }

    /// A ModRM byte that announces a distance from the next instruction.
    @inlinable
    package static func isRIPRelative(_ modRM: UInt8) -> Bool { modRM & 0xc7 == 0x05 }

    /// The slot that a PLT entry jumps through (`[endbr64] [bnd] jmp *slot(%rip)`); nil for any other code.
    /// - Parameter address: of the first byte.
    package static func slotOfJump(_ entry: ArraySlice<UInt8>, at address: UInt64) -> UInt64? {
        var code = entry
        if code.starts(with: [0xf3, 0x0f, 0x1e, 0xfa]) { code = code.dropFirst(4) }
        if code.first == 0xf2 { code = code.dropFirst() }
        guard code.count >= 6, code.starts(with: [0xff, 0x25]) else { return nil }
        let field = code.dropFirst(2).prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let length = UInt64(entry.count - code.count + 6)
        return address &+ length &+ UInt64(bitPattern: Int64(Int32(bitPattern: field)))
    }

    /// The length of what may be an instruction that ends with a distance: call, jump, conditional jump, call or jump
    /// through a slot, `lea`. A quick look before decoding.
    @inlinable
    package static func lengthOfReference(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int? {
        switch bytes[offset] {
        case 0xe8, 0xe9: return 5
        case 0xeb, 0x70...0x7f: return 2
        case 0x0f: return offset + 1 < bytes.count && bytes[offset + 1] & 0xf0 == 0x80 ? 6 : nil
        case 0xff: return offset + 1 < bytes.count && [0x15, 0x25].contains(bytes[offset + 1]) ? 6 : nil
        case 0x48...0x4f:
            guard offset + 2 < bytes.count, bytes[offset + 1] == 0x8d else { return nil }
            return isRIPRelative(bytes[offset + 2]) ? 7 : nil
        default: return nil
        }
    }

    /// The distance at the end of such an instruction.
    @inlinable
    package static func distanceOfReference(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _ length: Int) -> UInt64 {
        if length == 2 { return UInt64(bitPattern: Int64(Int8(bitPattern: bytes[offset + 1]))) }
        let field = bytes.loadUnaligned(fromByteOffset: offset + length - 4, as: UInt32.self)
        return UInt64(bitPattern: Int64(Int32(bitPattern: UInt32(littleEndian: field))))
    }
}

/// The code an entry jumps to: it tests the switch and goes on to the new body, or to the original one. It changes no
/// register, because callers that stay may know which registers the original leaves alone (trap ipa-contract); of
/// the flags nothing is live at a function's entry.
package struct Stub: Sendable {
    package static let alignment = 32

    /// Code with zeroes where the three (or two) references go, and their offsets in it.
    package var code: [UInt8]
    /// The switch (or the pointer to it), and its addend.
    package var test: (offset: UInt64, addend: Int64)
    /// The new body.
    package var new: UInt64
    /// The 8-byte pointer to the original body.
    package var old: UInt64

    /// `cmpb $0, switch(%rip); jne new; notrack jmp *old(%rip)`
    package static let direct = Stub(
        code: [0x80, 0x3d, 0, 0, 0, 0, 0, 0x0f, 0x85, 0, 0, 0, 0, 0x3e, 0xff, 0x25, 0, 0, 0, 0], test: (2, -5), new: 9,
        old: 16)

    /// `push %rax; mov pointer(%rip), %rax; cmpb $0, (%rax); pop %rax; jne new; notrack jmp *old(%rip)`
    package static let shared = Stub(
        code: [
            0x50, 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0x80, 0x38, 0, 0x58, 0x0f, 0x85, 0, 0, 0, 0, 0x3e, 0xff, 0x25, 0, 0, 0,
            0,
        ], test: (4, -4), new: 14, old: 21)
}
