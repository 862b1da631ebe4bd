import Toolchain

/// A compiler's command that the build ran, for one source.
package struct Compilation: Sendable, Hashable {
    /// The process, as the graph numbers it.
    package var process: Int
    package var directory: String
    /// As the command names it.
    package var file: String
    package var arguments: [String]
}

extension RecordedGraph {
    /// The commands that made the objects behind what the build left, in their order: of programs that start others (libtool, ccache, a shell's
    /// script) the innermost, but not the parts that a compiler is made of.
    ///
    /// Where several wrote one object, it is the one behind a linked file that counts (trap last-record-wins).
    ///
    /// - Parameter isSource: whether a word of a command may name a source that is compiled.
    package func compilations(isSource: (_ word: String, _ command: [String]) -> Bool) -> [Compilation] {
        let search = CompilationSearch(graph: self)
        let candidates = processes.indices.compactMap { search.candidate($0, isSource) }
        let inner = Set(candidates.flatMap { search.ancestors($0.process) })
        let innermost = candidates.filter { !inner.contains($0.process) }
        let linked = behind(versions.indices.filter { versions[$0].kind == .linked }).versions
        let objects = innermost.map { search.objects(of: $0.process) }
        let linkedPaths = Set(objects.joined().filter(linked.contains).map { versions[$0].path })
        let used = behind(versions.indices.filter { versions[$0].kind != nil }).versions
        return zip(innermost, objects).flatMap { candidate, objects -> [Compilation] in
            // A configure script's probe.
            guard objects.contains(where: used.contains) else { return [] }
            let isReplaced = objects.allSatisfy { !linked.contains($0) && linkedPaths.contains(versions[$0].path) }
            return isReplaced ? [] : candidate.compilations
        }
    }
}

private struct Candidate {
    var process: Int
    var compilations: [Compilation]
}

private struct CompilationSearch {
    private let graph: RecordedGraph
    private let numbers: [String: Int]
    private var children: [[Int]]
    private var made: [[Int]]

    init(graph: RecordedGraph) {
        self.graph = graph
        numbers = Dictionary(graph.paths.enumerated().map { ($1, $0) }) { first, _ in first }
        children = Array(repeating: [], count: graph.processes.count)
        made = children
        for (number, process) in graph.processes.enumerated() {
            if let parent = process.parent { children[parent].append(number) }
        }
        for (number, version) in graph.versions.enumerated() {
            for maker in version.makers { made[maker].append(number) }
        }
    }

    func ancestors(_ process: Int) -> [Int] {
        var found: [Int] = []
        var at = graph.processes[process].parent
        while let parent = at {
            found.append(parent)
            at = graph.processes[parent].parent
        }
        return found
    }

    /// nil where the process compiles nothing.
    func candidate(_ process: Int, _ isSource: (String, [String]) -> Bool) -> Candidate? {
        guard let run = graph.processes[process].runs.last, !isPartOfCompiler(run) else { return nil }
        var finder = PathFinder()
        let named = run.arguments.dropFirst().filter { !$0.hasPrefix("-") && isSource($0, run.arguments) }
        guard !named.isEmpty else { return nil }
        let tree = subtree(process)
        let read = Set(tree.flatMap { graph.processes[$0].reads.map { graph.versions[$0].path } })
        let sources = named.filter { word in
            // By the name that it was asked for, or the file that this led to.
            let path = finder.path(word, in: run.directory)
            return [path, resolvedPath(path)].contains { numbers[$0].map(read.contains) ?? false }
        }
        guard !sources.isEmpty, !objects(of: process).isEmpty else { return nil }
        let words = [run.program] + run.arguments.dropFirst()
        return Candidate(
            process: process,
            compilations: sources.map {
                Compilation(process: process, directory: run.directory, file: $0, arguments: words)
            })
    }

    /// What compilers start and give the source to; its command line is theirs to choose.
    private func isPartOfCompiler(_ run: ProgramRun) -> Bool {
        let name = baseName(run.program)
        return name == "as" || name.hasSuffix("-as") || ["-cc1", "-cc1as"].contains(run.arguments.dropFirst().first)
    }

    private func subtree(_ process: Int) -> [Int] {
        var found = [process]
        var next = 0
        while next < found.count {
            found += children[found[next]]
            next += 1
        }
        return found
    }

    /// Versions of objects that the process or its children wrote.
    func objects(of process: Int) -> [Int] {
        subtree(process).flatMap { made[$0] }.filter { number in
            let version = graph.versions[number]
            // What the build did not leave can only be told by its name.
            return version.kind == .object || (version.digest == nil && graph.paths[version.path].hasSuffix(".o"))
        }
    }
}
