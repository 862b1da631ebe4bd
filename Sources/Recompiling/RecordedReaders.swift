import BuildGraph
import Diagnostics
import FoundationEssentials
import SourceChanges
import Toolchain

/// What a touched file reaches in a recorded build.
struct FileReach {
    /// Indices of units whose command read it.
    var units: Set<Int> = []
    /// Other commands, by what they have to do with the linked files.
    var makers: [Maker] = []
    var deciders: [String] = []
    /// A shell may have asked them something, and decided by the answer.
    var asked: [(process: Int, program: String)] = []
    /// Commands that decide about others and have looked at the file without reading it.
    var onlookers: [String] = []
    /// A unit read it that the compile commands leave out, though the graph has it.
    var isOfOtherUnit = false
    /// A link read it, as a list of what is exported.
    var isExportList = false

    /// A command that made something of the file, which is a part of a linked one.
    struct Maker {
        var process: Int
        var program: String
        var product: String
        /// It has not read the file, but is a program that the build made of it.
        var isMadeOfFile = false

        func relative(to root: String) -> Maker {
            var maker = self
            maker.product = relativePath(product, to: root)
            return maker
        }

        /// What it did, as a sentence about the file.
        var words: String {
            isMadeOfFile
                ? "\(program), which the build makes of it, makes \(product)"
                : "\(program) has read it to make \(product)"
        }
    }
}

/// What the build did, if it was recorded.
enum BuildRecord {
    case whole(RecordedReaders)
    /// Why it does not tell all, to follow "and".
    case missing(String)

    /// - Throws: `Refusal` bad-input where the graph's file is damaged.
    init(database: CompileDatabase, root: String) throws {
        do { self = .whole(try RecordedReaders(database: database, root: root)) } catch let missing as MissingRecord {
            self = .missing(missing.why)
        }
    }
}

private struct MissingRecord: Error { var why: String }

private let compilingPrograms: Set<String> = [
    "cc", "c++", "gcc", "g++", "clang", "clang++", "cc1", "cc1plus", "as", "collect2", "ld", "ld.bfd", "ld.gold",
    "ld.lld",
]

/// The build graph beside the compile commands, where it tells all: it is of these commands and this tree, and nothing
/// that was linked comes from elsewhere.
struct RecordedReaders {
    private let readers: GraphReaders
    /// A compiler's cache may know what a file includes without reading it.
    let usesCache: Bool
    /// Compiling processes, by the place of their unit; and the places that each process compiles or is part of compiling.
    private let processes: [String: Int]
    private let placesOf: [Int: Set<String>]
    /// By the place of a unit: the linked files that have it.
    private let holders: [String: Set<LinkedFile>]

    /// - Throws: `MissingRecord` where there is no such graph; `Refusal` bad-input where the graph's file is damaged.
    fileprivate init(database: CompileDatabase, root: String) throws {
        let path = graphPath(besides: database.path)
        guard let graph = try RecordedGraph.read(path), let recorded = modificationTime(path) else {
            throw MissingRecord(why: "no record tells what the build made of its files")
        }
        var processes: [String: Int] = [:]
        var known: [String: CompileUnit] = [:]
        // A place may have been compiled again, after the first object was linked, or put into an archive that grew since.
        var compiled: [Int: Set<String>] = [:]
        let compilations = graph.compilations(isSource: { Language(file: $0, arguments: $1) != nil })
        usesCache = compilations.contains { isOfCache($0.arguments) }
        for compilation in compilations {
            for unit in CompileDatabase.units(of: compilation) {
                processes[unit.place] = compilation.process
                compiled[compilation.process, default: []].insert(unit.place)
                known[unit.place] = unit
            }
        }
        guard !database.units.isEmpty, database.units.allSatisfy({ known[$0.place] == $0 }) else {
            throw MissingRecord(why: "the record beside the compile commands is not theirs")
        }
        readers = GraphReaders(graph)
        if let path = readers.unexplained.first {
            throw MissingRecord(why: "the record does not tell how \(path) was made, which is linked")
        }
        // What has changed since then may read other files. (What is gone was the build's own, or compiles no more.)
        let edited = readers.sources(below: root).sorted().first {
            modificationTime($0).map { $0 >= recorded } ?? false
        }
        if let edited { throw MissingRecord(why: "\(edited) has changed since the build was recorded") }
        self.processes = processes
        placesOf = RecordedReaders.spread(compiled, in: graph)
        holders = RecordedReaders.holders(placesOf, in: graph)
    }

