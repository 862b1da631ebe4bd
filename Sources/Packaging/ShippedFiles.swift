import BuildGraph
import Diagnostics
import ObjectFiles
import Recompiling
import SourceChanges
import Toolchain

/// A program or library of a binary package, as the build here made it.
struct ShippedFile: Sendable {
    var package: String
    /// Relative to the root of the file system: `usr/bin/redis-server`.
    var path: String
    /// The file with symbols that it was made from; nil where the build left none.
    var symbols: String?
    /// Numbers of the files, in the graph, that the link and all behind it have read, or looked for in vain.
    fileprivate var sources: Set<Int>
}

/// What a recorded package ships, and what lies behind it.
struct ShippedFiles: Sendable {
    let graph: RecordedGraph
    let files: [ShippedFile]
    /// Programs and libraries of the binary packages that the build did not link.
    let unknown: [String]
    private let numbers: [String: Int]

    /// - Throws: `Refusal` bad-input where the graph is damaged, `Failure` where there is none.
    init(_ package: RecordedPackage) throws {
        guard let graph = try RecordedGraph.read(graphPath(besides: package.database)) else {
            throw Failure("\(package.database) has no graph beside it; remove its directory")
        }
        self.graph = graph
        numbers = Dictionary(graph.paths.enumerated().map { ($1, $0) }) { first, _ in first }
        let links = LinkedFiles(graph)
        var files: [ShippedFile] = []
        var unknown: [String] = []
        for name in names(in: package.packages) {
            let root = package.packages + "/" + name
            for path in try SourceChanges.files(below: root).sorted()
            where linkKind(ofFile: root + "/" + path) == .linked {
                guard let link = links.origin(of: root + "/" + path) else {
                    unknown.append(path)
                    continue
                }
                let behind = graph.behind([link.version])
                let read = behind.versions.map { graph.versions[$0].path }
                let missed = behind.processes.flatMap { graph.processes[$0].missed }
                files.append(
                    ShippedFile(
                        package: name, path: path, symbols: link.hasSymbols ? link.path : nil,
                        sources: Set(read + missed)))
            }
        }
        self.files = files
        self.unknown = unknown
    }

    /// The files that were made of one of these (absolute paths).
    func reached(by paths: [String]) -> [ShippedFile] {
        let touched = Set(paths.compactMap { numbers[$0] })
        return files.filter { !$0.sources.isDisjoint(with: touched) }
    }

    /// The graph in which these files alone are linked: what only tests and other programs of the tree read has no say.
    var graphOfShipped: RecordedGraph {
        let paths = Set(files.compactMap(\.symbols))
        var part = graph
        for (number, version) in graph.versions.enumerated() where version.kind == .linked {
            if !paths.contains(graph.paths[version.path]) { part.versions[number].kind = nil }
        }
        return part
    }
}

/// A file that the build linked.
private struct Link {
    var version: Int
    var path: String
    var buildID: String?
    var hasSymbols: Bool
}

/// The files that the build linked, by their build-id.
private struct LinkedFiles {
    private let links: [Link]

    init(_ graph: RecordedGraph) {
        links = graph.versions.indices.compactMap { number in
            let version = graph.versions[number]
            guard version.kind == .linked, version.digest != nil,
                let file = try? ObjectFile.read(path: graph.paths[version.path])
            else { return nil }
            return Link(
                version: number, path: graph.paths[version.path], buildID: file.buildID,
                hasSymbols: !file.symbols.isEmpty)
        }
    }

    /// The link that a file of a package was copied from: with symbols if there is one. Else, where the link was repeated when
    /// it was installed (libtool), one of the same name.
    func origin(of path: String) -> Link? {
        guard let file = try? ObjectFile.read(path: path) else { return nil }
        let same = links.filter { $0.buildID != nil && $0.buildID == file.buildID }
        let alike = links.filter { $0.hasSymbols && baseName($0.path) == baseName(path) }
        // What was linked first has no copying command behind it.
        return first(same.filter(\.hasSymbols)) ?? first(alike) ?? first(same)
    }

    private func first(_ some: [Link]) -> Link? { some.min { $0.version < $1.version } }
}
