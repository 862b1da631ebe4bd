import CodeModel
import ElfFormat
import ObjectFiles
import Targets

/// What the target holds where a relocation was.
struct FieldReading {
    var relocation: Relocation
    /// S of the psABI's formula, when the field refers to the symbol itself.
    var symbolAddress: UInt64?
    /// The GOT slot that the field refers to.
    var slot: UInt64?
    /// Where the field leads, when it refers to a thread-local.
    var thread: ThreadPlace?
    /// The object's datum that is meant for certain, and its address; or its offset, if it is a thread-local.
    var exact: (entity: EntityIndex, address: UInt64)?
}

/// Compares a function of an object with linked bytes, undoing what a linker may have done to it.
struct MaskedComparison {
    private var expected: [UInt8]
    private let found: [UInt8]
    /// Address of the first byte in the target.
    private let base: UInt64
    private let isFixed: Bool
    /// Bytes that a relocation or relaxation accounts for.
    private var masked: [Bool]
    private(set) var readings: [FieldReading] = []

    init(expected: [UInt8], found: [UInt8], base: UInt64, isFixed: Bool) {
        self.expected = expected
        self.found = found
        self.base = base
        self.isFixed = isFixed
        masked = [Bool](repeating: false, count: expected.count)
    }

    func firstDifference() -> Int? {
        guard expected.count == found.count else { return 0 }
        return expected.indices.first { !masked[$0] && expected[$0] != found[$0] }
    }

    /// Accounts for one relocation, `at` bytes into the function.
    mutating func read(_ relocation: Relocation, at: Int) {
        if relocation.type.relaxation == .descriptorCall { return readDescriptorCall(at) }
        let size = relocation.type.fieldSize
        guard at >= 0, size > 0, at + size <= found.count, expected.count == found.count else { return }
        switch relocation.type.relaxation {
        case .slotToAddress: readGOT(relocation, at)
        case .initialExec: readInitialExec(relocation, at)
        case .generalDynamic: readThreadLocal(relocation, from: at - 4, count: 16)
        case .localDynamic: readThreadLocal(relocation, from: at - 3, count: 12)
        case .descriptor: readDescriptor(relocation, at)
        case .descriptorCall: break
        case nil where relocation.type == .gotpcrel:
            mask(at, 4)
            readings.append(FieldReading(relocation: relocation, slot: address(at, at, -4 - relocation.addend)))
        case nil: readDirect(relocation, at, size)
        }
    }

    private mutating func readDirect(_ relocation: Relocation, _ at: Int, _ size: Int) {
        if masked[at] { return }
        mask(at, size)
        var reading = FieldReading(relocation: relocation)
        switch relocation.type {
        case let type where type.isNear:
            reading.symbolAddress = base &+ UInt64(at) &+ UInt64(bitPattern: field32(at) &- relocation.addend)
        case .abs32s where isFixed, .abs32 where isFixed:
            reading.symbolAddress = UInt64(bitPattern: field32(at) &- relocation.addend)
        case .tpoff32: reading.thread = .fromPointer(field32(at) &- relocation.addend)
        case .dtpoff32:
            // Where the block is the program's, the linker counts from the thread pointer.
            let distance = field32(at) &- relocation.addend
            reading.thread = distance < 0 ? .fromPointer(distance) : .inBlock(UInt64(distance))
        default: break
        }
        readings.append(reading)
    }

    /// `mov foo@GOTPCREL(%rip), r` may be `lea foo(%rip), r`, and calls and jumps through the slot direct ones.
    private mutating func readGOT(_ relocation: Relocation, _ at: Int) {
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
    private mutating func readInitialExec(_ relocation: Relocation, _ at: Int) {
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
    private mutating func readThreadLocal(_ relocation: Relocation, from: Int, count: Int) {
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
    private mutating func readDescriptor(_ relocation: Relocation, _ at: Int) {
        let forms: [[UInt8]] = [[0x48, 0xc7, 0xc0], [0x48, 0x8b, 0x05]]
        let isDistance = at >= 3 && found[at - 3..<at].elementsEqual(forms[0])
        if at >= 3, expected[at - 3..<at].elementsEqual([0x48, 0x8d, 0x05]),
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
    private mutating func readDescriptorCall(_ at: Int) {
        guard at >= 0, at + 2 <= found.count, expected.count == found.count else { return }
        if found[at] == 0x66, found[at + 1] == 0x90 { mask(at, 2) }
    }

    private mutating func mask(_ start: Int, _ count: Int) {
        for index in max(0, start)..<min(masked.count, start + count) { masked[index] = true }
    }

    private func field32(_ at: Int) -> Int64 {
        let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(found[at + $1]) << (8 * UInt32($1)) }
        return Int64(Int32(bitPattern: bits))
    }

    /// What a 4-byte field counts to from its own end.
    private func address(_ field: Int, _ place: Int, _ extra: Int64) -> UInt64 {
        base &+ UInt64(place) &+ 4 &+ UInt64(bitPattern: field32(field) &+ extra)
    }
}
