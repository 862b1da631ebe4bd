/// Foreign text (from a process, a bundle or a file system) as part of one line of output: what would command a
/// terminal, begin another line, change the order of what stands beside it or not be seen at all is shown as U+FFFD
/// (trap forged-text).
///
/// Put it around whole lines, before they are joined: a line's own layout has no newline.
public func onOneLine(_ text: String) -> String {
    if text.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) { return text }
    var shown = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { shown.append(isPlain(scalar) ? scalar : "\u{fffd}") }
    return String(shown)
}

/// JSON that shows a reader of the text nothing else than what a program reads: the same characters as `\u` escapes.
/// Only strings can hold them.
public func escapedInJSON(_ json: String) -> String {
    if json.utf8.allSatisfy({ $0 < 0x7f }) { return json }
    var text = String.UnicodeScalarView()
    for scalar in json.unicodeScalars {
        if scalar.value < 0x7f || isPlain(scalar) {
            text.append(scalar)
            continue
        }
        for unit in Character(scalar).utf16 {
            let digits = String(unit, radix: 16)
            text += ("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits).unicodeScalars
        }
    }
    return String(text)
}

private func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned: false
    default: !scalar.properties.isDefaultIgnorableCodePoint
    }
}

extension Refusal {
    /// The same, each part on one line: for where names of processes and files may stand in it.
    public var onOneLineEach: Refusal {
        var refusal = self
        refusal.subject = onOneLine(subject)
        refusal.why = onOneLine(why)
        refusal.remedy = onOneLine(remedy)
        return refusal
    }
}

/// A text of several lines below a heading: none of them begins where a line of the output's own would.
func indented(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { onOneLine(String($0)) }
        .joined(separator: "\n          ")
}
