import ElfFormat
import Glibc
import ProcessControl
import ProcessImage

/// A search of all memory that a process has written for addresses.
package struct MemorySearch: Sendable {
    package var map: MemoryMap
    package var memory: RemoteMemory
    /// CLOCK_MONOTONIC in nanoseconds, past which the search gives up; nil for none.
    package var deadline: UInt64?

    package init(map: MemoryMap, memory: RemoteMemory, deadline: UInt64? = nil) {
        self.map = map
        self.memory = memory
        self.deadline = deadline
    }

    private static let chunk = 1 << 20

    /// - Parameters:
    ///   - excluded: ranges that were looked at already, or need not be: own stacks, modules, the registry.
    ///   - initial: words that are no return addresses as long as they are what they were.
    /// - Throws: `SwitchObstacle.pointedTo` at the first hit, or `tooLong`.
    func refuseHits(_ table: ScanTable, except excluded: [RemoteRange], _ initial: InitialWords) throws {
        try forEachHit(table, except: excluded) { place, value in
            if initial[place] == value { return }
            throw SwitchObstacle.pointedTo(place: place, name: table.interval(holding: value)?.name ?? "")
        }
    }

    /// Addresses of all words that hold an address in the table, at most 65,536.
    /// - Throws: `SwitchObstacle.tooLong` when there are more.
    package func hits(_ table: ScanTable, except excluded: [RemoteRange]) throws -> [UInt64] {
        var places: [UInt64] = []
        try forEachHit(table, except: excluded) { place, _ in
            guard places.count < 1 << 16 else { throw SwitchObstacle.tooLong }
            places.append(place)
        }
        return places
    }

    private func forEachHit(
        _ table: ScanTable, except excluded: [RemoteRange], _ body: (UInt64, UInt64) throws -> Void
    ) throws {
        var arena = RemoteArena(capacity: 4 * MemorySearch.chunk)
        var batch: [RemoteRange] = []
        var size = 0
        for range in try presentRanges(except: excluded) {
            batch.append(range)
            size += Int(range.count)
            if size >= MemorySearch.chunk {
                try scan(batch, table, &arena, body)
                (batch, size) = ([], 0)
            }
        }
        try scan(batch, table, &arena, body)
    }

    private func scan(
        _ ranges: [RemoteRange], _ table: ScanTable, _ arena: inout RemoteArena, _ body: (UInt64, UInt64) throws -> Void
    ) throws {
        var left = ranges
        while !left.isEmpty { left = try scanOnce(left, table, &arena, body) }
    }

    /// - Returns: what lies behind pages that can't be read.
    private func scanOnce(
        _ ranges: [RemoteRange], _ table: ScanTable, _ arena: inout RemoteArena, _ body: (UInt64, UInt64) throws -> Void
    ) throws -> [RemoteRange] {
        if let deadline, monotonicNanoseconds() > deadline { throw SwitchObstacle.tooLong }
        let copies = try arena.read(ranges, of: memory)
        var left: [RemoteRange] = []
        for (range, copy) in zip(ranges, copies) {
            let end = range.start + UInt64(copy.count)
            if end < range.end {
                left.append(RemoteRange(start: end.page + pageSize, end: range.end))
            }
            let bytes = arena.bytes(copy)
            var from = 0
            while let hit = table.firstHit(in: bytes, from: from) {
                let value = bytes.loadUnaligned(fromByteOffset: hit * 8, as: UInt64.self)
                try body(range.start.rawValue &+ UInt64(hit) * 8, value)
                from = hit + 1
            }
        }
        return left.filter { !$0.isEmpty }
    }

    /// Resident or swapped pages of writable mappings, in pieces of at most a chunk: what was never touched is zero.
    func presentRanges(except excluded: [RemoteRange]) throws -> [RemoteRange] {
        let pages = PageMap(of: memory)
        defer { pages.close() }
        let holes = excluded.filter { !$0.isEmpty }.sorted { $0.start < $1.start }
        var result: [RemoteRange] = []
        for mapping in map.mappings where mayHoldAddresses(mapping) {
            for piece in subtract(holes, from: mapping.range) {
                do {
                    result += try pages.present(piece, isFile: mapping.kind == .file, deadline: deadline).flatMap(split)
                } catch is DeadlinePassed {
                    throw SwitchObstacle.tooLong
                }
            }
        }
        return result
    }

    /// Anonymous memory that can only be read was written before it was made so.
    private func mayHoldAddresses(_ mapping: MemoryMapping) -> Bool {
        guard mapping.isReadable, mapping.kind != .kernel else { return false }
        return mapping.isWritable || (mapping.kind == .anonymous && !mapping.isExecutable)
    }

    private func split(_ range: RemoteRange) -> [RemoteRange] {
        let step = UInt64(MemorySearch.chunk)
        return stride(from: 0, to: range.count, by: MemorySearch.chunk).map {
            RemoteRange(start: range.start + $0, end: min(range.end, range.start + $0 + step))
        }
    }

    private func subtract(_ holes: [RemoteRange], from range: RemoteRange) -> [RemoteRange] {
        var start = range.start
        var pieces: [RemoteRange] = []
        for hole in holes where hole.end > range.start && hole.start < range.end {
            if hole.start > start { pieces.append(RemoteRange(start: start, end: hole.start)) }
            start = max(start, hole.end)
        }
        if start < range.end { pieces.append(RemoteRange(start: start, end: range.end)) }
        return pieces
    }
}
