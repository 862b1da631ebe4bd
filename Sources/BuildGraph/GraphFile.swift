import Diagnostics
import FoundationEssentials
import JSONCoding
import Toolchain

/// The file that a graph is written in: JSON (Documentation/formats.md), in which every text stands once, and is referred to
/// by its number.
struct GraphFile: Codable {
    static let format = "patchbuild build graph"
    static let version = 1

    struct Run: Codable {
        /// Number of the program's path.
        var program: Int
        /// Numbers of the words.
        var arguments: String
        var directory: Int
        /// Number of an environment.
        var environment: Int?
    }

    struct Process: Codable {
        var parent: Int?
        var runs: [Run]?
        var reads: String?
        var missed: String?
        var seen: String?
        var listed: String?
        var fedBy: String?
        var status: Int32?
    }

    struct Version: Codable {
        var path: Int
        var makers: String?
        var origins: String?
        var digest: String?
        var kind: LinkKind?
    }

    struct Environment: Codable {
        /// Numbers of `NAME=VALUE`.
        var set: String?
        /// Numbers of names.
        var unset: String?
    }

    var format = GraphFile.format
    var version = GraphFile.version
    var directory: Int
    var command: String
    var texts: [String]
    var environments: [Environment]
    var processes: [Process]
    var files: [Version]
}

/// Where the graph of a build is whose compile commands are in `database`.
package func graphPath(besides database: String) -> String {
    let name = baseName(database)
    let directory = database.dropLast(name.utf8.count)
    if name == "compile_commands.json" { return directory + "build.graph" }
    return directory + (name.hasSuffix(".json") ? String(name.dropLast(5)) : name) + ".graph"
}

extension RecordedGraph {
    package func write(to path: String) throws {
        var writer = GraphWriter(self)
        let bytes: [UInt8]
        do { bytes = try encodeJSON(writer.file()) } catch { throw Failure("can't write \(path): \(error)") }
        try writeWhole(bytes, to: path)
    }

    /// - Returns: nil where there is no such file.
    /// - Throws: `Refusal` bad-input where it is not what `patchbuild record` writes.
    package static func read(_ path: String) throws -> RecordedGraph? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        do { return try RecordedGraph(bytes: [UInt8](data)) } catch {
            throw Refusal(
                .badInput, subject: path, why: "it is no build graph: \(plain(error))",
                remedy: "record the build again, or remove the file to work with the compile commands alone")
        }
    }

    /// - Parameter bytes: what a file of a graph holds.
    init(bytes: [UInt8]) throws { self = try decodeJSON(GraphFile.self, from: bytes).graph() }
}

private func plain(_ error: any Error) -> String {
    switch error {
    case let error as GraphError: error.why
    case let error as JSONSyntaxError: "\(error)"
    case DecodingError.keyNotFound(let key, _): "the member \(key.stringValue) is missing"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
        DecodingError.dataCorrupted(let context):
        "at \(context.codingPath.map(\.stringValue).joined(separator: ".")): \(context.debugDescription)"
    default: "\(error)"
    }
}

struct GraphError: Error, Hashable { var why: String }

// MARK: writing

private struct GraphWriter {
    private let graph: RecordedGraph
    private var texts: [String]
    private var numbers: [String: Int]
    private var environments: [[String: String?]: Int] = [:]
    private var environmentList: [GraphFile.Environment] = []

    init(_ graph: RecordedGraph) {
        self.graph = graph
        // Paths keep their numbers.
        texts = graph.paths
        numbers = Dictionary(texts.enumerated().map { ($1, $0) }) { first, _ in first }
    }

    mutating func file() -> GraphFile {
        let directory = number(graph.directory)
        let command = words(graph.command)
        let processes = graph.processes.map { written($0) }
        let files = graph.versions.map { version in
            GraphFile.Version(
                path: version.path, makers: list(version.makers), origins: list(version.origins),
                digest: version.digest,
                kind: version.kind)
        }
        return GraphFile(
            directory: directory, command: command, texts: texts, environments: environmentList, processes: processes,
            files: files)
    }

