import FoundationEssentials
import Glibc
import PatchFormat
import Toolchain

extension BuildObserver {
    /// What lies behind the ELF files and archives that the build left.
    ///
    /// - Parameters:
    ///   - command: the build command.
    ///   - earlier: what `history` went on from.
    /// - Returns: the graph, and how many of its processes are of earlier builds.
    func graph(
        command: [String], directory: String, earlier: RecordedGraph?
    ) -> (graph: RecordedGraph, earlier: Int) {
        var whole = RecordedGraph(
            directory: directory, command: command, paths: history.paths, versions: history.versions)
        whole.processes = (earlier?.processes ?? []) + processes.map(\.process)
        for (reader, feeders) in feeds { whole.processes[reader].fedBy = feeders.sorted() }
        let left = history.current.values.filter { !whole.versions[$0].isSource }
        for number in left {
            whole.versions[number].kind = linkKind(ofFile: whole.paths[whole.versions[number].path])
        }
        let outputs = left.filter { whole.versions[$0].kind != nil }
        let kept = whole.kept(for: outputs, earlier: earlier.map { (self.earlier, $0.coneOfAll) }, system)
        return (
            whole.keeping(kept.processes, kept.versions, left: Set(left)),
            kept.processes.count { $0 < self.earlier }
        )
    }

    /// For each process: those whose output it reads through a pipe.
    private var feeds: [Int: Set<Int>] {
        var feeds: [Int: Set<Int>] = [:]
        for pipe in pipes {
            // What nobody has as its standard input is read by whoever made the pipe: `$(command)`.
            let readers = pipe.readers.isEmpty ? Set([pipe.maker].compactMap { $0 }) : pipe.readers
            for reader in readers {
                feeds[reader + earlier, default: []].formUnion(pipe.writers.subtracting([reader]).map { $0 + earlier })
            }
        }
        return feeds
    }
}

extension TracedProcess {
    fileprivate var process: BuildProcess {
        var process = BuildProcess(parent: parent)
        process.runs = runs
        process.reads = reads.sorted()
        process.missed = missed.sorted()
        process.seen = seen.subtracting(missed).sorted()
        process.listed = listed.sorted()
        process.status = status
        return process
    }
}

extension RecordedGraph {
    /// The processes that have part in the versions, directly or through what others wrote, those that decided about them, and
    /// the versions that they read.
    ///
    /// Kept besides: who read a source of the build (not of the system) without writing anything of this, for it may have told
    /// its parent something, and who read what such a one wrote.
    ///
    /// - Parameter earlier: how many processes are of earlier builds, and which of these were behind their outputs.
    fileprivate func kept(
        for outputs: [Int], earlier: (count: Int, cone: Set<Int>)?, _ system: SystemPaths
    ) -> (processes: Set<Int>, versions: Set<Int>) {
        var cone = Cone(graph: self)
        cone.reach(outputs)
        var leaders = ancestors(of: cone.processes)
        // An earlier command told its nearest leader something. Once a later build repeated all that this one led, that has
        // nothing to say any more (`cc -MM *.c >Makefile.dep`, whose make runs again), nor have commands that were repeated.
        let earlierLeaders = ancestors(of: earlier?.cone ?? [])
        let gone = (0..<(earlier?.count ?? 0)).filter { process in
            !leaders.contains(nearest(of: earlierLeaders, above: process) ?? root(of: process))
        }
        let known = leaders.union(cone.processes).union(gone).union(earlier?.cone ?? [])
        cone.processes.formUnion(witnesses(besides: known, system))
        leaders.formUnion(ancestors(of: cone.processes))
        cone.processes.formUnion(leaders)
        for process in cone.processes { cone.versions.formUnion(processes[process].reads) }
        // Origins of what is read may be of others.
        cone.reach(Array(cone.versions), followingReads: false)
        return (cone.processes, cone.versions)
    }

    private func nearest(of some: Set<Int>, above process: Int) -> Int? {
        var at = processes[process].parent
        while let parent = at, !some.contains(parent) { at = processes[parent].parent }
        return at
    }

    private func root(of process: Int) -> Int {
        var root = process
        while let parent = processes[root].parent { root = parent }
        return root
    }

    fileprivate var coneOfAll: Set<Int> { behind(versions.indices.filter { versions[$0].kind != nil }).processes }

    package func ancestors(of some: Set<Int>) -> Set<Int> {
        var found: Set<Int> = []
        for process in some {
            var at = processes[process].parent
            while let parent = at, found.insert(parent).inserted { at = processes[parent].parent }
        }
        return found
    }

    /// Processes outside of `known` that read sources, or what other such processes wrote.
    private func witnesses(besides known: Set<Int>, _ system: SystemPaths) -> Set<Int> {
        var found: Set<Int> = []
        // Versions are in the order of their making, processes nearly so in that of their reading: two rounds see all but
        // what a process reads that was started before the writer.
        for _ in 0..<2 {
            for (number, process) in processes.enumerated() where !known.contains(number) && !found.contains(number) {
                let isWitness = process.reads.contains { read in
                    let version = versions[read]
                    if version.isSource { return !system.contain(paths[version.path]) }
                    return version.makers.contains(where: found.contains)
                }
                if isWitness { found.insert(number) }
            }
        }
        return found
    }

