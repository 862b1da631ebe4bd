/// For each line of `new`, the index of the line of `original` that it is, or nil for an added or changed line. Indices
/// rise. Between the common start and the common end a shortest edit script (Myers 1986), or, where many lines differ, one
/// of which every part is.
public func alignedLines(original: [ArraySlice<UInt8>], new: [ArraySlice<UInt8>]) -> [Int?] {
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

/// Pairs of indices of a long common subsequence: a longest one, unless the sequences differ in more places than are worth
/// looking for; then one through the elements that are there once in both. Its cost is that of the length.
private func commonLines(_ old: [Int], _ new: [Int]) -> [(Int, Int)] {
    if let pairs = longestCommon(old[...], new[...]) { return pairs }
    var pairs: [(Int, Int)] = []
    var (x, y) = (0, 0)
    for (nextX, nextY) in uniqueCommon(old, new) + [(old.count, new.count)] {
        pairs += longestCommon(old[x..<nextX], new[y..<nextY]) ?? []
        if nextX < old.count { pairs.append((nextX, nextY)) }
        (x, y) = (nextX + 1, nextY + 1)
    }
    return pairs
}

/// Elements that both have once, as pairs of indices that rise in both: a longest such sequence (patience sorting).
private func uniqueCommon(_ old: [Int], _ new: [Int]) -> [(Int, Int)] {
    func single(_ lines: [Int]) -> [Int: Int] {
        Dictionary(lines.enumerated().map { ($0.element, $0.offset) }, uniquingKeysWith: { _, _ in -1 })
    }
    let places = single(new)
    let pairs = single(old).compactMap { line, x in
        places[line].flatMap { y in x >= 0 && y >= 0 ? (x: x, y: y) : nil }
    }.sorted { $0.x < $1.x }
    // By length: the pair with the lowest end that closes a sequence of it.
    var ends: [Int] = []
    var previous = [Int?](repeating: nil, count: pairs.count)
    for (index, pair) in pairs.enumerated() {
        var (low, high) = (0, ends.count)
        while low < high {
            let middle = (low + high) / 2
            if pairs[ends[middle]].y < pair.y { low = middle + 1 } else { high = middle }
        }
        previous[index] = low > 0 ? ends[low - 1] : nil
        if low == ends.count { ends.append(index) } else { ends[low] = index }
    }
    var chain: [(Int, Int)] = []
    var next = ends.last
    while let index = next {
        chain.append((pairs[index].x, pairs[index].y))
        next = previous[index]
    }
    return chain.reversed()
}

/// Of a longest common subsequence, indices of the whole arrays; nil where more than 1,000 edits lie between the two.
private func longestCommon(_ old: ArraySlice<Int>, _ new: ArraySlice<Int>) -> [(Int, Int)]? {
    if old.isEmpty || new.isEmpty { return [] }
    let limit = min(old.count + new.count, 1000)
    // By diagonal, from -limit - 1 on: how far along the old sequence so many edits lead.
    var furthest = [Int32](repeating: 0, count: 2 * limit + 3)
    var fronts: [[Int32]] = []
    for distance in 0...limit {
        fronts.append(Array(furthest[limit + 1 - distance...limit + 1 + distance]))
        for diagonal in stride(from: -distance, through: distance, by: 2) {
            let at = limit + 1 + diagonal
            let down = diagonal == -distance || (diagonal != distance && furthest[at - 1] < furthest[at + 1])
            var x = Int(down ? furthest[at + 1] : furthest[at - 1] + 1)
            while x < old.count, x - diagonal < new.count, x >= 0, x - diagonal >= 0,
                old[old.startIndex + x] == new[new.startIndex + x - diagonal]
            {
                x += 1
            }
            furthest[at] = Int32(x)
            if x >= old.count, x - diagonal >= new.count {
                return path(fronts, old.count, new.count).map { (old.startIndex + $0.0, new.startIndex + $0.1) }
            }
        }
    }
    return nil
}

/// Walks the recorded fronts back from the end and collects the diagonal steps. A front holds the diagonals from
/// `-distance` to `distance`, as they were before the step.
private func path(_ fronts: [[Int32]], _ oldCount: Int, _ newCount: Int) -> [(Int, Int)] {
    var pairs: [(Int, Int)] = []
    var (x, y) = (oldCount, newCount)
    for distance in fronts.indices.reversed() {
        let front = fronts[distance]
        let diagonal = x - y
        func before(_ diagonal: Int) -> Int { Int(front[diagonal + distance]) }
        let down =
            diagonal == -distance || (diagonal != distance && before(diagonal - 1) < before(diagonal + 1))
        let previous = down ? diagonal + 1 : diagonal - 1
        let previousX = distance == 0 ? 0 : before(previous)
        let previousY = distance == 0 ? 0 : previousX - previous
        while x > previousX, y > previousY {
            (x, y) = (x - 1, y - 1)
            pairs.append((x, y))
        }
        (x, y) = (previousX, previousY)
    }
    return pairs.reversed()
}
