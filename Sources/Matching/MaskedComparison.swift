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
    var expected: [UInt8]
    let found: [UInt8]
    /// Address of the first byte in the target.
    let base: UInt64
    let isFixed: Bool
    /// Bytes that a relocation or relaxation accounts for.
    private var masked: [Bool]
    var readings: [FieldReading] = []

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
        // Relaxations.swift
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

    mutating func mask(_ start: Int, _ count: Int) {
        for index in max(0, start)..<min(masked.count, start + count) { masked[index] = true }
    }

    func field32(_ at: Int) -> Int64 {
        let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(found[at + $1]) << (8 * UInt32($1)) }
        return Int64(Int32(bitPattern: bits))
    }

    /// What a 4-byte field counts to from its own end.
    func address(_ field: Int, _ place: Int, _ extra: Int64) -> UInt64 {
        base &+ UInt64(place) &+ 4 &+ UInt64(bitPattern: field32(field) &+ extra)
    }
}
