import ProcessControl
import Testing

@Suite struct NearHoleTests {
    private func map(_ lines: [(UInt64, UInt64, String)]) -> MemoryMap {
        let text = lines.map { "\(String($0.0, radix: 16))-\(String($0.1, radix: 16)) rw-p 0 00:00 0 \($0.2)\n" }
        return (try? MemoryMap.parse(Array(text.joined().utf8))) ?? MemoryMap(mappings: [])
    }
    private let base: UInt64 = 0x5555_5555_4000
    private var target: RemoteRange { RemoteRange(start: RemoteAddress(base), count: 0x10000) }

    @Test("below the target, one page away from it")
    func belowTheTarget() {
        let hole = findHole(in: map([(base, base + 0x10000, "/bin/x")]), near: target, size: 0x2000, rules: HoleRules())
        #expect(hole == RemoteAddress(base - 0x3000))
    }

    @Test("brk-room: never in the gibibyte above the heap")
    func brkRoom() {
        // No room below: the low end is the lowest address that may be used.
        let heap = (base + 0x11000, base + 0x40000, "[heap]")
        let all = map([(base, base + 0x10000, "/bin/x"), heap])
        let rules = HoleRules(lowest: RemoteAddress(base))
        let hole = findHole(in: all, near: target, size: 0x2000, rules: rules)
        #expect(hole == RemoteAddress(base + 0x40000 + (1 << 30)))
        let beforeAnyHeap = HoleRules(lowest: RemoteAddress(base), breakStart: RemoteAddress(base + 0x11000))
        let other = findHole(
            in: map([(base, base + 0x10000, "/bin/x")]), near: target, size: 0x2000, rules: beforeAnyHeap)
        #expect(other == RemoteAddress(base + 0x11000 + (1 << 30)))
    }

    @Test("every byte of the module reaches every byte of the target")
    func reach() {
        let wall: UInt64 = 1 << 31
        let all = map([(base - wall, base + wall, "/bin/huge")])
        let near = RemoteRange(start: RemoteAddress(base), count: 0x10000)
        #expect(findHole(in: all, near: near, size: 0x2000, rules: HoleRules()) == nil)
        let half = map([(base - wall + 0x40000, base + wall, "/bin/huge")])
        let hole = findHole(in: half, near: near, size: 0x2000, rules: HoleRules())
        #expect(hole == RemoteAddress(base - wall + 0x40000 - 0x3000))
        if let hole { #expect(near.end.distance(from: hole) < 1 << 31) }
    }

    @Test("not where the stack grows to")
    func stackRoom() {
        let top: UInt64 = 0x7fff_f000_0000
        let library = RemoteRange(start: RemoteAddress(top - 0x1000_0000), count: 0x1000)
        let all = map([(library.start.rawValue, library.end.rawValue, "/lib/x"), (top, top + 0x21000, "[stack]")])
        let rules = HoleRules(lowest: library.start)
        let hole = findHole(in: all, near: library, size: 0x1000, rules: rules)
        #expect(hole == library.end + 0x1000)
        let large = HoleRules(lowest: library.start, stackReserve: 256 << 20)
        #expect(findHole(in: all, near: library, size: 0x1000, rules: large).map { $0 > RemoteAddress(top) } != false)
    }

    @Test("sizes no module has")
    func sizes() {
        for size in [0, UInt64.max, 1 << 31] {
            #expect(findHole(in: map([]), near: target, size: size, rules: HoleRules()) == nil)
        }
    }
}
