import Toolchain

/// Follows the processes of a build through its trace: who is whose child, in which directory each is, and where its standard
/// descriptors lead.
struct BuildObserver {
    private(set) var processes: [TracedProcess] = []
    private(set) var pipes: [TracedPipe] = []
    var history: FileHistory
    /// Processes that an earlier build of the tree ran.
    let earlier: Int
    /// Compilers that were started.
    private(set) var compilers = 0

    private let directory: String
    let system: SystemPaths
    private var finder = PathFinder()
    /// Of threads as well as of processes.
    private var numbers: [Int: Int] = [:]
    /// What happened in threads of which nobody is known to have started them yet.
    private var waiting: [Int: [TraceEvent]] = [:]
    private var pipeNumbers: [Int: Int] = [:]
    private var environment: [String: String]?

    /// - Parameters:
    ///   - directory: where the build command is run.
    ///   - searchPath: `PATH`.
    init(directory: String, searchPath: String = "", history: FileHistory = FileHistory(), earlier: Int = 0) {
        self.directory = directory
        self.history = history
        self.earlier = earlier
        system = SystemPaths(buildIn: directory, searchPath: searchPath)
    }

    /// The build command itself has ended.
    private(set) var hasEnded = false

    /// Threads that have not ended.
    var running: [Int] { Array(numbers.keys) }

    mutating func take(_ event: TraceEvent) {
        guard let process = numbers[event.thread] else {
            if processes.isEmpty {
                start(event.thread, of: nil)
                take(event)
            } else {
                waiting[event.thread, default: []].append(event)
            }
            return
        }
        switch event.kind {
        case .call(let call): take(call, by: process)
        case .ended(let status):
            numbers[event.thread] = nil
            end(process, status)
        case .superseded(let other):
            numbers[event.thread] = numbers[other] ?? process
            numbers[other] = nil
        }
    }

    /// What nobody is known to have started, because the trace is cut, counts as started by the build command.
    mutating func finish() {
        for thread in waiting.keys.sorted() where !processes.isEmpty { start(thread, of: 0) }
    }

    private mutating func start(_ thread: Int, of parent: Int?, sharesDirectory: Bool = false) {
        var process = TracedProcess(
            parent: parent.map { $0 + earlier }, directory: parent.map { processes[$0].directory } ?? directory)
        if let parent { process.streams = processes[parent].streams }
        let number = processes.count
        if sharesDirectory, let parent {
            let group = [parent] + processes[parent].sharesDirectoryWith
            process.sharesDirectoryWith = group
            for member in group { processes[member].sharesDirectoryWith.append(number) }
        }
        processes.append(process)
        become(thread, number)
    }

    private mutating func become(_ thread: Int, _ process: Int) {
        numbers[thread] = process
        for event in waiting.removeValue(forKey: thread) ?? [] { take(event) }
    }

    private mutating func end(_ process: Int, _ status: Int32) {
        // Of several threads the last one's end is the process's.
        guard !numbers.values.contains(process) else { return }
        processes[process].status = status
        if process == 0 { hasEnded = true }
        takeStreams(process)
    }

    private mutating func take(_ call: TraceCall, by process: Int) {
        switch call.name {
        case "clone", "clone3", "fork", "vfork": fork(call, by: process)
        case "execve", "execveat": exec(call, by: process)
        case "chdir", "fchdir": changeDirectory(call, by: process)
        case "dup", "dup2", "dup3": duplicate(call, by: process)
        case "pipe", "pipe2": makePipe(call, by: process)
        default: takeFile(call, by: process)
        }
    }
}

// MARK: processes

extension BuildObserver {
    private mutating func fork(_ call: TraceCall, by process: Int) {
        guard let child = call.result, child > 0 else { return }
        let flags = call.arguments.map(\.words).joined(separator: ",")
        if flags.contains("CLONE_THREAD") {
            become(child, process)
        } else {
            start(child, of: process, sharesDirectory: flags.contains("CLONE_FS"))
        }
    }

    private mutating func exec(_ call: TraceCall, by process: Int) {
        let isAt = call.name == "execveat"
        let words = isAt ? Array(call.arguments.dropFirst()) : call.arguments
        guard words.count >= 3, let name = named(call, at: 0, relative: isAt, by: process) else { return }
        guard call.isDone else {
            if call.error == "ENOENT" { miss(name.path, process) }
            return
        }
        let variables = environment(words[2])
        if environment == nil { environment = variables }
        let run = ProgramRun(
            program: name.path, arguments: texts(words[1]), directory: processes[process].directory,
            environment: difference(variables))
        processes[process].runs.append(run)
        if baseName(name.path).hasPrefix("cc1") { compilers += 1 }
        if !isOfKernel(name.path) { read(name.path, asked: name.asked, process) }
        processes[process].hasTakenStreams = false
        takeStreams(process)
    }

