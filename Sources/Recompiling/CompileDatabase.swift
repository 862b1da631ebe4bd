import BuildGraph
import Diagnostics
import FoundationEssentials
import Toolchain

/// One compile command: one translation unit, one object.
package struct CompileUnit: Sendable, Hashable {
    /// Where the command runs, absolute, as recorded.
    var directory: String
    /// The source file, absolute, symbolic links resolved.
    var file: String
    /// The compiler and its arguments, as recorded; launchers such as ccache are left out.
    var arguments: [String]
    /// The object the command writes, absolute.
    var output: String
    /// The change adds the source: the original tree has nothing that it would compile.
    var isNew = false

    package init(directory: String, file: String, arguments: [String], output: String) {
        self.directory = directory
        self.file = file
        self.arguments = arguments
        self.output = output
    }

    /// What the command makes of what: of two commands with the same the later stands.
    var place: String { output + "\0" + file }

    /// The object's path for messages and the manifest, as seen from `root`.
    func name(relativeTo root: String) -> String { relativePath(output, to: root) }

    var language: Language? { Language(file: file, arguments: arguments) }
}

/// The languages whose objects can be patched; anything else in a compile database is left alone.
enum Language: Sendable, Hashable {
    case c, cplusplus, assembler, preprocessedAssembler

    /// `-x` of the command, else what the compiler makes of the file's extension: of a header, a precompiled one and no object.
    init?(file: String, arguments: [String]) {
        var name = file.split(separator: ".").count > 1 ? file.split(separator: ".").last.map(String.init) ?? "" : ""
        for (index, argument) in arguments.enumerated() where argument.hasPrefix("-x") {
            let joined = String(argument.dropFirst(2))
            name = joined.isEmpty && index + 1 < arguments.count ? arguments[index + 1] : joined
        }
        switch name {
        case "c", "i": self = .c
        case "cc", "cp", "cpp", "cxx", "c++", "CPP", "C", "ii": self = .cplusplus
        case "s", "assembler": self = .assembler
        case "S", "sx", "assembler-with-cpp": self = .preprocessedAssembler
        default: return nil
        }
    }
}

/// `compile_commands.json`: what CMake, Meson and Bear write.
struct CompileDatabase: Sendable {
    var path: String
    /// In the order of the file; of several commands that write the same object the last stands.
    var units: [CompileUnit]

    /// - Throws: `Refusal` bad-input when the file is missing or is no compile database.
    static func read(_ path: String) throws -> CompileDatabase {
        guard let data = try? Data(contentsOf: URL(filePath: path)) else {
            throw Refusal(
                .badInput, subject: path, why: "the compile commands can't be read",
                remedy:
                    "record them with `patchbuild record -- BUILD-COMMAND`, or name the file with --compile-commands")
        }
        return try parse(data, path: path)
    }

    static func parse(_ data: Data, path: String) throws -> CompileDatabase {
        let entries: [Entry]
        do {
            entries = try JSONDecoder().decode([Entry].self, from: data)
        } catch {
            throw Refusal(.badInput, subject: path, why: "not a compile database: \(error)")
        }
        var units: [CompileUnit] = []
        var places: [String: Int] = [:]
        let base = absolutePath(path).split(separator: "/").dropLast().joined(separator: "/")
        for unit in entries.flatMap({ $0.units(base: "/" + base) }) {
            if let place = places[unit.place] {
                units[place] = unit
            } else {
                places[unit.place] = units.count
                units.append(unit)
            }
        }
        return CompileDatabase(path: path, units: units)
    }

    /// The units of a recorded command.
    static func units(of compilation: Compilation) -> [CompileUnit] {
        Entry(
            directory: compilation.directory, file: compilation.file, arguments: compilation.arguments, command: nil,
            output: outputArgument(compilation.arguments)
        ).units(base: "/")
    }

    private struct Entry: Decodable {
        var directory: String
        var file: String
        var arguments: [String]?
        var command: String?
        var output: String?

        /// None for a command that makes no object of a language we know, several for libtool's.
        func units(base: String) -> [CompileUnit] {
            let directory = normalized(directory, in: base)
            // A tree may be known by several names: everything is compared by the one without symbolic links.
            let file = resolvedPath(normalized(file, in: directory))
            let commands = compilerCommands(arguments ?? command.map(shellWords) ?? [], directory: directory)
            return commands.compactMap { command in
                let words = compilingOnly(file, command, directory: directory)
                guard words.count > 1, !words.contains(where: stopsBeforeAssembling) else { return nil }
                let given = commands.count > 1 ? nil : output
                let written = normalized(
                    objectPath(words, file: file, given: given), in: directory)
                let output = resolvedPath(normalized("..", in: written)) + "/" + baseName(written)
                let unit = CompileUnit(directory: directory, file: file, arguments: words, output: output)
                return unit.language == nil ? nil : unit
            }
        }

        /// A command that goes on to the link names a program, which is not the object.
        private func objectPath(_ words: [String], file: String, given: String?) -> String {
            let named = given ?? outputArgument(words)
            guard let named, words.contains("-c") || named.hasSuffix(".o") else { return objectName(file) }
            return named
        }
    }
}

private func stopsBeforeAssembling(_ argument: String) -> Bool {
    ["-S", "-E", "-M", "-MM", "-fsyntax-only"].contains(argument)
}

func outputArgument(_ words: [String]) -> String? {
    for (index, word) in words.enumerated().reversed() where word.hasPrefix("-o") {
        if word == "-o" { return index + 1 < words.count ? words[index + 1] : nil }
        // `-opaque-…` is no output; gcc has no other option that starts with -o.
        return String(word.dropFirst(2))
    }
    return nil
}

private func objectName(_ file: String) -> String {
    let name = baseName(file)
    guard let dot = name.lastIndex(of: ".") else { return name + ".o" }
    return name[..<dot] + ".o"
}

func absolutePath(_ path: String) -> String {
    normalized(path, in: FileManager.default.currentDirectoryPath)
}

/// Splits a shell command into words as a POSIX shell would: quotes and backslashes, no expansions.
package func shellWords(_ command: String) -> [String] { quotedWords(command, isShell: true) }

/// Words between white space, with quotes of both kinds. A backslash stands before any character, but for a shell: there it is
/// itself within single quotes, and within double ones before what has no meaning in them.
func quotedWords(_ text: String, isShell: Bool) -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var escaped = false
    for character in text {
        if escaped {
            if isShell, quote == "\"", !"\"\\$`".contains(character) { word = (word ?? "") + "\\" }
            word = (word ?? "") + String(character)
            escaped = false
        } else if character == "\\", !isShell || quote != "'" {
            escaped = true
        } else if let open = quote {
            if character == open { quote = nil } else { word = (word ?? "") + String(character) }
        } else if character == "\"" || character == "'" {
            quote = character
            word = word ?? ""
        } else if character.isWhitespace {
            if let done = word { words.append(done) }
            word = nil
        } else {
            word = (word ?? "") + String(character)
        }
    }
    if let word { words.append(word) }
    return words
}
