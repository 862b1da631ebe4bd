import Disassembly

/// A text with the C++ symbols in it as their source has them, without parameters.
func readable(_ text: String) -> String {
    guard text.utf8.count < 4096, text.contains("_Z") else { return text }
    var shown = ""
    var rest = text[...]
    while let start = rest.firstRange(of: "_Z")?.lowerBound {
        let before = rest[..<start].last
        let symbol = rest[start...].prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "_.$".contains($0)) }
        let isWord = before.map { $0.isLetter || $0.isNumber || $0 == "_" } ?? false
        shown += rest[..<start] + (isWord ? String(symbol) : demangled(String(symbol), parameters: false))
        rest = rest[symbol.endIndex...]
    }
    return shown + rest
}

extension HTML {
    /// A symbol as code; a C++ one as its source has it, with the symbol behind it for those who point at it.
    static func symbol(_ name: String, parameters: Bool = true) -> HTML {
        let shown = demangled(name, parameters: parameters)
        return shown == name ? "<code>\(name)</code>" : "<code title=\"\(name)\">\(shown)</code>"
    }
}
