import Glibc

/// What a search for free memory has to keep away from.
public struct HoleRules: Sendable {
    /// Lowest address that may be mapped (`vm.mmap_min_addr`).
    public var lowest: RemoteAddress
    /// Where `brk` starts; the heap grows upwards from it, or from the end of `[heap]`.
    public var breakStart: RemoteAddress?
    /// How far below the main stack nothing may lie, in bytes: it grows downwards.
    public var stackReserve: UInt64

    /// Room that `brk` needs above the heap (trap brk-room).
    public static let breakReserve: UInt64 = 1 << 30
    /// A jump of 32 bits reaches 2 GiB; a little is left for addends.
    public static let reach: UInt64 = (1 << 31) - (1 << 16)
    static let highest = RemoteAddress(0x7fff_ffff_e000)

    public init(
        lowest: RemoteAddress = RemoteAddress(0x10000), breakStart: RemoteAddress? = nil,
        stackReserve: UInt64 = 128 << 20
    ) {
        self.lowest = lowest
        self.breakStart = breakStart
        self.stackReserve = stackReserve
    }

    /// The rules for a running process, from `/proc`.
    public static func read(pid: Int32) throws(ProcessError) -> HoleRules {
        var rules = HoleRules()
        if let text = try? readProcFile("/proc/sys/vm/mmap_min_addr", pid: pid),
            let value = UInt64(String(decoding: text, as: UTF8.self).prefix { $0.isNumber })
        {
            rules.lowest = RemoteAddress(max(value, 0x10000))
        }
        let start = try programBreakStart(of: pid)
        rules.breakStart = start == 0 ? nil : RemoteAddress(start)
        let limits = String(decoding: try readProcFile("/proc/\(pid)/limits", pid: pid), as: UTF8.self)
        if let line = limits.split(separator: "\n").first(where: { $0.hasPrefix("Max stack size") }) {
            let soft = line.dropFirst(14).split(separator: " ").first.flatMap { UInt64($0) }
            // Unlimited: the kernel lays out memory upwards then, and a stack that large is not real.
            rules.stackReserve = min(max(soft ?? 8 << 30, 128 << 20), 8 << 30)
        }
        return rules
    }
}

/// The start of free memory for `size` bytes such that every byte of it and every byte of `target` reach each other by a
/// 32-bit displacement; nil when there is none.
///
/// Below the target if possible, as near as possible, with a free page on both sides.
/// - Parameters:
///   - target: every mapping of the target file.
///   - size: in bytes; rounded up to pages.
public func findHole(in map: MemoryMap, near target: RemoteRange, size: UInt64, rules: HoleRules) -> RemoteAddress? {
    let (padded, overflow) = size.addingReportingOverflow(4095)
    let size = padded & ~4095
    guard !overflow, size > 0, size < HoleRules.reach, target.count <= HoleRules.reach - size else { return nil }
    // The module's first byte may not lie lower, nor its end higher.
    let low = max(target.end.rawValue &- min(HoleRules.reach, target.end.rawValue), rules.lowest.rawValue)
    let (reachEnd, wraps) = target.start.rawValue.addingReportingOverflow(HoleRules.reach)
    let high = min(wraps ? .max : reachEnd, HoleRules.highest.rawValue)

    var below: UInt64?
    var above: UInt64?
    for gap in gaps(in: map, rules: rules) {
        let start = max(gap.start.rawValue, (low + 4095) & ~4095)
        let end = min(gap.end.rawValue, high & ~4095)
        guard end > start, end - start >= size else { continue }
        if end <= target.start.rawValue {
            below = max(below ?? 0, end - size)
        } else if start >= target.end.rawValue {
            above = min(above ?? .max, start)
        }
    }
    return (below ?? above).map { RemoteAddress($0) }
}

/// Free ranges, one page away from every mapping, without those that the heap and the stack grow into.
private func gaps(in map: MemoryMap, rules: HoleRules) -> [RemoteRange] {
    var taken = map.mappings.map { mapping in
        RemoteRange(start: mapping.start - min(4096, mapping.start.rawValue), count: mapping.range.count &+ 8192)
    }
    if let end = map.mappings.last(where: { $0.kind == .heap })?.end ?? rules.breakStart {
        taken.append(RemoteRange(start: end, count: HoleRules.breakReserve))
    }
    for stack in map.mappings where stack.kind == .stack {
        // The kernel's own gap below a growing stack is one more mebibyte.
        let reserve = min(rules.stackReserve &+ (1 << 20), stack.start.rawValue)
        taken.append(RemoteRange(start: stack.start - reserve, end: stack.end))
    }
    taken.sort { $0.start < $1.start }
    var free: [RemoteRange] = []
    var position = rules.lowest
    for range in taken {
        if range.start > position { free.append(RemoteRange(start: position, end: range.start)) }
        position = max(position, range.end)
    }
    if position < HoleRules.highest { free.append(RemoteRange(start: position, end: HoleRules.highest)) }
    return free
}
