import Diagnostics
import ElfFormat

/// Reads `count` bytes at a virtual address of the object; throws when they are not there.
package typealias ReadObject = (_ address: UInt64, _ count: UInt64) throws -> CheckedBytes

/// What an object's `PT_DYNAMIC` leads to: symbols, versions, relocations; from a module's file or a process's memory.
package struct DynamicTables: Sendable {
    /// Values of `DT_…` entries, the last of each tag; pointers are as found.
    package var entries: [UInt64: UInt64] = [:]
    package var needed: [String] = []
    package var soname: String?
    package var symbols: [DynamicSymbol] = []
    var strings: CheckedBytes
    /// `DT_VERSYM`, one per symbol; nil for an object without versions.
    var versionIndices: [UInt16]?
    /// Version names by index: those defined here (the base version is not among them) and those needed.
    package var versions: [UInt16: SymbolVersion] = [:]
    /// `DT_RELA` followed by `DT_JMPREL`.
    package var relocations: [DynamicRelocation] = []
    /// Symbol indices by name hash, for lookups.
    var hash: SymbolHash = .none
}

package struct SymbolVersion: Sendable, Hashable {
    package var name: String
    /// The library that the version-needs table names; nil for a version defined here.
    package var library: String?
}

/// A symbol's hash table as it lies in memory.
enum SymbolHash: Sendable {
    case none
    case gnu(buckets: [UInt32], firstSymbol: UInt32, chain: [UInt32])
    case sysv(buckets: [UInt32], chain: [UInt32])
}

/// Limits on what an object may claim: hundreds of times what real ones have.
private enum Limit {
    static let dynamicEntries: UInt64 = 4096
    static let tableBytes: UInt64 = 512 << 20
    static let buckets: UInt32 = 1 << 24
    static let versions = 1 << 15
}

extension DynamicTables {
    /// Reads everything that the `PT_DYNAMIC` at `address` names.
    ///
    /// - Parameter bias: what ld.so may have added to pointers; 0 for a file. Pointers below it are relative (musl).
    package init(address: UInt64, size: UInt64, bias: UInt64, span: UInt64, read: ReadObject) throws {
        let table = try read(address, min(size, Limit.dynamicEntries * 16))
        var neededOffsets: [UInt64] = []
        strings = CheckedBytes([], fault: table.fault)
        for index in 0..<table.count / 16 {
            let (tag, value) = (try table.u64(index * 16), try table.u64(index * 16 + 8))
            if tag == 0 { break }
            if tag == DT.needed { neededOffsets.append(value) }
            entries[tag] = value
        }
        let found = entries
        let pointer = { (tag: UInt64) -> UInt64? in
            guard let value = found[tag] else { return nil }
            return value >= bias && value &- bias < span ? value : bias &+ value
        }
        if let start = pointer(DT.stringTable), let size = entries[DT.stringSize] {
            strings = try DynamicTables.bounded(read, start, size)
        }
        needed = try neededOffsets.map { [strings] in try strings.string($0) }
        soname = try entries[DT.soname].map { [strings] in try strings.string($0) }
        try readRelocations(pointer, read)
        let hashed = try readHash(pointer, read)
        try readSymbols(pointer, count: hashed, read)
        try readVersions(pointer, read)
    }

    private static func bounded(_ read: ReadObject, _ address: UInt64, _ size: UInt64) throws -> CheckedBytes {
        let empty = CheckedBytes([], rule: .badInput, subject: "table")
        guard size > 0 else { return empty }
        guard size <= Limit.tableBytes else { return try read(address, UInt64.max >> 1) }
        return try read(address, size)
    }

    private mutating func readRelocations(_ pointer: (UInt64) -> UInt64?, _ read: ReadObject) throws {
        for (start, size) in [(DT.rela, DT.relaSize), (DT.jumpRelocations, DT.pltRelSize)] {
            guard let address = pointer(start), let bytes = entries[size], bytes > 0 else { continue }
            relocations += try DynamicRelocation.table(try DynamicTables.bounded(read, address, bytes))
        }
    }

    /// Reads the hash table; returns the number of symbols that it covers.
    private mutating func readHash(_ pointer: (UInt64) -> UInt64?, _ read: ReadObject) throws -> UInt64 {
        if let address = pointer(DT.gnuHash) { return try readGnuHash(address, read) }
        guard let address = pointer(DT.hash) else { return 0 }
        let head = try read(address, 8)
        let (buckets, chain) = (try head.u32(0), try head.u32(4))
        guard buckets < Limit.buckets, chain < Limit.buckets else { throw head.fault("its hash table is too large") }
        let words = try read(address &+ 8, (UInt64(buckets) + UInt64(chain)) * 4)
        let all = try (0..<words.count / 4).map { try words.u32($0 * 4) }
        hash = .sysv(buckets: Array(all.prefix(Int(buckets))), chain: Array(all.dropFirst(Int(buckets))))
        return UInt64(chain)
    }

