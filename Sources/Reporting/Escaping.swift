import Reviewing

/// Markup that can go into the page.
///
/// Only literals of this program's source are markup: whatever is interpolated as a `String` comes out as text, so that nothing
/// from a bundle can become a tag, an attribute or a script.
struct HTML: ExpressibleByStringInterpolation {
    private(set) var text: String

    init(stringLiteral value: String) { text = value }
    init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    struct Interpolation: StringInterpolationProtocol {
        fileprivate var text = ""
        init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity * 2) }
        mutating func appendLiteral(_ literal: String) { text += literal }
        mutating func appendInterpolation(_ value: String) { appendEscaped(value, to: &text) }
        mutating func appendInterpolation(_ value: Int) { text += String(value) }
        mutating func appendInterpolation(_ markup: HTML) { text += markup.text }
    }

    static func += (left: inout HTML, right: HTML) { left.text += right.text }

    /// Plain text, for when it is all there is.
    static func plain(_ value: String) -> HTML { "\(value)" }
}

extension Sequence<HTML> {
    func joined(_ separator: HTML = "") -> HTML {
        var all: HTML = ""
        for (index, part) in enumerated() {
            if index > 0 { all += separator }
            all += part
        }
        return all
    }
}

/// Adds a text so that HTML shows it as it is, between tags and in quoted attributes. What a reader could not see, or what would
/// change the order of what stands around it (bidirectional overrides), is spelled out: `U+202E`.
private func appendEscaped(_ value: String, to text: inout String) {
    if value.utf8.allSatisfy(isPlain) {
        text += value
        return
    }
    for scalar in value.unicodeScalars {
        switch scalar {
        case "&": text += "&amp;"
        case "<": text += "&lt;"
        case ">": text += "&gt;"
        case "\"": text += "&quot;"
        case "'": text += "&#39;"
        default:
            if isInvisible(scalar) {
                let code = String(scalar.value, radix: 16, uppercase: true)
                // No quotes: this may stand in an attribute.
                text += "<i class=u>U+" + String(repeating: "0", count: max(0, 4 - code.utf8.count)) + code + "</i>"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    }
}

private func isPlain(_ byte: UInt8) -> Bool {
    (byte >= 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x26 && byte != 0x27 && byte != 0x3c && byte != 0x3e)
        || byte == 0x0a || byte == 0x09
}

private func isInvisible(_ scalar: Unicode.Scalar) -> Bool {
    if scalar == "\n" || scalar == "\t" { return false }
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: return true
    // Blanks that look like one another, or like nothing.
    case .spaceSeparator: return scalar != " "
    default:
        return scalar.properties.isDefaultIgnorableCodePoint || scalar.properties.isNoncharacterCodePoint
    }
}

/// `1,234,567`.
func grouped(_ number: Int) -> String {
    var digits = Array(String(number.magnitude))
    var place = digits.count - 3
    while place > 0 {
        digits.insert(",", at: place)
        place -= 3
    }
    return (number < 0 ? "-" : "") + String(digits)
}

/// `1 function`, `2 functions`.
func counted(_ number: Int, _ noun: String, _ plural: String? = nil) -> String {
    grouped(number) + " " + (number == 1 ? noun : plural ?? noun + "s")
}

func hexadecimal(_ number: UInt64) -> String { "0x" + String(number, radix: 16) }
