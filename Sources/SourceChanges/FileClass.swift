/// What a file of a source tree is for, judged by its path. Only consulted for files that no compile command reads:
/// a file that a compiler reads is source, whatever its name.
public enum FileClass: Sendable, Hashable {
    /// C, C++ or assembler: normally has a compile command of its own.
    case source
    /// Normally included by others.
    case header
    /// What a generator turns into source: grammars, tables, templates, and scripts that may be generators.
    case generatorInput
    /// Decides what is compiled and how.
    case buildScript
    case documentation
    case tests
    /// Of the distribution, of version control, of services around the code.
    case packaging
    /// Read by the program when it runs, or by nobody we know.
    case data

    public init(path: String) {
        let parts = path.split(separator: "/").map(String.init)
        let name = parts.last ?? path
        let directories = parts.dropLast()
        let type = name.split(separator: ".", omittingEmptySubsequences: false).dropFirst().last.map(String.init) ?? ""
        if directories.contains(where: FileClass.testDirectories.contains)
            || ["tcl", "exp", "test", "t", "bats"].contains(type)
        {
            self = .tests
        } else if FileClass.isBuildScript(name: name, type: type, path: path) {
            self = .buildScript
        } else if parts.first == "debian" || parts.first == "rpm" || name.hasPrefix(".")
            || ["spec", "dsc", "ebuild"].contains(type)
            || directories.contains(where: { $0.hasPrefix(".") })
        {
            self = .packaging
        } else {
            self = FileClass(type: type, name: name, directories: directories)
        }
    }

    private init(type: String, name: String, directories: ArraySlice<String>) {
        if ["c", "cc", "cpp", "cxx", "c++", "C", "m", "mm", "S", "s", "sx", "asm"].contains(type) {
            self = .source
        } else if ["h", "hh", "hpp", "hxx", "h++", "H", "inl", "inc", "ipp", "tcc", "txx", "def"].contains(type) {
            self = .header
        } else if FileClass.generatorTypes.contains(type) {
            self = .generatorInput
        } else if FileClass.documentTypes.contains(type) || FileClass.documentNames.contains(name.uppercased())
            || directories.contains(where: { ["doc", "docs", "man", "documentation", "po"].contains($0.lowercased()) })
        {
            self = .documentation
        } else {
            self = .data
        }
    }

    private static func isBuildScript(name: String, type: String, path: String) -> Bool {
        let names: Set<String> = [
            "CMakeLists.txt", "meson.build", "meson_options.txt", "meson.options", "configure", "SConstruct",
            "SConscript", "BUILD", "BUILD.bazel", "WORKSPACE", "Kbuild", "Jamfile", "Jamroot", "wscript", "Kconfig",
            "config.guess", "config.sub", "ltmain.sh", "libtool", "autogen.sh",
        ]
        let lower = name.lowercased()
        return names.contains(name) || path == "debian/rules"
            || ["mk", "mak", "cmake", "m4", "am", "gyp"].contains(type)
            || lower == "makefile" || lower.hasPrefix("makefile.") || lower == "gnumakefile"
            || name.hasPrefix("configure.")
    }

    private static let testDirectories: Set<String> = [
        "test", "tests", "testsuite", "testing", "unittest", "unittests", "t", "spec", "regress", "fuzz", "benchmark",
        "benchmarks", "examples", "example",
    ]
    private static let generatorTypes: Set<String> = [
        "y", "yy", "ypp", "yxx", "l", "ll", "lex", "lpp", "lxx", "in", "tmpl", "tpl", "template", "awk", "gperf", "rl",
        "re", "re2c", "proto", "thrift", "idl", "asn", "asn1", "tbl", "td", "sed", "json", "xml", "pl", "pm", "py",
        "rb", "sh", "lua", "js", "list", "map", "csv", "peg", "g4", "ct", "et", "x", "xs", "pyx", "vala", "gob",
    ]
    private static let documentTypes: Set<String> = [
        "md", "txt", "rst", "adoc", "html", "htm", "css", "pod", "texi", "tex", "po", "pot", "png", "svg", "jpg", "gif",
        "pdf", "ps", "eps", "1", "2", "3", "4", "5", "6", "7", "8", "9", "1x", "3x", "xsl", "dia",
    ]
    private static let documentNames: Set<String> = [
        "README", "CHANGELOG", "CHANGES", "NEWS", "COPYING", "LICENSE", "AUTHORS", "TODO", "INSTALL", "THANKS", "BUGS",
        "HISTORY", "CREDITS", "MAINTAINERS", "VERSION", "00-RELEASENOTES", "RELEASENOTES", "SECURITY", "HACKING",
    ]

    /// Never matters to a compiler, so a diff to it may be passed over.
    public var isHarmless: Bool {
        switch self {
        case .documentation, .tests, .packaging: true
        case .source, .header, .generatorInput, .buildScript, .data: false
        }
    }

    /// The class in words, to follow "it is".
    public var words: String {
        switch self {
        case .source: "a source file"
        case .header: "a header"
        case .generatorInput: "a file that a generator may turn into source"
        case .buildScript: "a build script, which decides what is compiled and how"
        case .documentation: "documentation"
        case .tests: "part of the tests"
        case .packaging: "part of the packaging"
        case .data: "a data file"
        }
    }
}
