import ElfFormat
import MachineCode
import ObjectFiles

/// What a linker for x86-64 may make of instructions whose relocation names a slot or a thread-local, once it knows where
/// that lies (trap linker-relaxations): these forms (psABI 1.0, B.2; ELF TLS, 4.3 and 5), and nothing else.
extension MaskedComparison {
    /// `mov foo@GOTPCREL(%rip), r` may be `lea foo(%rip), r`, and calls and jumps through the slot direct ones.
    mutating func readGOT(_ relocation: Relocation, _ at: Int) {
        guard at >= 2 else { return mask(at, 4) }
        let (before, now) = ((expected[at - 2], expected[at - 1]), (found[at - 2], found[at - 1]))
        var reading = FieldReading(relocation: relocation)
        switch (before, now) {
        case ((0xff, 0x15), (0x67, 0xe8)):
            mask(at - 2, 6)
            reading.symbolAddress = address(at, at, 0)
        case ((0xff, 0x25), (0xe9, _)) where found[at + 3] == 0x90:
            mask(at - 2, 6)
            reading.symbolAddress = address(at - 1, at - 1, 0)
        case ((0x8b, let register), (0x8d, let other)) where register == other:
            mask(at - 2, 1)
            mask(at, 4)
            reading.symbolAddress = address(at, at, 0)
        case ((0x8b, let modRM), (0xc7, let other)) where isFixed && other == 0xc0 | modRM >> 3 & 7:
            if relocation.type == .rexGotpcrelx, at >= 3 { mask(at - 3, 1) }
            mask(at - 2, 6)
            reading.symbolAddress = UInt64(bitPattern: field32(at))
        default:
            mask(at, 4)
            reading.slot = address(at, at, 0)
        }
        readings.append(reading)
    }

    /// `mov x@gottpoff(%rip), r` may be `mov $x@tpoff, r`, and `add` likewise an `add` or `lea`.
    mutating func readInitialExec(_ relocation: Relocation, _ at: Int) {
        guard at >= 3 else { return mask(at, 4) }
        let register = expected[at - 1] >> 3 & 7
        var reading = FieldReading(relocation: relocation, thread: .slot(address(at, at, 0)))
        switch (expected[at - 2], found[at - 2]) {
        case (0x8b, 0xc7) where found[at - 1] == 0xc0 | register,
            (0x03, 0x81) where found[at - 1] == 0xc0 | register,
            (0x03, 0x8d) where found[at - 1] == 0x80 | register << 3 | register:
            mask(at - 3, 3)
            reading.thread = .fromPointer(field32(at))
        default: break
        }
        mask(at, 4)
        readings.append(reading)
    }

    /// General and local dynamic sequences, with their call of `__tls_get_addr`, may be initial or local exec ones.
    mutating func readThreadLocal(_ relocation: Relocation, from: Int, count: Int) {
        guard from >= 0, from + count <= found.count else { return }
        let window = found[from..<(from + count)]
        let localExec: [UInt8] = [0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0]
        let localDynamic: [UInt8] = [0x66, 0x66, 0x66, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0]
        var reading = FieldReading(relocation: relocation)
        if window.starts(with: localExec) || window.elementsEqual(localDynamic) {
            mask(from, count)
            if count == 16, window.dropFirst(9).starts(with: [0x48, 0x8d, 0x80]) {
                reading.thread = .fromPointer(field32(from + 12))
            } else if count == 16 {
                reading.thread = .slot(address(from + 12, from + 12, 0))
            }
        } else {
            mask(from + (count == 16 ? 4 : 3), 4)
            if count == 16 { reading.thread = .slot(address(from + 4, from + 4, 0)) }
        }
        readings.append(reading)
    }

    /// `lea x@tlsdesc(%rip), %rax` may be `mov $x@tpoff, %rax` or `mov x@gottpoff(%rip), %rax`.
    mutating func readDescriptor(_ relocation: Relocation, _ at: Int) {
        let forms: [[UInt8]] = [Encoding.constantToRAX, Encoding.loadToRAX]
        let isDistance = at >= 3 && found[at - 3..<at].elementsEqual(forms[0])
        if at >= 3, expected[at - 3..<at].elementsEqual(Encoding.addressToRAX),
            forms.contains(Array(found[at - 3..<at]))
        {
            mask(at - 3, 3)
        }
        mask(at, 4)
        readings.append(
            FieldReading(
                relocation: relocation, thread: isDistance ? .fromPointer(field32(at)) : .slot(address(at, at, 0))))
    }

    /// Then `call *(%rax)` is a nop of two bytes.
    mutating func readDescriptorCall(_ at: Int) {
        guard at >= 0, at + 2 <= found.count, expected.count == found.count else { return }
        if found[at..<at + 2].elementsEqual(Encoding.shortNop) { mask(at, 2) }
    }
}
