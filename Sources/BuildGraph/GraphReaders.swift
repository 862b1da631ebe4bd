import Toolchain

/// Answers who has read a file of the tree, and what that has to do with the linked files that the build left.
package struct GraphReaders: Sendable {
    /// What a process has to do with the linked files.
    package enum Role: Sendable {
        /// It wrote something that is part of them.
        case part
        /// It wrote a linked file.
        case link
        /// It started such processes, and so decided about their commands.
        case leader
        /// It told a leader something through a pipe.
        case teller
        /// It may have told a shell something by its exit status.
        case asked
        case outsider
    }

    package let graph: RecordedGraph
    private let numbers: [String: Int]
    private let linking: Set<Int>
    private let parts: Set<Int>
    private let leaders: Set<Int>
    /// Those whose output a leader reads, directly or through others, and that is no logger.
    private let heard: Set<Int>
    private let partVersions: Set<Int>
    /// By processes behind programs that the build has made and run: those of the parts that ran them.
    private let runners: [Int: Set<Int>]

    package init(_ graph: RecordedGraph) {
        self.graph = graph
        numbers = Dictionary(graph.paths.enumerated().map { ($1, $0) }) { first, _ in first }
        let linked = graph.versions.indices.filter { graph.versions[$0].kind == .linked }
        let cone = graph.behind(linked)
        (parts, partVersions) = (cone.processes, cone.versions)
        runners = Self.runners(graph, parts: cone.processes)
        linking = Set(linked.flatMap { graph.versions[$0].makers })
        leaders = graph.ancestors(of: cone.processes).subtracting(cone.processes)
        heard = Self.heard(graph, parts: cone.processes, leaders: leaders)
    }

    private static func runners(_ graph: RecordedGraph, parts: Set<Int>) -> [Int: Set<Int>] {
        var users: [Int: Set<Int>] = [:]
        for part in parts {
            let programs = Set(graph.processes[part].runs.map(\.program))
            for number in graph.processes[part].reads where !graph.versions[number].isSource {
                if programs.contains(graph.paths[graph.versions[number].path]) {
                    users[number, default: []].insert(part)
                }
            }
        }
        var runners: [Int: Set<Int>] = [:]
        for (program, users) in users {
            for process in graph.behind([program]).processes { runners[process, default: []].formUnion(users) }
        }
        return runners
    }

    /// Processes that made parts of linked files by a program behind which `process` is: a generator's compiler, say.
    package func runners(ofWhatIsMadeBy process: Int) -> [Int] { runners[process, default: []].sorted() }

    /// Ninja reads what every command prints, only to print it: whom compilers tell something is no listener.
    private static func heard(_ graph: RecordedGraph, parts: Set<Int>, leaders: Set<Int>) -> Set<Int> {
        let listeners = leaders.filter { !graph.processes[$0].fedBy.contains(where: parts.contains) }
        var found: Set<Int> = []
        var open = listeners.flatMap { graph.processes[$0].fedBy }
        while let process = open.popLast() {
            guard !parts.contains(process), found.insert(process).inserted else { continue }
            open += graph.processes[process].fedBy
        }
        return found
    }

    /// Objects and archives that linked files were made of and no command of the record made.
    package var unexplained: [String] {
        allSources.filter { path in
            let isOfSystem = ["/usr/", "/lib", "/opt/"].contains(where: path.hasPrefix)
            return !isOfSystem && [.object, .archive].contains(linkKind(ofFile: path))
        }.sorted()
    }

    /// Files of the tree that are part of linked files and were there before the build.
    package func sources(below root: String) -> [String] {
        allSources.filter { $0.hasPrefix(root + "/") }
    }

    private var allSources: [String] {
        partVersions.filter { graph.versions[$0].isSource }.map { graph.paths[graph.versions[$0].path] }
    }

    package func role(of process: Int) -> Role {
        if linking.contains(process) { return .link }
        if parts.contains(process) { return .part }
        if leaders.contains(process) { return .leader }
        if heard.contains(process) { return .teller }
        return isOfShell(process) ? .asked : .outsider
    }

    /// The nearest leader above it is a shell, which may go on by what it says in the end.
    private func isOfShell(_ process: Int) -> Bool {
        var at = graph.processes[process].parent
        while let parent = at {
            if leaders.contains(parent) {
                let program = graph.processes[parent].runs.last.map { baseName($0.program) } ?? "sh"
                return Self.isShell(program)
            }
            at = graph.processes[parent].parent
        }
        return false
    }

    package static func isShell(_ program: String) -> Bool {
        ["sh", "dash", "bash", "ksh", "zsh", "busybox"].contains(program)
    }

    /// It decides by the times of files, as its own text says, and by nothing else.
    package static func goesByTimes(_ program: String) -> Bool { ["make", "gmake", "ninja"].contains(program) }

    /// Processes that read the file; those that looked for it in vain where it `isAdded`.
    package func readers(of path: String, isAdded: Bool = false) -> [Int] {
        guard let number = numbers[path] else { return [] }
        let versions = Set(graph.versions.indices.filter { graph.versions[$0].path == number })
        return graph.processes.indices.filter { process in
            (isAdded && graph.processes[process].missed.contains(number))
                || graph.processes[process].reads.contains(where: versions.contains)
        }
    }

    /// Whether one who decides about commands, or may be asked, has read what the process wrote, or what outsiders made of it.
    package func isPassedOn(_ process: Int) -> Bool {
        var known: Set<Int> = [process]
        var (open, followed) = ([process], Set<Int>())
        while let writer = open.popLast() {
            let written = graph.derived(
                from: graph.versions.indices.filter { graph.versions[$0].makers.contains(writer) })
            let fresh = written.subtracting(followed)
            followed.formUnion(fresh)
            for (number, reader) in graph.processes.enumerated() where !known.contains(number) {
                guard reader.reads.contains(where: fresh.contains) else { continue }
                guard role(of: number) == .outsider else { return true }
                known.insert(number)
                open.append(number)
            }
        }
        return false
    }

    /// What leaders, and those that may have told them something, have read.
    package var filesOfDeciders: Set<String> {
        let deciders = graph.processes.indices.filter { [.leader, .teller, .asked].contains(role(of: $0)) }
        return Set(deciders.flatMap { graph.processes[$0].reads }.map { graph.paths[graph.versions[$0].path] })
    }

    /// Leaders that saw the file without reading it: make, that compares times.
    package func onlookers(of path: String) -> [Int] {
        guard let number = numbers[path] else { return [] }
        return leaders.sorted().filter { graph.processes[$0].seen.contains(number) }
    }

    /// Processes that read the names in a directory.
    package func listers(of directory: String) -> [Int] {
        guard let number = numbers[directory] else { return [] }
        return graph.processes.indices.filter { graph.processes[$0].listed.contains(number) }
    }

    /// Files that a process or its children read, without those that they made themselves.
    package func files(readBy process: Int) -> Set<String> {
        let tree = graph.subtree(of: process)
        let own = Set(tree)
        let reads = Set(tree.flatMap { graph.processes[$0].reads })
        return Set(
            reads.filter { graph.versions[$0].makers.allSatisfy { !own.contains($0) } }
                .map { graph.paths[graph.versions[$0].path] })
    }

    /// Paths that a process wrote.
    package func products(of process: Int) -> [String] {
        graph.versions.filter { $0.makers.contains(process) }.map { graph.paths[$0.path] }
    }

    /// Whether one of the processes wrote the file, or what was renamed to it.
    package func isMade(_ path: String, by processes: Set<Int>) -> Bool {
        guard let number = numbers[path] else { return false }
        var open = graph.versions.indices.filter { graph.versions[$0].path == number }
        var seen = Set(open)
        while let version = open.popLast() {
            if graph.versions[version].makers.contains(where: processes.contains) { return true }
            open += graph.versions[version].origins.filter { seen.insert($0).inserted }
        }
        return false
    }

    /// Files that the build left and that a process wrote, or that others made of what it wrote or told them, where that is
    /// gone.
    package func remains(of process: Int) -> Set<String> {
        var found: Set<String> = []
        var open = versions(of: [process])
        var seen = Set(open)
        while let number = open.popLast() {
            guard graph.versions[number].digest == nil else {
                found.insert(graph.paths[graph.versions[number].path])
                continue
            }
            let users = graph.processes.indices.filter { graph.processes[$0].reads.contains(number) }
            let derived = graph.versions.indices.filter { graph.versions[$0].origins.contains(number) }
            open += (derived + versions(of: Set(users))).filter { seen.insert($0).inserted }
        }
        return found
    }

    /// What the processes, and those that they told something through a pipe, wrote.
    private func versions(of processes: Set<Int>) -> [Int] {
        var makers = processes
        var open = Array(processes)
        while let teller = open.popLast() {
            open += graph.processes.indices.filter {
                graph.processes[$0].fedBy.contains(teller) && makers.insert($0).inserted
            }
        }
        return graph.versions.indices.filter { !makers.isDisjoint(with: graph.versions[$0].makers) }
    }

    package func program(_ process: Int) -> String {
        var at: Int? = process
        while let number = at {
            if let run = graph.processes[number].runs.last { return baseName(run.program) }
            at = graph.processes[number].parent
        }
        return "the build"
    }
}

extension RecordedGraph {
    /// The versions, and those that they are part of.
    fileprivate func derived(from versions: [Int]) -> Set<Int> {
        var found = Set(versions)
        // Origins were made before.
        for number in self.versions.indices where self.versions[number].origins.contains(where: found.contains) {
            found.insert(number)
        }
        return found
    }

    package func subtree(of process: Int) -> [Int] {
        // Children come after their parents.
        var found: Set<Int> = [process]
        for number in processes.indices where number > process {
            if let parent = processes[number].parent, found.contains(parent) { found.insert(number) }
        }
        return found.sorted()
    }
}
