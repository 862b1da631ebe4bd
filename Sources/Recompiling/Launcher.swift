import Diagnostics
import FoundationEssentials
import Toolchain

/// A command that compile commands are given to (`--launcher`): a cache or a farm.
///
/// It has to compile what its own process sees. A daemon of another mount namespace (sccache's server, the include server
/// of distcc's pump mode) would compile the tree without the change, and say nothing.
struct Launcher: Sendable {
    var words: [String]

    /// A recorded `env NAME=VALUE gcc` is no compiler's command to a launcher.
    func command(_ command: [String]) -> [String] {
        guard let compiler = command.first, !["env", "nice"].contains(baseName(compiler)) else { return command }
        return words + command
    }

    /// ccache may go by a file's time instead of its content if its configuration says so; a changed file has the time of
    /// the original (for `__TIMESTAMP__`).
    var environment: [String: String?] {
        if words.isEmpty { return [:] }
        return [
            "CCACHE_DISABLE": nil, "CCACHE_SLOPPINESS": "", "CCACHE_NOINODECACHE": "1", "CCACHE_BASEDIR": "",
            "CCACHE_RECACHE": nil, "INCLUDE_SERVER_PORT": nil,
        ]
    }

    /// Compiles a file that nobody has seen before, in a layer over the tree.
    /// - Throws: `Refusal` compile-failed when the launcher does not see it.
    func check(_ view: SourceView, scratch: String, compilers: Set<String>) async throws {
        guard let program = words.first else { return }
        guard findProgram(program) != nil else { throw UsageError("--launcher: there is no program \(program)") }
        // A copy of the tree is there for everybody.
        guard case .namespace = view.method else { return }
        let compiler = compilers.sorted().first { !["env", "nice"].contains(baseName($0)) }
        guard let compiler else { return }
        let mark = "patchbuild_probe_\(UInt64.random(in: 0 ... .max))"
        let layer = SourceLayer(name: "probe", directory: scratch + "/probe", removed: [])
        try createDirectory(layer.directory)
        let text = Data("#include \"\(mark).h\"\n".utf8)
        let files = FileManager.default
        guard files.createFile(atPath: "\(layer.directory)/\(mark).c", contents: text),
            files.createFile(atPath: "\(layer.directory)/\(mark).h", contents: Data("int \(mark);\n".utf8))
        else { throw Failure("can't write \(layer.directory)") }
        let object = "\(scratch)/objects/probe.o"
        let job = view.job(
            program, words.dropFirst() + [compiler, "-c", "\(view.root)/\(mark).c", "-o", object],
            directory: view.root, layer: layer, environment: compilerEnvironment.merging(environment) { $1 },
            title: "try the launcher \(program)")
        let result = try await run(job)
        let made = files.contents(atPath: object).map { [UInt8]($0) } ?? []
        guard result.status == 0, made.contains(mark) else {
            throw Refusal(
                .compileFailed, subject: words.joined(separator: " "),
                why: "it does not compile the files that its own process sees: \(result.message())",
                remedy: "use a launcher that preprocesses in its own process (ccache, distcc, icecc), or none")
        }
    }
}

extension [UInt8] {
    fileprivate func contains(_ text: String) -> Bool { firstRange(of: Array(text.utf8)) != nil }
}
