/// What the compiler counted in a C++ name, taken out: the number of a lambda (`UlvE0_`, clang's `3$_0`), of an unnamed type (`Ut0_`), of a
/// variable or class of a function among those of its name (`_ZZ1fvE1n_0`).
///
/// Lengths of identifiers are read, so that `_ZZ1fvE3n_0`, which is called `n_0`, keeps its name. The result is no mangled
/// name; it only tells which names may have changed places. Names that aren't C++ stay as they are.
package func withoutNumbers(_ name: Substring) -> Substring {
    guard name.hasPrefix("_Z") else { return name }
    var scanner = NameScanner(text: Array(name.utf8))
    scanner.run()
    return scanner.isChanged ? Substring(decoding: scanner.output, as: UTF8.self) : name
}

/// `UlivE_` in a mangled name, outside of its identifiers: the type of a lambda.
package func namesLambda(_ name: String) -> Bool {
    guard name.hasPrefix("_Z"), name.contains("Ul") || name.contains("$_") else { return false }
    var scanner = NameScanner(text: Array(name.utf8))
    scanner.run()
    return scanner.hasLambda
}

private struct NameScanner {
    let text: [UInt8]
    var output: [UInt8] = []
    var isChanged = false
    private var at = 0
    private(set) var hasLambda = false

    init(text: [UInt8]) { self.text = text }

    mutating func run() {
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): copyIdentifier()
            case UInt8(ascii: "L"): copyLiteral()
            case UInt8(ascii: "S"), UInt8(ascii: "T"), UInt8(ascii: "A"): copyReference()
            case UInt8(ascii: "U"): copyUnnamed()
            case UInt8(ascii: "E") where hasLambda: copyEnd()
            case UInt8(ascii: "_"): copyDiscriminator()
            default: copy(1)
            }
        }
    }

    private mutating func copy(_ count: Int) {
        output += text[at..<min(text.count, at + count)]
        at = min(text.count, at + count)
    }

    private func isDigit(_ index: Int) -> Bool { index < text.count && (48...57).contains(text[index]) }

    /// Digits from `start` on.
    private func digits(_ start: Int) -> Int {
        var end = start
        while isDigit(end) { end += 1 }
        return end - start
    }

    private mutating func copyIdentifier() {
        let count = digits(at)
        let length = text[at..<at + count].reduce(0) { ($0 &* 10 &+ Int($1) &- 48) & 0xffff }
        let start = at + count
        // Clang's lambdas and unnamed types of ordinary functions: `3$_0`.
        if length > 2, start + length <= text.count, text[start] == UInt8(ascii: "$"),
            text[start + 1] == UInt8(ascii: "_"),
            digits(start + 2) == length - 2
        {
            hasLambda = true
            isChanged = true
            output += Array("$_".utf8)
            at = start + length
            return
        }
        copy(count + length)
    }

    /// `Li5E`, `Lb1E`, `Lin3E`: the number of a template argument is no length.
    private mutating func copyLiteral() {
        var end = at + 2
        guard end < text.count, (97...122).contains(text[at + 1]) else { return copy(1) }
        if text[end] == UInt8(ascii: "n") { end += 1 }
        let count = digits(end)
        let isWhole = count > 0 && end + count < text.count && text[end + count] == UInt8(ascii: "E")
        copy(isWhole ? end + count + 1 - at : 1)
    }

    /// `S_`, `S1A_`, `T0_`, `A10_`: what was named before, and dimensions.
    private mutating func copyReference() {
        var end = at + 1
        while end < text.count, isDigit(end) || (text[at] == UInt8(ascii: "S") && (65...90).contains(text[end])) {
            end += 1
        }
        copy(end < text.count && text[end] == UInt8(ascii: "_") ? end + 1 - at : 1)
    }

    private mutating func copyUnnamed() {
        guard at + 1 < text.count else { return copy(1) }
        if text[at + 1] == UInt8(ascii: "l") { hasLambda = true }
        let isType = text[at + 1] == UInt8(ascii: "t")
        copy(2)
        if isType { dropNumber() }
    }

    private mutating func copyEnd() {
        copy(1)
        dropNumber()
    }

    /// A number that ends in `_`.
    private mutating func dropNumber() {
        let count = digits(at)
        guard count > 0, at + count < text.count, text[at + count] == UInt8(ascii: "_") else {
            if count == 0, at < text.count, text[at] == UInt8(ascii: "_") { copy(1) }
            return
        }
        at += count
        isChanged = true
        copy(1)
    }

    /// `_0` to `_9`, `__10_` and so on, behind a function's own variable or class.
    private mutating func copyDiscriminator() {
        var end = at + 1
        if isDigit(end) {
            end += 1
        } else if end < text.count, text[end] == UInt8(ascii: "_"), digits(end + 1) > 1 {
            end += 1 + digits(end + 1)
            guard end < text.count, text[end] == UInt8(ascii: "_") else { return copy(1) }
            end += 1
        } else {
            return copy(1)
        }
        guard end == text.count || text[end] == UInt8(ascii: "E") else { return copy(1) }
        at = end
        isChanged = true
    }
}