    /// One object may be in another program, and an equal one in this (trap archive-twin).
    private static func holders(_ places: [Int: Set<String>], in graph: RecordedGraph) -> [String: Set<LinkedFile>] {
        var holders: [String: Set<LinkedFile>] = [:]
        for (number, version) in graph.versions.enumerated() where version.kind == .linked {
            guard let digest = version.digest else { continue }
            let file = LinkedFile(path: graph.paths[version.path], digest: digest)
            for process in graph.behind([number]).processes {
                for place in places[process, default: []] { holders[place, default: []].insert(file) }
            }
        }
        return holders
    }

    /// The linked files that have the unit; nil for one that the record does not know.
    func files(holding unit: CompileUnit) -> Set<LinkedFile>? {
        processes[unit.place].map { _ in holders[unit.place, default: []] }
    }

    /// One command may compile several sources, and all of its reads count for each of them.
    private static func spread(_ places: [Int: Set<String>], in graph: RecordedGraph) -> [Int: Set<String>] {
        var places = places
        // Children come after their parents.
        for (number, process) in graph.processes.enumerated() where places[number] == nil {
            if let parent = process.parent { places[number] = places[parent] }
        }
        return places
    }

    /// The programs and libraries that the build left.
    var linkedFiles: Set<LinkedFile> {
        Set(
            readers.graph.versions.filter { $0.kind == .linked }.compactMap { version in
                version.digest.map { LinkedFile(path: readers.graph.paths[version.path], digest: $0) }
            })
    }

    /// All that the unit's command read.
    func files(readBy unit: CompileUnit) -> Set<String>? {
        processes[unit.place].map { readers.files(readBy: $0) }
    }

    func reach(of file: ChangedFile, in change: SourceChange, _ units: [CompileUnit]) -> FileReach {
        let path = change.path(of: file)
        var reach = FileReach()
        add(readers.readers(of: path, isAdded: file.original == nil), path, units, to: &reach)
        let kind = FileClass(path: file.path)
        let isListed = ![.header, .source].contains(kind) && (file.original == nil || file.new == nil)
        if isListed, let slash = path.lastIndex(of: "/") {
            // A pattern may take the file in (`$(wildcard …)`).
            add(readers.listers(of: String(path[..<slash])), path, units, to: &reach)
        }
        // Make has looked at its time, and might run a command for it that it had no need to run.
        if (reach.units.isEmpty && !reach.isOfOtherUnit) || kind == .other {
            reach.onlookers += readers.onlookers(of: path).map { readers.program($0) }
        }
        return reach
    }

    private func add(_ processes: [Int], _ path: String, _ units: [CompileUnit], to reach: inout FileReach) {
        for process in processes {
            if let places = placesOf[process] {
                let compiled = units.indices.filter { places.contains(units[$0].place) }
                reach.units.formUnion(compiled)
                if compiled.isEmpty { reach.isOfOtherUnit = true }
                for runner in readers.runners(ofWhatIsMadeBy: process)
                where !reach.makers.contains(where: { $0.process == runner }) {
                    reach.makers.append(maker(runner, isMadeOfFile: true))
                }
                continue
            }
            switch readers.role(of: process) {
            case .outsider: continue
            case .asked: reach.asked.append((process, readers.program(process)))
            case .leader, .teller: reach.deciders.append(readers.program(process))
            case .link where isExportList(path, of: process): reach.isExportList = true
            case .link, .part: addMaker(process, units, to: &reach)
            }
        }
    }

    /// A precompiled header stands for the header itself, which is read in its place.
    private func addMaker(_ process: Int, _ units: [CompileUnit], to reach: inout FileReach) {
        let products = readers.products(of: process)
        let precompiled = products.filter { $0.hasSuffix(".gch") || $0.hasSuffix(".pch") || $0.contains(".gch/") }
        if !precompiled.isEmpty {
            for product in precompiled { add(readers.readers(of: product), product, units, to: &reach) }
        } else {
            reach.makers.append(maker(process))
        }
    }

