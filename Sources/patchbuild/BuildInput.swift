import ArgumentParser
import Diagnostics
import PatchBuilding
import Recompiling
import Targets

/// What a patch is made of: the same options for building it and for building it again.
struct BuildInput: ParsableArguments {
    @Option(help: "The source tree that the target was built from.")
    var source: String?
    @Option(help: "The recorded compile commands (default: compile_commands.json of the source tree).")
    var compileCommands: String?
    @Option(help: "A diff to apply; may be given several times, in order.")
    var diff: [String] = []
    @Option(
        help:
            "A second tree with the change in it, instead of diffs; if recorded, sources that it adds are compiled as there."
    )
    var newSource: String?
    @Option(help: "An original object; each with a --new.")
    var original: [String] = []
    @Option(help: "A new object; each with an --original.")
    var new: [String] = []
    @Option(help: "The ELF file to patch, as it runs; may be given several times.")
    var target: [String] = []
    @Option(help: "An ELF with the symbols and debug information of the --target at the same place in the order.")
    var symbols: [String] = []
    @Option(help: "A bundle that must be applied before this one.")
    var requires: [String] = []
    @Option(help: "A bundle that this one replaces.")
    var supersedes: [String] = []
    @Option(help: "A command to compile with, such as ccache, distcc or icecc.")
    var launcher: String?

    /// - Throws: `UsageError`.
    func options(output: String) throws -> BuildOptions {
        guard !target.isEmpty else { throw UsageError("give --target, the ELF file to patch") }
        guard symbols.isEmpty || symbols.count == target.count else {
            throw UsageError("give one --symbols for each --target, or none")
        }
        let targets = target.enumerated().map { index, path in
            TargetFiles(path: path, symbols: symbols.isEmpty ? nil : symbols[index])
        }
        var options = BuildOptions(input: try input(), targets: targets, output: output)
        options.requires = requires
        options.supersedes = supersedes
        options.launcher = launcher.map(shellWords) ?? []
        return options
    }

    private func input() throws -> PatchInput {
        if !original.isEmpty || !new.isEmpty {
            guard source == nil, diff.isEmpty, newSource == nil, compileCommands == nil else {
                throw UsageError(
                    "give either sources (--source with --diff or --new-source) or objects (--original, --new)")
            }
            guard original.count == new.count else { throw UsageError("each --original needs a --new") }
            return .objects(zip(original, new).map { ObjectPair(original: $0, new: $1) })
        }
        guard let source else { throw UsageError("give --source, or --original and --new") }
        switch (diff.isEmpty, newSource) {
        case (false, nil): return .diffs(source: source, compileCommands: compileCommands, diffs: diff)
        case (true, let newSource?):
            return .newSource(source: source, compileCommands: compileCommands, newSource: newSource)
        default: throw UsageError("give either --diff or --new-source")
        }
    }

    /// Nothing of it was given.
    var isEmpty: Bool {
        source == nil && compileCommands == nil && newSource == nil && launcher == nil
            && [diff, original, new, target, symbols, requires, supersedes].allSatisfy(\.isEmpty)
    }
}
