import Glibc
import ProcessControl

/// A search of all memory that a process has written for addresses.
struct MemorySearch: Sendable {
    var map: MemoryMap
    var memory: RemoteMemory
    /// CLOCK_MONOTONIC in nanoseconds, past which the search gives up; nil for none.
    var deadline: UInt64?

    private static let chunk = 1 << 20

    /// - Parameters:
    ///   - excluded: ranges that were looked at already, or need not be: own stacks, modules, the registry.
    ///   - isHarmless: of the place of a hit and the value there.
    /// - Throws: `SwitchObstacle.pointedTo` at the first hit, or `tooLong`.
    func refuseHits(
        _ table: ScanTable, except excluded: [RemoteRange], isHarmless: (UInt64, UInt64) -> Bool = { _, _ in false }
    ) throws {
        try forEachHit(table, except: excluded) { place, value in
            if isHarmless(place, value) { return }
            throw SwitchObstacle.pointedTo(place: place, name: table.interval(holding: value)?.name ?? "")
        }
    }

    /// Addresses of all words that hold an address in the table, at most 65,536.
    /// - Throws: `SwitchObstacle.tooLong` when there are more.
    func hits(_ table: ScanTable, except excluded: [RemoteRange]) throws -> [UInt64] {
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
        if let deadline, monotonicNanoseconds() > deadline { throw SwitchObstacle.tooLong }
        let copies = try arena.read(ranges, of: memory)
        for (range, copy) in zip(ranges, copies) {
            let bytes = arena.bytes(copy)
            var from = 0
            while let hit = table.firstHit(in: bytes, from: from) {
                let value = bytes.loadUnaligned(fromByteOffset: hit * 8, as: UInt64.self)
                try body(range.start.rawValue &+ UInt64(hit) * 8, value)
                from = hit + 1
            }
        }
    }

    /// Resident or swapped pages of writable mappings, in pieces of at most a chunk: what was never touched is zero.
    func presentRanges(except excluded: [RemoteRange]) throws -> [RemoteRange] {
        let pages = PageMap(pid: memory.pid)
        defer { pages.close() }
        let holes = excluded.filter { !$0.isEmpty }.sorted { $0.start < $1.start }
        var result: [RemoteRange] = []
        for mapping in map.mappings where mayHoldAddresses(mapping) {
            for piece in subtract(holes, from: mapping.range) {
                result += try pages.present(piece, isFile: mapping.kind == .file, deadline: deadline).flatMap(split)
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

/// `/proc/PID/pagemap`: which pages exist, without touching any.
struct PageMap: Sendable {
    private let descriptor: Int32

    init(pid: Int32) { descriptor = open("/proc/\(pid)/pagemap", O_RDONLY | O_CLOEXEC) }

    func close() { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

    /// Whether the page of one address exists; true when the kernel does not tell.
    func isPresent(_ address: UInt64) -> Bool {
        var entry: UInt64 = 0
        guard descriptor >= 0, pread(descriptor, &entry, 8, off_t(address / pageSize * 8)) == 8 else { return true }
        return entry >> 62 != 0
    }

    /// The parts of `range` whose pages exist; all of it for files, or when the kernel does not tell.
    /// - Throws: `SwitchObstacle.tooLong`: a sanitizer's mappings span terabytes.
    func present(_ range: RemoteRange, isFile: Bool, deadline: UInt64?) throws -> [RemoteRange] {
        guard descriptor >= 0, !isFile else { return [range] }
        let first = range.start.rawValue / pageSize
        let count = Int((range.end.rawValue - 1) / pageSize - first) + 1
        var result: [RemoteRange] = []
        var entries = [UInt64](repeating: 0, count: min(count, 1 << 16))
        var done = 0
        while done < count {
            if let deadline, monotonicNanoseconds() > deadline { throw SwitchObstacle.tooLong }
            let wanted = min(entries.count, count - done)
            let offset = off_t((first + UInt64(done)) * 8)
            let got = entries.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, wanted * 8, offset) } / 8
            guard got > 0 else { return [range] }
            for index in 0..<got where entries[index] >> 62 != 0 {
                let page = RemoteAddress((first + UInt64(done + index)) * pageSize)
                let piece = RemoteRange(start: max(page, range.start), end: min(page + pageSize, range.end))
                if let last = result.last, last.end == piece.start {
                    result[result.count - 1].end = piece.end
                } else {
                    result.append(piece)
                }
            }
            done += got
        }
        return result
    }
}

/// `/proc/PID/mem`, opened before a stop: writes text whatever its protection is.
struct TextWriter: Sendable {
    private let descriptor: Int32

    init(pid: Int32) { descriptor = open("/proc/\(pid)/mem", O_RDWR | O_CLOEXEC) }

    func close() { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

    /// False when the kernel does not let us: then ptrace may.
    func write(_ bytes: [UInt8], at address: UInt64) -> Bool {
        descriptor >= 0
            && bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(truncatingIfNeeded: address))
            }
                == bytes.count
    }
}

func monotonicNanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}
