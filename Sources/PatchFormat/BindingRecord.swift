import Diagnostics

extension BindingRecord {
    /// Size in bytes of the field that a record of relocation type `type` fills; nil for a type that a record can't
    /// have. This is the closed list (trap tls-silent).
    public static func fieldSize(type: UInt32) -> Int? {
        switch type {
        case 1, 16, 17, 18, 24: 8  // 64, DTPMOD64, DTPOFF64, TPOFF64, PC64
        case 2, 10, 11, 21, 23: 4  // PC32, 32, 32S, DTPOFF32, TPOFF32
        default: nil
        }
    }

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
            guard let width = fieldSize(type: record.type) else {
                throw refuse("record \(index) has the relocation type \(record.type), which is not in the closed list")
            }
            guard layout.memorySize >= width, record.place <= layout.memorySize - UInt64(width) else {
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
            type: UInt32(truncatingIfNeeded: read(table, offset + 4, 4)),
            binding: Int(read(table, offset + 8, 4)),
            addend: Int64(bitPattern: read(table, offset + 16, 8)))
    }

    private static func read(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        (0..<count).reversed().reduce(0) { $0 << 8 | UInt64(bytes[offset + $1]) }
    }
}