    private mutating func written(_ process: BuildProcess) -> GraphFile.Process {
        let runs = process.runs.map { run in
            GraphFile.Run(
                program: number(run.program), arguments: words(run.arguments), directory: number(run.directory),
                environment: run.environment.isEmpty ? nil : environment(run.environment))
        }
        return GraphFile.Process(
            parent: process.parent, runs: runs.isEmpty ? nil : runs, reads: list(process.reads),
            missed: list(process.missed), seen: list(process.seen), listed: list(process.listed),
            fedBy: list(process.fedBy), status: process.status == 0 ? nil : process.status)
    }

    private mutating func environment(_ variables: [String: String?]) -> Int {
        if let known = environments[variables] { return known }
        let sorted = variables.sorted { $0.key < $1.key }
        let set = sorted.compactMap { name, value in value.map { number("\(name)=\($0)") } }
        let unset = sorted.filter { $0.value == nil }.map { number($0.key) }
        environmentList.append(GraphFile.Environment(set: list(set), unset: list(unset)))
        environments[variables] = environmentList.count - 1
        return environmentList.count - 1
    }

    private mutating func words(_ words: [String]) -> String { NumberList.text(words.map { number($0) }) }

    private mutating func number(_ text: String) -> Int {
        if let number = numbers[text] { return number }
        numbers[text] = texts.count
        texts.append(text)
        return texts.count - 1
    }

    private func list(_ numbers: [Int]) -> String? { numbers.isEmpty ? nil : NumberList.text(numbers) }
}

// MARK: reading

extension GraphFile {
    /// - Throws: `GraphError` where a number leads nowhere, or the graph has a circle.
    fileprivate func graph() throws -> RecordedGraph {
        guard format == Self.format else { throw GraphError(why: "its format is called \(format)") }
        guard version == Self.version else {
            throw GraphError(why: "its version is \(version), and not \(Self.version)")
        }
        let environments = try self.environments.map { environment in
            var variables: [String: String?] = [:]
            for number in try list(environment.set, below: texts.count) {
                let pair = texts[number]
                guard let equals = pair.firstIndex(of: "=") else { throw GraphError(why: "a variable without a value") }
                variables[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
            }
            for number in try list(environment.unset, below: texts.count) { variables[texts[number]] = .some(nil) }
            return variables
        }
        return RecordedGraph(
            directory: try text(directory), command: try words(command), paths: texts,
            processes: try processes.enumerated().map { try read($1, number: $0, environments) },
            versions: try files.enumerated().map { try read($1, number: $0) })
    }

    private func read(_ process: Process, number: Int, _ environments: [[String: String?]]) throws -> BuildProcess {
        if let parent = process.parent {
            guard (0..<number).contains(parent) else { throw GraphError(why: "a process before its parent") }
        }
        var result = BuildProcess(parent: process.parent)
        result.runs = try (process.runs ?? []).map { run in
            if let place = run.environment, !environments.indices.contains(place) {
                throw GraphError(why: "an environment that is not there")
            }
            return ProgramRun(
                program: try text(run.program), arguments: try words(run.arguments), directory: try text(run.directory),
                environment: run.environment.map { environments[$0] } ?? [:])
        }
        result.reads = try list(process.reads, below: files.count)
        result.missed = try list(process.missed, below: texts.count)
        result.seen = try list(process.seen, below: texts.count)
        result.listed = try list(process.listed, below: texts.count)
        result.fedBy = try list(process.fedBy, below: processes.count)
        result.status = process.status ?? 0
        return result
    }

    private func read(_ version: Version, number: Int) throws -> FileVersion {
        _ = try text(version.path)
        var result = FileVersion(path: version.path)
        result.makers = try list(version.makers, below: processes.count)
        result.origins = try list(version.origins, below: files.count)
        if let digest = version.digest {
            guard digest.utf8.count == 64, digest.allSatisfy(\.isHexDigit) else {
                throw GraphError(why: "a digest that is none")
            }
            result.digest = digest
        }
        result.kind = version.kind
        return result
    }

    private func text(_ number: Int) throws -> String {
        guard texts.indices.contains(number) else { throw GraphError(why: "a text that is not there") }
        return texts[number]
    }

    private func words(_ list: String) throws -> [String] {
        try self.list(list, below: texts.count).map { texts[$0] }
    }

    private func list(_ text: String?, below limit: Int) throws -> [Int] {
        guard let text else { return [] }
        guard let numbers = NumberList.numbers(text, below: limit) else {
            throw GraphError(why: "a list of numbers that is none, or leads out of the file: \(text.prefix(40))")
        }
        return numbers
    }
}
