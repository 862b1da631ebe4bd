import Toolchain

/// A recorded command, without its compiler, changed for another purpose. Whatever decides about code stays as it is.
extension CompileUnit {
    var compiler: String { arguments.first ?? "cc" }

    /// The recorded arguments with another output. What writes further files beside the object (dependencies,
    /// intermediate files) is left out: it does not change code.
    /// - Parameter source: what is compiled in the place of the unit's own file.
    func compileArguments(output: String, adding added: [String] = [], of source: String? = nil) -> [String] {
        var kept = withoutOutputs()
        if let source, let place = kept.lastIndex(where: { !$0.hasPrefix("-") && baseName($0) == baseName(file) }) {
            kept[place] = source
        }
        let compiles = kept.contains("-c") ? [] : ["-c"]
        return kept + compiles + harmlessArguments + added + ["-o", output]
    }

    /// What keeps the command as it was although its output is elsewhere and its source another.
    private var harmlessArguments: [String] {
        var added: [String] = []
        if usesProfile {
            // The profile is looked for beside the object, and does not fit a function that changes.
            let name = baseName(self.output)
            let directory = self.output.dropLast(name.utf8.count)
            let stem = name.hasSuffix(".o") ? String(name.dropLast(2)) : name
            added += ["-dumpdir", String(directory), "-dumpbase", stem, "-Wno-error=coverage-mismatch"]
        }
        if isClang, !arguments.contains("-c") { added.append("-Qunused-arguments") }
        if !isClang, arguments.contains("-Winvalid-pch") { added.append("-Wno-invalid-pch") }
        return added
    }

    private var usesProfile: Bool {
        !isClang && arguments.contains { $0.hasPrefix("-fprofile-use") || $0.hasPrefix("-fbranch-probabilities") }
    }

    /// Also where it is called by another name, as Debian's alternatives do.
    private var isClang: Bool {
        baseName(compiler).contains("clang")
            || findProgram(compiler).map { baseName(resolvedPath($0)).contains("clang") } ?? false
    }

    /// Arguments that print what the unit reads, as a rule for make.
    var dependencyArguments: [String] { withoutOutputs().filter { $0 != "-c" } + ["-M"] }

    /// What makes functions and data findable and types readable, and leaves code as it is.
    var sectionArguments: [String] {
        var added = ["-ffunction-sections", "-fdata-sections"]
        if leavesConstantsTogether { added.append("-fmerge-constants") }
        let debug = debugOptions
        let poor: Set<String> = [
            "-g0", "-g1", "-ggdb0", "-ggdb1", "-gmlt", "-gline-tables-only", "-gz", "-gsplit-dwarf",
        ]
        if !debug.contains(where: { !poor.contains($0) }) || poor.contains(debug.last ?? "") { added.append("-g") }
        // What only `sizeof` or `offsetof` mentions counts as unused.
        added.append("-fno-eliminate-unused-debug-types")
        // Else a class is described only where its virtual table or, by clang, its constructor is, and what changes in it goes
        // unseen in the units that use it.
        if isClang { added.append("-fstandalone-debug") }
        if !isClang, language == .cplusplus { added.append("-femit-class-debug-always") }
        if arguments.contains("-gsplit-dwarf") { added.append("-gno-split-dwarf") }
        if arguments.contains("-fdebug-types-section") { added.append("-fno-debug-types-section") }
        return added
    }

    /// Of a unit of C or C++: what is linked from it bears its name in debug information.
    var asksForDebugInfo: Bool {
        guard let last = debugOptions.last, [.c, .cplusplus].contains(language) else { return false }
        return !["-g0", "-ggdb0", "-gsplit-dwarf"].contains(last)
    }

    /// What says whether, and how much, debug information is made.
    private var debugOptions: [String] {
        arguments.filter { $0.hasPrefix("-g") && !$0.hasPrefix("-gno-") && !$0.hasPrefix("-grecord") }
    }

    /// Without optimisation GCC puts all literals into one section, in which nothing tells where one ends.
    private var leavesConstantsTogether: Bool {
        guard !isClang, !arguments.contains("-fmerge-all-constants") else { return false }
        let level = arguments.last { $0.hasPrefix("-O") } ?? "-O0"
        return level == "-O0"
    }

    /// Files that `-include` and `-imacros` name, as they stand in the command; those for the preprocessor too.
    var forcedIncludes: [String] {
        let options = ["--include", "--imacros", "-include", "-imacros"]
        let words = preprocessorArguments
        return words.enumerated().compactMap { index, word in
            guard let option = options.first(where: word.hasPrefix) else { return nil }
            if word == option { return index + 1 < words.count ? words[index + 1] : nil }
            return String(word.dropFirst(option.count).drop { $0 == "=" })
        }
    }

