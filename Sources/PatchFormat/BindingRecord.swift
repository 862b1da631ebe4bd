import Diagnostics
import ElfFormat

extension RelocationType {
    /// What a record of `.livepatch.bindings` may be of: the closed list of what the applier computes (trap tls-silent).
    public static let ofRecords: Set<RelocationType> = [
        .abs64, .pc64, .abs32, .abs32s, .pc32, .dtpmod64, .dtpoff64, .dtpoff32, .tpoff64, .tpoff32,
    ]

    /// What a module's own dynamic relocations may be of.
    public static let ofModules: Set<RelocationType> = [.relative, .globDat, .jumpSlot, .abs64]
}

extension ModuleLayout {
    /// Bytes of memory that a module may take.
    package static let maximumSize: UInt64 = 256 << 20
}

extension BindingRecord {
    /// The records of `.livepatch.bindings`.
    /// - Parameters:
    ///   - table: the section's bytes, as in the module's file: `layout.bindingCount` records.
    ///   - bindingCount: number of the manifest's bindings of the target.
    /// - Throws: `Refusal` of rule bad-bundle when a record's place lies outside the module, or its index outside the
    ///   manifest's bindings, or its type is not in the closed list.
    public static func decode(
        table: [UInt8], layout: ModuleLayout, bindingCount: Int
    ) throws -> [BindingRecord] {
        func refuse(_ why: String) -> Refusal { Refusal(.badBundle, subject: ".livepatch.bindings", why: why) }
        guard layout.bindingCount >= 0, table.count / size == layout.bindingCount, table.count % size == 0 else {
            throw refuse("the table has not the length that the manifest gives")
        }
        return try (0..<layout.bindingCount).map { index in
            let offset = index * size
            let record = decode(table, offset, address: layout.bindingTable &+ UInt64(offset))
            guard RelocationType.ofRecords.contains(record.type) else {
                throw refuse("record \(index) has the relocation type \(record.type), which is not in the closed list")
            }
            let width = UInt64(record.type.fieldSize)
            guard layout.memorySize >= width, record.place <= layout.memorySize - width else {
                throw refuse("record \(index) names a place outside the module")
            }
            guard record.binding < bindingCount, read(table, offset + 12, 4) == 0 else {
                throw refuse("record \(index) is malformed")
            }
            return record
        }
    }

    private static func decode(_ table: [UInt8], _ offset: Int, address: UInt64) -> BindingRecord {
        let distance = Int32(truncatingIfNeeded: read(table, offset, 4))
        return BindingRecord(
            place: address &+ UInt64(bitPattern: Int64(distance)),
            type: RelocationType(rawValue: UInt32(truncatingIfNeeded: read(table, offset + 4, 4))),
            binding: Int(read(table, offset + 8, 4)),
            addend: Int64(bitPattern: read(table, offset + 16, 8)))
    }

    private static func read(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        (0..<count).reversed().reduce(0) { $0 << 8 | UInt64(bytes[offset + $1]) }
    }
}
