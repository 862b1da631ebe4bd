import ElfFormat
import ObjectFiles
import TestSupport

/// A relocatable object whose bytes can be changed in place. It says who owns and who reads what by the raw tables alone,
/// so that nothing of the passes under test judges them.
struct ObjectBytes {
    var bytes: [UInt8]
    let file: ObjectFile

    init(_ bytes: [UInt8]) throws {
        self.bytes = bytes
        file = try ObjectFile.parse(bytes: bytes, name: "subject.o")
    }

    /// One relocation, and where its record lies in the file.
    struct StoredRelocation {
        var section: SectionIndex
        var relocation: Relocation
        var record: Int
    }

    var storedRelocations: [StoredRelocation] {
        file.sections.filter { $0.type == 4 }.flatMap { table in
            stride(from: 0, to: table.data.count, by: 24).map { start in
                let info: UInt64 = word(table.data, start + 8)
                return StoredRelocation(
                    section: SectionIndex(rawValue: Int(table.info)),
                    relocation: Relocation(
                        offset: word(table.data, start),
                        type: RelocationType(rawValue: UInt32(truncatingIfNeeded: info)),
                        symbol: SymbolIndex(rawValue: Int(info >> 32)),
                        addend: Int64(bitPattern: word(table.data, start + 16))),
                    record: Int(table.fileOffset) + start)
            }
        }
    }

    /// The defined function or object that covers a place.
    func owner(section: SectionIndex, offset: UInt64) -> Symbol? {
        file.symbols.first { symbol in
            symbol.sectionIndex == section && [.function, .object, .threadLocal].contains(symbol.kind)
                && symbol.value <= offset && offset < symbol.value + symbol.size
        }
    }

    /// Functions with a reference to a section, `.cold` halves under their function's name.
    func readers(of section: SectionIndex) -> Set<String> {
        Set(
            storedRelocations.compactMap { stored in
                guard file.sections[stored.section].isExecutable,
                    file.symbols[stored.relocation.symbol].sectionIndex == section
                else { return nil }
                return owner(section: stored.section, offset: stored.relocation.offset).map { Self.function($0.name) }
            })
    }

    static func function(_ name: String) -> String { name.hasSuffix(".cold") ? String(name.dropLast(5)) : name }

    mutating func set(_ record: Int, symbol: SymbolIndex? = nil, type: UInt32? = nil, addend: Int64? = nil) {
        if let symbol { put(UInt32(symbol.rawValue), at: record + 12) }
        if let type { put(type, at: record + 8) }
        if let addend { put(UInt64(bitPattern: addend), at: record + 16) }
    }

    mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }

    private func word(_ data: [UInt8], _ offset: Int) -> UInt64 {
        data.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
    }
}

extension Indexed {
    /// The element of an index that a product gave.
    /// - Throws: `SystemFailure` when there is none, as `Collection.at` does.
    func at(_ index: Index, file: StaticString = #fileID, line: UInt = #line) throws -> Element {
        guard indices.contains(index) else {
            throw SystemFailure("\(file):\(line): \(count) elements, and so none at \(index)")
        }
        return self[index]
    }
}
