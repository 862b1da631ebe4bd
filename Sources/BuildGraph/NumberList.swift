/// Lists of numbers as text: `3 7-9 2`. A run of numbers that go up by one is written as a range.
enum NumberList {
    static func text(_ numbers: [Int]) -> String {
        var text = ""
        var start = numbers.startIndex
        while start < numbers.endIndex {
            var end = start
            while end + 1 < numbers.endIndex, numbers[end + 1] == numbers[end] + 1 { end += 1 }
            if !text.isEmpty { text += " " }
            text += end == start ? "\(numbers[start])" : "\(numbers[start])-\(numbers[end])"
            start = end + 1
        }
        return text
    }

    /// - Parameter limit: what each number is below.
    /// - Returns: nil where the text is no such list.
    static func numbers(_ text: String, below limit: Int) -> [Int]? {
        guard !text.isEmpty else { return [] }
        var numbers: [Int] = []
        for part in text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false) {
            let ends = part.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            guard let first = ends.first.flatMap(number), let last = ends.last.flatMap(number), ends.count <= 2,
                first <= last, last < limit, numbers.count + (last - first) < maximumCount
            else { return nil }
            numbers += first...last
        }
        return numbers
    }

    /// No process of a build has read more; a file that says so is not to fill the memory.
    private static let maximumCount = 1 << 22

    private static func number(_ digits: Substring.UTF8View.SubSequence) -> Int? {
        guard !digits.isEmpty, digits.count < 10, digits.count == 1 || digits.first != 0x30 else { return nil }
        var value = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            value = value * 10 + Int(digit - 0x30)
        }
        return value
    }
}
