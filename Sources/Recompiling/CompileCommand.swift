import FoundationEssentials
import Toolchain

/// What a recorded command runs once all that stands around the compiler is taken off.
///
/// - Returns: several commands for libtool, which compiles for libraries and for programs in one go; none for what is no
///   compiler's command.
func compilerCommands(_ words: [String], directory: String) -> [[String]] {
    let command = withoutLauncher(words)
    guard let libtool = libtoolCommands(command) else { return [expanded(command, directory: directory)] }
    return libtool.map { expanded(withoutLauncher($0), directory: directory) }
}

/// `ccache gcc …` and its like: the compiler itself is run, so that nothing stands between the overlay and it.
private func withoutLauncher(_ words: [String]) -> [String] {
    var words = words[...]
    while words.count > 1, let first = words.first, launchers.contains(baseName(first)) {
        let isEnvironment = ["env", "nice"].contains(baseName(first))
        let rest = words.dropFirst()
        // `env NAME=VALUE gcc` stays as it is: the variable may matter. `ccache KEY=VALUE gcc` is about the cache.
        if isEnvironment, rest.first.map({ $0.hasPrefix("-") || $0.contains("=") }) ?? true { break }
        words = isEnvironment ? rest : rest.drop { $0.contains("=") && !$0.hasPrefix("-") && !$0.hasPrefix("/") }
    }
    return Array(words)
}

private let caches: Set<String> = ["ccache", "distcc", "sccache", "icecc", "gomacc", "buildcache"]
private let launchers = caches.union(["env", "nice"])

/// A cache or a farm stands in the compiler's place, also by the compiler's own name: what it has not compiled it has not read.
func isOfCache(_ words: [String]) -> Bool {
    guard let first = words.first else { return false }
    return caches.contains(baseName(first))
        || findProgram(first).map { caches.contains(baseName(resolvedPath($0))) } ?? false
}

/// What `libtool --mode=compile` runs, as its manual says: first for shared libraries into `.libs`, then for programs.
///
/// - Returns: nil for other commands.
private func libtoolCommands(_ words: [String]) -> [[String]]? {
    var words = words[...]
    if let shell = words.first, ["sh", "bash", "dash"].contains(baseName(shell)) { words = words.dropFirst() }
    guard let first = words.first, baseName(first).hasSuffix("libtool") else { return nil }
    let own = words.dropFirst().prefix { $0.hasPrefix("-") }
    guard own.contains("--mode=compile") else { return [] }
    var command = Array(words.dropFirst(1 + own.count))
    let modes: Set<String> = ["-shared", "-static", "-prefer-pic", "-prefer-non-pic", "-no-suppress"]
    let chosen = command.filter { modes.contains($0) }
    command.removeAll { modes.contains($0) }
    guard let place = command.lastIndex(of: "-o"), place + 1 < command.count else { return [command] }
    let object = command[place + 1].hasSuffix(".lo") ? command[place + 1].dropLast(2) + "o" : command[place + 1]
    let slash = object.lastIndex(of: "/").map { object.index(after: $0) } ?? object.startIndex
    command[place + 1] = object
    var shared = command + (chosen.contains("-prefer-non-pic") ? [] : ["-fPIC", "-DPIC"])
    shared[place + 1] = object[..<slash] + ".libs/" + object[slash...]
    let program = command + (chosen.contains("-prefer-pic") ? ["-fPIC", "-DPIC"] : [])
    return (chosen.contains("-static") ? [] : [shared]) + (chosen.contains("-shared") ? [] : [program])
}

/// With `@FILE` replaced by what the file holds, as the compiler itself would; a file that is gone stays for it to say.
private func expanded(_ words: [String], directory: String, depth: Int = 0) -> [String] {
    words.flatMap { word -> [String] in
        guard word.hasPrefix("@"), depth < 16,
            let data = FileManager.default.contents(atPath: normalized(String(word.dropFirst()), in: directory))
        else { return [word] }
        let inner = responseWords(String(decoding: data, as: UTF8.self))
        return expanded(inner, directory: directory, depth: depth + 1)
    }
}

/// The words of a response file: quotes of both kinds, and a backslash before any character, within quotes too.
func responseWords(_ text: String) -> [String] { quotedWords(text, isShell: false) }

/// One command may compile several files: without the others, and without what only a link reads.
func compilingOnly(_ file: String, _ words: [String], directory: String) -> [String] {
    let links = !words.contains("-c")
    func isFile(_ word: String) -> Bool { resolvedPath(normalized(word, in: directory)) == file }
    // A path through symbolic links may not look like the file's.
    let sources = words.dropFirst().filter { !$0.hasPrefix("-") && Language(file: $0, arguments: []) != nil }
    guard sources.contains(where: isFile) else { return words }
    var kept: [String] = []
    var isValue = true
    for word in words {
        defer { isValue = takesValue.contains(word) }
        if isValue || word.hasPrefix("-") {
            let isLinker = word.hasPrefix("-Wl,") || word.hasPrefix("-l")
            if isValue || !links || !isLinker { kept.append(word) }
            continue
        }
        let isOther = Language(file: word, arguments: []) != nil && !isFile(word)
        let isLinked = links && [".o", ".a", ".so", ".lo", ".la"].contains { word.hasSuffix($0) }
        if !isOther, !isLinked { kept.append(word) }
    }
    return kept
}

/// Options whose value is the next word. (The first word of a command is no input either.)
private let takesValue: Set<String> = [
    "-o", "-I", "-D", "-U", "-L", "-l", "-x", "-A", "-B", "-F", "-T", "-u", "-z", "-MF", "-MT", "-MQ", "-MJ",
    "-include",
    "--include", "-imacros", "-isystem", "-iquote", "-idirafter", "-iprefix", "-iwithprefix", "-iwithprefixbefore",
    "-isysroot", "--sysroot", "-imultilib", "--param", "-aux-info", "-dumpbase", "-dumpbase-ext", "-dumpdir",
    "-Xlinker", "-Xassembler", "-Xpreprocessor", "-Xclang", "-mllvm", "-target", "-arch", "-include-pch",
]