    /// The graph of these alone, numbered anew, with the digests of what the build left.
    fileprivate func keeping(_ kept: Set<Int>, _ reached: Set<Int>, left: Set<Int>) -> RecordedGraph {
        let order = kept.sorted()
        let made = versions.indices.filter { number in
            let isKept = versions[number].makers.contains(where: kept.contains)
            // What only others made says nothing of a source: else they would be kept.
            return reached.contains(number)
                ? isKept || versions[number].makers.isEmpty : isKept && left.contains(number)
        }
        let newProcess = numbering(order)
        let newVersion = numbering(made)
        var graph = RecordedGraph(directory: directory, command: command)
        var names = PathTable()
        graph.versions = made.map { number in
            var version = FileVersion(path: names.number(of: paths[versions[number].path]))
            version.makers = versions[number].makers.compactMap { newProcess[$0] }.sorted()
            version.origins = versions[number].origins.compactMap { newVersion[$0] }.sorted()
            if left.contains(number), !version.isSource {
                version.digest = digest(ofFile: paths[versions[number].path])
                version.kind = versions[number].kind
            }
            return version
        }
        graph.processes = order.map { number in
            var process = processes[number]
            process.parent = process.parent.flatMap { newProcess[$0] }
            process.reads = process.reads.compactMap { newVersion[$0] }.sorted()
            process.fedBy = process.fedBy.compactMap { newProcess[$0] }.sorted()
            process.missed = process.missed.map { names.number(of: paths[$0]) }.sorted()
            process.seen = process.seen.map { names.number(of: paths[$0]) }.sorted()
            process.listed = process.listed.map { names.number(of: paths[$0]) }.sorted()
            return process
        }
        graph.paths = names.paths
        return graph
    }

    private func numbering(_ numbers: [Int]) -> [Int: Int] {
        Dictionary(numbers.enumerated().map { ($1, $0) }) { first, _ in first }
    }
}

private struct PathTable {
    private(set) var paths: [String] = []
    private var numbers: [String: Int] = [:]

    mutating func number(of path: String) -> Int {
        if let number = numbers[path] { return number }
        numbers[path] = paths.count
        paths.append(path)
        return paths.count - 1
    }
}

/// What is reached backwards from versions of files.
private struct Cone {
    let graph: RecordedGraph
    /// Not while a graph is pruned: a configure script takes something from thousands of children, of which few have read a
    /// source.
    let followsChildren: Bool
    var processes: Set<Int> = []
    var versions: Set<Int> = []

    init(graph: RecordedGraph, followsChildren: Bool = false) {
        self.graph = graph
        self.followsChildren = followsChildren
    }

    mutating func reach(_ start: [Int], followingReads: Bool = true) {
        var open = start
        while let version = open.popLast() {
            guard !followingReads || versions.insert(version).inserted else { continue }
            for origin in graph.versions[version].origins where !versions.contains(origin) {
                if !followingReads { versions.insert(origin) }
                open.append(origin)
            }
            guard followingReads else { continue }
            for maker in graph.versions[version].makers { open += enter(maker) }
        }
    }

    /// - Returns: versions to follow.
    private mutating func enter(_ process: Int) -> [Int] {
        guard processes.insert(process).inserted else { return [] }
        var open = graph.processes[process].reads
        // What an ancestor gives is a part of the command, as its arguments are.
        for feeder in graph.processes[process].fedBy
        where !graph.isAncestor(feeder, of: process) && (followsChildren || !graph.isAncestor(process, of: feeder)) {
            open += enter(feeder)
        }
        return open
    }
}

extension RecordedGraph {
    /// The processes that wrote the versions, or what these were made from, and all that they read and wrote on the way. What a
    /// process takes from the output of its own children counts as well (`x=$(cat file)`).
    package func behind(_ versions: [Int]) -> (processes: Set<Int>, versions: Set<Int>) {
        var cone = Cone(graph: self, followsChildren: true)
        cone.reach(versions)
        return (cone.processes, cone.versions)
    }

    package func isAncestor(_ process: Int, of other: Int) -> Bool {
        var at = processes[other].parent
        while let parent = at {
            if parent == process { return true }
            at = parent < other ? processes[parent].parent : nil
        }
        return false
    }
}

/// nil where it can't be read, or is no regular file.
package func digest(ofFile path: String) -> String? {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return FileManager.default.contents(atPath: path).map { Digest.sha256($0) }
}

/// What a file is to the linker, by its first bytes.
package func linkKind(ofFile path: String) -> LinkKind? {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    let bytes = firstBytes(path, 18)
    if bytes.starts(with: Array("!<arch>".utf8)) || bytes.starts(with: Array("!<thin>".utf8)) { return .archive }
    if bytes.starts(with: [0x42, 0x43, 0xc0, 0xde]) { return .object }
    guard bytes.count == 18, bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { return nil }
    return switch bytes[16] {
    case 1: .object
    case 2, 3: .linked
    default: nil
    }
}

private func firstBytes(_ path: String, _ count: Int) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: count)
    let got = bytes.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
    return Array(bytes.prefix(max(0, got)))
}