    private mutating func readGnuHash(_ address: UInt64, _ read: ReadObject) throws -> UInt64 {
        let head = try read(address, 16)
        let (count, first, bloom) = (try head.u32(0), try head.u32(4), try head.u32(8))
        guard count < Limit.buckets, bloom < Limit.buckets, first < Limit.buckets else {
            throw head.fault("its hash table is too large")
        }
        let bucketStart = address &+ 16 &+ UInt64(bloom) * 8
        let words = try read(bucketStart, UInt64(count) * 4)
        let buckets = try (0..<UInt64(count)).map { try words.u32($0 * 4) }
        guard let last = buckets.max(), last >= first, last < Limit.buckets else {
            hash = .gnu(buckets: [], firstSymbol: first, chain: [])
            return UInt64(first)
        }
        // The chain of the highest bucket ends the table: its last entry has bit 0 set.
        let chainStart = bucketStart &+ UInt64(count) * 4
        var end = UInt64(last)
        while try read(chainStart &+ (end &- UInt64(first)) * 4, 4).u32(0) & 1 == 0 {
            end += 1
            guard end < UInt64(Limit.buckets) else { throw head.fault("its hash table has no end") }
        }
        let chain = try read(chainStart, (end &- UInt64(first) &+ 1) * 4)
        hash = .gnu(
            buckets: buckets, firstSymbol: first, chain: try (0..<chain.count / 4).map { try chain.u32($0 * 4) })
        return end + 1
    }

    /// Reads the symbols that hash and relocations name.
    private mutating func readSymbols(_ pointer: (UInt64) -> UInt64?, count: UInt64, _ read: ReadObject) throws {
        guard let address = pointer(DT.symbolTable) else { return }
        let used = relocations.reduce(0) { max($0, $1.symbol) }
        let total = max(count, UInt64(used) + 1)
        let bytes = try DynamicTables.bounded(read, address, total * DynamicSymbol.size)
        symbols = try (0..<total).map { try DynamicSymbol(bytes, at: $0 * DynamicSymbol.size) }
        guard let versionTable = pointer(DT.versionSymbols) else { return }
        let indices = try DynamicTables.bounded(read, versionTable, total * 2)
        versionIndices = try (0..<total).map { try indices.u16($0 * 2) }
    }

    private mutating func readVersions(_ pointer: (UInt64) -> UInt64?, _ read: ReadObject) throws {
        if let start = pointer(DT.versionDefinitions) {
            try walk(start, step: 16, read) { entry, record in
                // ld.so leaves the base definition (the file's own name) without a name.
                guard try record.u16(2) & 1 == 0 else { return }
                let name = try read(entry &+ UInt64(try record.u32(12)), 8)
                versions[try record.u16(4)] = SymbolVersion(name: try strings.string(UInt64(try name.u32(0))))
            }
        }
        if let start = pointer(DT.versionNeeds) {
            try walk(start, step: 12, read) { entry, record in
                let library = try strings.string(UInt64(try record.u32(4)))
                try walk(entry &+ UInt64(try record.u32(8)), step: 12, read) { _, auxiliary in
                    let name = try strings.string(UInt64(try auxiliary.u32(8)))
                    versions[try auxiliary.u16(6) & 0x7fff] = SymbolVersion(name: name, library: library)
                }
            }
        }
    }

    /// Follows a chain of version records, each ending in the distance to the next.
    private func walk(
        _ start: UInt64, step: UInt64, _ read: ReadObject, _ body: (UInt64, CheckedBytes) throws -> Void
    ) throws {
        var address = start
        for _ in 0..<Limit.versions {
            let record = try read(address, step + 4)
            try body(address, record)
            let next = try record.u32(step)
            if next == 0 { return }
            address &+= UInt64(next)
        }
    }

    package func name(of symbol: DynamicSymbol) throws -> String { try strings.string(UInt64(symbol.nameOffset)) }

    /// The version of a symbol by its index: nil when it has none (local, base or no versions at all).
    package func version(ofSymbol index: Int) -> SymbolVersion? {
        guard let versionIndices, index < versionIndices.count else { return nil }
        return versions[versionIndices[index] & 0x7fff]
    }
}
