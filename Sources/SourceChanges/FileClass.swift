/// What a file of a source tree is for, as far as its path tells. What a build makes of a file that is neither source nor
/// header, only the record of the build tells.
public enum FileClass: Sendable, Hashable {
    /// C, C++ or assembler: normally has a compile command of its own.
    case source
    /// Normally included by others.
    case header
    /// For people to read.
    case documentation
    case tests
    /// Of the distribution, whose tools read it for purposes of their own.
    case packaging
    case other

    public init(path: String) {
        let parts = path.split(separator: "/").map(String.init)
        let name = parts.last ?? path
        let directories = parts.dropLast()
        let type = name.split(separator: ".", omittingEmptySubsequences: false).dropFirst().last.map(String.init) ?? ""
        if directories.contains(where: ["test", "tests", "testsuite"].contains) {
            self = .tests
        } else if parts.first == "debian" {
            self = .packaging
        } else if ["c", "cc", "cpp", "cxx", "c++", "C", "m", "mm", "S", "s", "sx", "asm"].contains(type) {
            self = .source
        } else if ["h", "hh", "hpp", "hxx", "h++", "H", "inl", "inc", "ipp", "tcc", "txx", "def"].contains(type) {
            self = .header
        } else if FileClass.isDocument(name: name, type: type, in: directories) {
            self = .documentation
        } else {
            self = .other
        }
    }

    /// By the name that such files have everywhere, as a page of a manual, or as a text in a directory of such.
    private static func isDocument(name: String, type: String, in directories: ArraySlice<String>) -> Bool {
        if documentNames.contains(name.prefix { $0 != "." }.uppercased()) { return true }
        if type.count == 1, ("1"..."9").contains(type) { return true }
        return documentTypes.contains(type) && name != "CMakeLists.txt"
            && directories.contains { ["doc", "docs", "man"].contains($0.lowercased()) }
    }

    private static let documentTypes: Set<String> = ["", "md", "txt", "rst", "adoc", "html", "pod", "texi", "po"]
    private static let documentNames: Set<String> = [
        "README", "CHANGELOG", "CHANGES", "NEWS", "COPYING", "LICENSE", "AUTHORS", "TODO", "INSTALL", "THANKS", "BUGS",
        "HISTORY", "CREDITS", "SECURITY", "HACKING",
    ]

    /// Nothing that is compiled is made of it.
    public var isHarmless: Bool { self == .documentation || self == .packaging }

    /// The class in words, to follow "it is".
    public var words: String {
        switch self {
        case .source: "a source file"
        case .header: "a header"
        case .documentation: "documentation"
        case .tests: "part of the tests"
        case .packaging: "part of the packaging"
        case .other: "neither source nor header"
        }
    }
}