    /// In what the variables differ from those of the build command.
    private func difference(_ variables: [String: String]) -> [String: String?] {
        // What every program sets for itself, and says nothing.
        let noise: Set<String> = ["_", "SHLVL", "OLDPWD", "PWD", "MAKE_TERMOUT", "MAKE_TERMERR", "COLUMNS", "LINES"]
        let base = environment ?? [:]
        var difference: [String: String?] = [:]
        for (name, value) in variables where base[name] != value && !noise.contains(name) { difference[name] = value }
        for name in base.keys where variables[name] == nil && !noise.contains(name) {
            difference[name] = .some(nil)
        }
        return difference
    }

    private func environment(_ argument: TraceArgument) -> [String: String] {
        let pairs = texts(argument).compactMap { text -> (String, String)? in
            guard let equals = text.firstIndex(of: "=") else { return nil }
            return (String(text[..<equals]), String(text[text.index(after: equals)...]))
        }
        return Dictionary(pairs) { first, _ in first }
    }

    private func texts(_ argument: TraceArgument) -> [String] {
        guard case .list(let elements) = argument else { return [] }
        return elements.map { if case .text(let text) = $0 { text } else { "" } }
    }

    private mutating func changeDirectory(_ call: TraceCall, by process: Int) {
        guard call.isDone, let first = call.argument(0) else { return }
        switch first {
        case .text(let name):
            setDirectory(finder.resolved(absolute(name, in: processes[process].directory)), process)
        case .descriptor(_, let file?): setDirectory(file.path, process)
        default: break
        }
    }

    private mutating func setDirectory(_ path: String, _ process: Int) {
        for member in [process] + processes[process].sharesDirectoryWith { processes[member].directory = path }
    }

    private func absolute(_ name: String, in directory: String) -> String {
        name.hasPrefix("/") ? name : directory + "/" + name
    }
}

// MARK: descriptors

extension BuildObserver {
    private mutating func duplicate(_ call: TraceCall, by process: Int) {
        guard let target = call.result, (0...2).contains(target), let file = call.file else { return }
        if let pipe = file.pipe {
            let number = pipeNumber(pipe)
            processes[process].streams[target] = .pipe(number)
            join(number, process, reads: target == 0)
        } else {
            processes[process].streams[target] = file.path.hasPrefix("/") ? .file(file.path) : nil
        }
    }

    private mutating func makePipe(_ call: TraceCall, by process: Int) {
        guard case .list(let ends) = call.argument(0), case .descriptor(_, let file?) = ends.first, let pipe = file.pipe
        else { return }
        pipes.append(TracedPipe(maker: process))
        pipeNumbers[pipe] = pipes.count - 1
    }

    private mutating func pipeNumber(_ pipe: Int) -> Int {
        if let number = pipeNumbers[pipe] { return number }
        pipes.append(TracedPipe())
        pipeNumbers[pipe] = pipes.count - 1
        return pipes.count - 1
    }

    private mutating func join(_ pipe: Int, _ process: Int, reads: Bool) {
        if reads { pipes[pipe].readers.insert(process) } else { pipes[pipe].writers.insert(process) }
    }

    /// A program may use what its parent has opened for it (`{ one; two; } > file`).
    private mutating func takeStreams(_ process: Int) {
        guard !processes[process].hasTakenStreams else { return }
        processes[process].hasTakenStreams = true
        for (descriptor, stream) in processes[process].streams.sorted(by: { $0.key < $1.key }) {
            switch stream {
            case .pipe(let pipe): join(pipe, process, reads: descriptor == 0)
            case .file(let path) where isOfKernel(path): continue
            case .file(let path) where descriptor == 0: read(path, asked: path, process)
            case .file(let path): history.share(path, with: process + earlier, of: ancestors(of: process))
            }
        }
    }

    /// As the history numbers them; the process itself is among them.
    private func ancestors(of process: Int) -> Set<Int> {
        var found: Set<Int> = [process + earlier]
        var at = processes[process].parent
        while let number = at, found.insert(number).inserted, number >= earlier {
            at = processes[number - earlier].parent
        }
        return found
    }
}

// MARK: files

extension BuildObserver {
    private mutating func takeFile(_ call: TraceCall, by process: Int) {
        switch call.name {
        case "open", "openat", "openat2", "creat": open(call, by: process)
        case "rename", "renameat", "renameat2", "link", "linkat": move(call, by: process)
        case "symlink", "symlinkat":
            let place = call.name == "symlink" ? 1 : 2
            guard call.isDone,
                let path = named(call, at: place, relative: place == 2, isSecond: true, by: process)?.path
            else { return }
            history.makeLink(path, by: process + earlier)
        case "unlink", "unlinkat":
            guard call.isDone, let path = named(call, at: 0, relative: call.name == "unlinkat", by: process)?.path,
                !call.arguments.contains(where: { $0.words.contains("AT_REMOVEDIR") })
            else { return }
            history.remove(path)
        case "truncate":
            guard call.isDone, let path = named(call, at: 0, relative: false, by: process)?.path else { return }
            history.write(path, by: process + earlier, keepsContent: true)
        case "getdents", "getdents64":
            guard case .descriptor(_, let file?) = call.argument(0), !isOfKernel(file.path) else { return }
            processes[process].listed.insert(history.number(of: file.path))
        default: look(call, by: process)
        }
    }

