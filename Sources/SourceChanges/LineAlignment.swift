/// For each line of `new`, the index of the line of `original` that it is, or nil for an added or changed line. Indices
/// rise. A shortest edit script (Myers 1986) between the common start and the common end.
func alignedLines(original: [ArraySlice<UInt8>], new: [ArraySlice<UInt8>]) -> [Int?] {
    var numbers: [ArraySlice<UInt8>: Int] = [:]
    func number(_ line: ArraySlice<UInt8>) -> Int {
        if let known = numbers[line] { return known }
        numbers[line] = numbers.count
        return numbers.count - 1
    }
    let old = original.map(number)
    let changed = new.map(number)
    var aligned = [Int?](repeating: nil, count: new.count)
    var start = 0
    while start < min(old.count, changed.count), old[start] == changed[start] {
        aligned[start] = start
        start += 1
    }
    var tail = 0
    while tail < min(old.count, changed.count) - start, old[old.count - 1 - tail] == changed[changed.count - 1 - tail] {
        aligned[changed.count - 1 - tail] = old.count - 1 - tail
        tail += 1
    }
    let pairs = commonLines(Array(old[start..<old.count - tail]), Array(changed[start..<changed.count - tail]))
    for (oldIndex, newIndex) in pairs { aligned[start + newIndex] = start + oldIndex }
    return aligned
}

/// Pairs of indices of a longest common subsequence. Sequences that differ in more than 5,000 places share nothing: the
/// result is only less precise line numbers.
private func commonLines(_ old: [Int], _ new: [Int]) -> [(Int, Int)] {
    let limit = min(old.count + new.count, 5000)
    if old.isEmpty || new.isEmpty { return [] }
    var furthest = [1: 0]
    var trace: [[Int: Int]] = []
    for distance in 0...limit {
        trace.append(furthest)
        for diagonal in stride(from: -distance, through: distance, by: 2) {
            let down =
                diagonal == -distance
                || (diagonal != distance && furthest[diagonal - 1, default: -1] < furthest[diagonal + 1, default: -1])
            var x = down ? furthest[diagonal + 1, default: 0] : furthest[diagonal - 1, default: 0] + 1
            while x < old.count, x - diagonal < new.count, x >= 0, x - diagonal >= 0, old[x] == new[x - diagonal] {
                x += 1
            }
            furthest[diagonal] = x
            if x >= old.count, x - diagonal >= new.count { return path(trace, old.count, new.count) }
        }
    }
    return []
}

/// Walks the recorded fronts back from the end and collects the diagonal steps.
private func path(_ trace: [[Int: Int]], _ oldCount: Int, _ newCount: Int) -> [(Int, Int)] {
    var pairs: [(Int, Int)] = []
    var (x, y) = (oldCount, newCount)
    for distance in trace.indices.reversed() {
        let furthest = trace[distance]
        let diagonal = x - y
        let down =
            diagonal == -distance
            || (diagonal != distance && furthest[diagonal - 1, default: -1] < furthest[diagonal + 1, default: -1])
        let previous = down ? diagonal + 1 : diagonal - 1
        let previousX = distance == 0 ? 0 : furthest[previous, default: 0]
        let previousY = distance == 0 ? 0 : previousX - previous
        while x > previousX, y > previousY {
            (x, y) = (x - 1, y - 1)
            pairs.append((x, y))
        }
        (x, y) = (previousX, previousY)
    }
    return pairs.reversed()
}