    /// The file in which the command itself writes what the unit reads (`-MD`), absolute; nil where it does not, and a
    /// dependency file beside the object is of another command, perhaps with other flags.
    var writtenDependencies: String? {
        let words = preprocessorArguments
        guard let option = words.lastIndex(where: { ["-MD", "-MMD"].contains($0) }) else { return nil }
        if let place = words.lastIndex(where: { $0.hasPrefix("-MF") }) {
            let name = words[place] == "-MF" ? words[(place + 1)...].first : String(words[place].dropFirst(3))
            return name.map { normalized($0, in: directory) }
        }
        // `-Wp,-MD,FILE`: to the preprocessor, the option has a file.
        if arguments.contains(where: { $0.hasPrefix("-Wp,-M") || $0.contains(",-MD,") || $0.contains(",-MMD,") }),
            let name = words[(option + 1)...].first
        {
            return normalized(name, in: directory)
        }
        return (output.hasSuffix(".o") ? String(output.dropLast(2)) : output) + ".d"
    }

    /// The arguments, with those that are handed on to the preprocessor or to the compiler proper as words of their own.
    private var preprocessorArguments: [String] {
        arguments.dropFirst().flatMap { argument -> [String] in
            if ["-Xpreprocessor", "-Xclang"].contains(argument) { return [] }
            guard argument.hasPrefix("-Wp,") else { return [argument] }
            return argument.dropFirst(4).split(separator: ",").map(String.init)
        }
    }

    /// The arguments that decide what the code means: outputs aside, and how it reaches what it refers to.
    var variant: [String] {
        withoutOutputs().filter { argument in
            !["-fPIC", "-fpic", "-fPIE", "-fpie", "-fno-PIE", "-fno-pie", "-DPIC", "-c"].contains(argument)
        }
    }

    private func withoutOutputs() -> [String] {
        var kept: [String] = []
        var rest = arguments.dropFirst()
        while let argument = rest.popFirst() {
            switch argument {
            case "-o", "-MF", "-MT", "-MQ", "-MJ": _ = rest.popFirst()
            case "-MD", "-MMD", "-MP", "-MG": continue
            case "-Xclang" where rest.first == "-include-pch":
                // `-Xclang -include-pch -Xclang FILE`: the header itself is named as well, and may change.
                rest = rest.dropFirst(3)
            case "-include-pch": _ = rest.popFirst()
            default:
                let dropped = ["-MF", "-MT", "-MQ", "-MJ", "-save-temps", "--save-temps"].contains {
                    argument.hasPrefix($0)
                }
                let output = argument.hasPrefix("-o") && !argument.hasPrefix("-opaque")
                if dropped || output { continue }
                if let argument = withoutDependencies(argument) { kept.append(argument) }
            }
        }
        return kept
    }

    /// `-Wp,-D_FORTIFY_SOURCE=2,-MMD,file.d` without what writes dependencies.
    private func withoutDependencies(_ argument: String) -> String? {
        guard argument.hasPrefix("-Wp,") else { return argument }
        var kept: [Substring] = []
        var rest = argument.dropFirst(4).split(separator: ",", omittingEmptySubsequences: false)[...]
        while let part = rest.popFirst() {
            // To the preprocessor, each of these but the last two has a file.
            switch part {
            case "-MD", "-MMD", "-MF", "-MT", "-MQ": _ = rest.popFirst()
            case "-MP", "-MG": continue
            default: kept.append(part)
            }
        }
        return kept.isEmpty ? nil : "-Wp," + kept.joined(separator: ",")
    }
}

/// The files that a make rule, as a compiler prints it, depends on.
func dependencies(inRule rule: [UInt8]) -> [String] {
    var words: [[UInt8]] = [[]]
    var rest = rule[...]
    while let byte = rest.popFirst() {
        switch byte {
        case UInt8(ascii: "\\"):
            guard let next = rest.popFirst() else { break }
            if next == 10 || next == 13 {
                words.append([])
            } else if next == UInt8(ascii: " ") || next == UInt8(ascii: "#") {
                words[words.count - 1].append(next)
            } else {
                words[words.count - 1] += [byte, next]
            }
        case UInt8(ascii: "$") where rest.first == UInt8(ascii: "$"):
            rest = rest.dropFirst()
            words[words.count - 1].append(byte)
        case 10, 13, 9, UInt8(ascii: " "): words.append([])
        default: words[words.count - 1].append(byte)
        }
    }
    return words.filter { !$0.isEmpty && $0.last != UInt8(ascii: ":") }.map { String(decoding: $0, as: UTF8.self) }
}

extension CompileUnit {
    /// What the command has the compiler call the source in debug information; nil where that is its own name.
    var mappedFile: String? {
        for argument in arguments.reversed() {
            guard let kind = ["-ffile-prefix-map=", "-fdebug-prefix-map="].first(where: argument.hasPrefix) else {
                continue
            }
            let map = argument.dropFirst(kind.count)
            guard let equals = map.firstIndex(of: "="), equals > map.startIndex, file.hasPrefix(map[..<equals]) else {
                continue
            }
            return String(map[map.index(after: equals)...]) + String(file.dropFirst(map[..<equals].count))
        }
        return nil
    }
}
