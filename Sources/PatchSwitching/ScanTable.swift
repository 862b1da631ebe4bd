import PatchFormat
import PatchRegistry

/// Code addresses that must not lie on a stack or in a register when the switch happens.
///
/// Looked up while the process stands still: built before, sorted, with one comparison for nearly every word.
package struct ScanTable: Sendable {
    /// Closed interval of addresses that count as inside, and what to call it.
    package struct Interval: Sendable, Hashable {
        package var first: UInt64
        package var last: UInt64
        package var name: String

        package init(first: UInt64, last: UInt64, name: String) {
            self.first = first
            self.last = last
            self.name = name
        }
    }

    package private(set) var intervals: [Interval] = []
    private var lows: [UInt64] = []
    /// `highs[i]` is the highest `last` of the intervals up to i: they may overlap.
    private var highs: [UInt64] = []
    private var lowest = UInt64.max
    private var highest: UInt64 = 0

    package init(_ unsorted: [Interval]) {
        intervals = unsorted.filter { $0.first <= $0.last }.sorted { $0.first < $1.first }
        lows = intervals.map(\.first)
        var high: UInt64 = 0
        for interval in intervals {
            high = max(high, interval.last)
            highs.append(high)
        }
        lowest = lows.first ?? .max
        highest = high
    }

    package var isEmpty: Bool { intervals.isEmpty }

    /// Whether the value lies in an interval.
    @inline(__always)
    package func contains(_ value: UInt64) -> Bool {
        guard value >= lowest, value <= highest else { return false }
        return interval(holding: value) != nil
    }

    /// The interval that holds the value.
    package func interval(holding value: UInt64) -> Interval? {
        var low = 0
        var high = lows.count
        while low < high {
            let middle = (low + high) / 2
            if lows[middle] <= value { low = middle + 1 } else { high = middle }
        }
        var index = low - 1
        while index >= 0, highs[index] >= value {
            if intervals[index].last >= value { return intervals[index] }
            index -= 1
        }
        return nil
    }

    /// Index of the first 8-byte word of `bytes` at or after word `start` whose value lies in an interval.
    package func firstHit(in bytes: UnsafeRawBufferPointer, from start: Int = 0) -> Int? {
        let (low, width) = (lowest, highest &- lowest)
        guard let base = bytes.baseAddress, low <= highest else { return nil }
        let count = bytes.count / 8
        var index = start
        while index < count {
            let value = base.loadUnaligned(fromByteOffset: index &* 8, as: UInt64.self)
            if value &- low <= width, interval(holding: value) != nil { return index }
            index &+= 1
        }
        return nil
    }
}

extension ScanTable {
    /// Addresses strictly inside a function of the target: its first byte is its entry, where nothing has run yet; its
    /// end counts when a call that does not return ends it (trap noreturn-end).
    package static func original(_ function: RegisteredFunction) -> [Interval] {
        function.ranges.enumerated().compactMap { index, range in
            guard range.size > 0 else { return nil }
            // A part that is not the first is entered by a jump from the first: its first byte is inside.
            let first = index == 0 ? range.address &+ 1 : range.address
            let last = function.endsWithCall ? range.end : range.end &- 1
            return Interval(first: first, last: last, name: function.name)
        }
    }

    /// Every address of a module's code, stubs included.
    package static func code(of module: RegisteredModule) -> [Interval] {
        module.segments.filter { $0.protection & 4 != 0 && $0.size > 0 }.map {
            Interval(first: $0.address, last: $0.address &+ $0.size &- 1, name: "the patch's module of \(module.file)")
        }
    }

    /// The bytes that the jump overwrites, without the first.
    static func insideEntry(_ function: RegisteredFunction) -> Interval {
        Interval(
            first: function.entry &+ 1, last: function.entry &+ UInt64(Entry.jumpLength) &- 1,
            name: "the entry of \(function.name)")
    }
}