    private mutating func open(_ call: TraceCall, by process: Int) {
        let isAt = call.name.hasPrefix("openat")
        guard let asked = named(call, at: 0, relative: isAt, by: process) else { return }
        guard call.isDone else {
            if call.error == "ENOENT" { miss(asked.path, process) }
            return
        }
        let file = call.file ?? TracedFile(path: asked.path)
        guard !file.isDeleted else { return }
        let flags = call.argument(isAt ? 2 : 1)?.words ?? ""
        let writes = call.name == "creat" || flags.contains("O_WRONLY") || flags.contains("O_RDWR")
        if let pipe = file.pipe { return join(pipeNumber(pipe), process, reads: !writes) }
        guard file.path.hasPrefix("/"), !isOfKernel(file.path) else { return }
        if flags.contains("O_DIRECTORY") || flags.contains("O_PATH") { return see(file.path, process) }
        guard writes else { return read(file.path, asked: asked.asked, process) }
        let isNew = call.name == "creat" || flags.contains("O_TRUNC") || flags.contains("O_EXCL")
        // Who appends does not know what is there: a configure script's log has part in nothing.
        if !isNew, flags.contains("O_RDWR"), !history.isGone(file.path) { read(file.path, asked: asked.asked, process) }
        history.write(file.path, by: process + earlier, keepsContent: !isNew)
    }

    private mutating func move(_ call: TraceCall, by process: Int) {
        let isAt = call.name.contains("at")
        guard call.isDone, let path = named(call, at: 0, relative: isAt, by: process)?.path,
            let target = named(call, at: isAt ? 2 : 1, relative: isAt, isSecond: true, by: process)?.path
        else { return }
        let number = process + earlier
        if call.name.hasPrefix("link") {
            // A file without a name, or one named by its descriptor, is the process's own.
            if isOfKernel(path) {
                history.write(target, by: number, keepsContent: false)
            } else {
                processes[process].reads.insert(history.derive(target, from: path, by: number))
            }
        } else if call.arguments.contains(where: { $0.words.contains("RENAME_EXCHANGE") }) {
            processes[process].reads.formUnion(history.exchange(path, target, by: number))
        } else {
            processes[process].reads.formUnion(history.rename(path, to: target, by: number))
        }
    }

    /// A call that asks for a file's state, or whether there is one.
    private mutating func look(_ call: TraceCall, by process: Int) {
        let isAt = call.argument(0).map { if case .text = $0 { false } else { true } } ?? false
        guard call.name != "getcwd", let name = named(call, at: 0, relative: isAt, by: process), !isOfKernel(name.path)
        else { return }
        if call.isDone {
            see(name.path, process)
            if name.asked != name.path { processes[process].reads.formUnion(history.linksOn(name.asked, system)) }
        } else if call.error == "ENOENT" {
            miss(name.path, process)
        }
    }

    private mutating func read(_ path: String, asked: String, _ process: Int) {
        if !history.knows(path), isDirectory(path) { return see(path, process) }
        let version = history.version(at: path)
        if !history.versions[version].makers.elementsEqual([process + earlier]) {
            processes[process].reads.insert(version)
        }
        if asked != path { processes[process].reads.formUnion(history.linksOn(asked, system)) }
    }

    /// What a call names: the file, and how it was asked for, which may be by way of links.
    private struct NamedPath {
        /// Absolute, symbolic links of its directories resolved.
        var path: String
        /// Absolute.
        var asked: String
    }

    private mutating func miss(_ path: String, _ process: Int) {
        guard !system.contain(path), !isOfKernel(path) else { return }
        processes[process].missed.insert(history.number(of: path))
    }

    private mutating func see(_ path: String, _ process: Int) {
        guard !system.contain(path) else { return }
        processes[process].seen.insert(history.number(of: path))
        processes[process].reads.formUnion(history.linksOn(path, system))
    }

    /// The absolute path that a call names.
    /// - Parameters:
    ///   - place: of the name, or with `relative`, of the directory's descriptor before it.
    ///   - isSecond: the call names two files.
    /// - Returns: nil for a descriptor without a name, and where the trace does not tell.
    private mutating func named(
        _ call: TraceCall, at place: Int, relative: Bool, isSecond: Bool = false, by process: Int
    ) -> NamedPath? {
        let directoryPlace = isSecond && relative && call.name == "symlinkat" ? 1 : place
        guard case .text(let name) = call.argument(relative ? directoryPlace + 1 : place) else { return nil }
        var directory = processes[process].directory
        if relative {
            switch call.argument(directoryPlace) {
            case .currentDirectory(let path?):
                directory = path
                if processes[process].directory != path { setDirectory(path, process) }
            case .descriptor(_, let file?):
                // `linkat` of a file without a name.
                if name.isEmpty { return file.isDeleted ? NamedPath(path: "/proc/" + file.path, asked: "") : nil }
                directory = file.path
            default: break
            }
        }
        return name.isEmpty
            ? nil : NamedPath(path: finder.path(name, in: directory), asked: absolute(name, in: directory))
    }
}