    private func maker(_ process: Int, isMadeOfFile: Bool = false) -> FileReach.Maker {
        let product = readers.products(of: process).first ?? readers.remains(of: process).min()
        return FileReach.Maker(
            process: process, program: readers.program(process), product: product ?? "a part of a linked file",
            isMadeOfFile: isMadeOfFile)
    }

    /// The last program that a process ran, and all that the process wrote; nil where it ran none, or wrote nothing.
    func command(of process: Int) -> (run: ProgramRun, products: [String])? {
        let products = readers.products(of: process)
        guard let run = readers.graph.processes[process].runs.last, !products.isEmpty else { return nil }
        return (run, products)
    }

    /// The program by which a process read files and ended well, where it can be asked again, and its shell may have heard
    /// no more of it than that: nobody who decides, or is asked, has read what it wrote.
    /// - Parameter root: of the tree.
    func question(to process: Int, below root: String) -> ProgramRun? {
        let recorded = readers.graph.processes[process]
        guard recorded.status == 0, recorded.runs.count == 1, recorded.fedBy.isEmpty, let run = recorded.runs.first,
            !readers.isPassedOn(process)
        else { return nil }
        // What it has by a redirection, it would not have again.
        let named = run.arguments.dropFirst().filter { !["", ".", ".."].contains($0) }.map {
            normalized($0, in: run.directory)
        }
        let read = recorded.reads.map { readers.graph.paths[readers.graph.versions[$0].path] }
        let isWhole = read.filter { $0.hasPrefix(root + "/") && $0 != run.program }.allSatisfy { path in
            named.contains { (path + "/").hasPrefix($0 + "/") }
        }
        return isWhole ? run : nil
    }

    /// What is left of all that a process wrote.
    func remains(of process: Int) -> Set<String> { readers.remains(of: process) }

    /// A compiler has written it beside an object: what the unit reads, say, which says nothing of how it is compiled.
    func isOfCompiler(_ path: String) -> Bool { readers.isMade(path, by: Set(placesOf.keys)) }

    /// Whether all that those have read who decide about commands, or may have told one who does, is the same in a second tree.
    func decidesAlike(in newRoot: String, as root: String) -> Bool {
        filesOfDeciders.filter { $0.hasPrefix(root + "/") && !isOfCompiler($0) }.allSatisfy { path in
            func text(_ path: String) -> String? {
                FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
            }
            let new = text(newRoot + path.dropFirst(root.count))
            return text(path) == new.map { replacingPath(newRoot, by: root, in: $0) }
        }
    }

    /// What those have read who decide about commands, or may have told one who does.
    var filesOfDeciders: Set<String> { readers.filesOfDeciders }

    /// Who decides about commands, or told one who does, and has read the file.
    func decider(by path: String) -> String? {
        readers.readers(of: path).first { process in
            switch readers.role(of: process) {
            case .leader, .teller: true
            // The build has gone on behind it: all that compilers and linkers are asked of a build's own files is to end well.
            case .asked: !compilingPrograms.contains(readers.program(process))
            default: false
            }
        }.map { readers.program($0) }
    }

    /// Both ran the same command with the same products, but for the sources that there were.
    func isRepeated(_ process: Int, by later: Int) -> Bool {
        guard let (run, products) = command(of: process), let (again, made) = command(of: later),
            run.program == again.program, run.directory == again.directory, Set(products).isSubset(of: made)
        else { return false }
        return Set(run.arguments).symmetricDifference(again.arguments).allSatisfy { word in
            !word.hasPrefix("-") && Language(file: word, arguments: []) != nil
        }
    }

    private func isExportList(_ path: String, of link: Int) -> Bool {
        let arguments = readers.graph.processes[link].runs.last?.arguments ?? []
        return arguments.enumerated().contains { number, word in
            guard word.hasSuffix(baseName(path)) else { return false }
            let option = word.hasPrefix("-") ? word : number > 0 ? arguments[number - 1] : ""
            return ["version-script", "retain-symbols-file"].contains { option.contains($0) }
        }
    }
}
