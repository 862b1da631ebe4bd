import ObjectFiles
import Toolchain

/// The libraries that the target needs, directly or not, as they are on the build machine: only asked for names that the
/// target does not import yet. `livepatch` looks such a name up in the same libraries of the process, at the same version.
package final class NeededLibraries {
    private struct Library {
        var name: String
        /// Where what needs it has its own libraries looked for.
        var searched: [String]
    }

    private struct Loaded {
        var name: String
        var exports: [String: Symbol]
    }

    /// Those not read yet, in the order in which ld.so loads them: breadth first.
    private var waiting: [Library]
    private var seen: Set<String>
    private var loaded: [Loaded] = []
    private let own: [String]

    package init(_ target: TargetImage) {
        let path = resolvedPath(target.file.path)
        own = Self.standard + ["/" + Self.directory(of: path)]
        let names = Self.names(in: target.file)
        let searched = Self.searched(by: target.file, at: path)
        waiting = names.map { Library(name: $0, searched: searched) }
        seen = Set(names)
    }

    /// The first needed library that defines `name`, with the version new references get.
    package func definition(of name: String) -> (library: String, version: String?)? {
        for library in loaded {
            if let symbol = library.exports[name] { return (library.name, symbol.version) }
        }
        while !waiting.isEmpty {
            guard let next = load(waiting.removeFirst()) else { continue }
            loaded.append(next)
            if let symbol = next.exports[name] { return (next.name, symbol.version) }
        }
        return nil
    }

    private func load(_ library: Library) -> Loaded? {
        for directory in library.searched + own {
            let path = directory + "/" + library.name
            guard let file = try? ObjectFile.read(path: path) else { continue }
            let searched = Self.searched(by: file, at: resolvedPath(path))
            for name in Self.names(in: file) where seen.insert(name).inserted {
                waiting.append(Library(name: name, searched: searched))
            }
            let defined = file.dynamicSymbols.filter { symbol in
                symbol.isDefined && !symbol.name.isEmpty && !symbol.versionHidden && symbol.binding != .local
            }
            let exports = Dictionary(defined.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
            return Loaded(name: library.name, exports: exports)
        }
        return nil
    }

    private static let standard = [
        "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
    ]

    private static func directory(of path: String) -> String {
        path.split(separator: "/").dropLast().joined(separator: "/")
    }

    /// `DT_RPATH` and `DT_RUNPATH` come first, as for ld.so.
    private static func searched(by file: ObjectFile, at path: String) -> [String] {
        entries(tagged: [15, 29], in: file).flatMap { $0.split(separator: ":").map(String.init) }
            .map { $0.replacing("$ORIGIN", with: "/" + directory(of: path)) }
    }

    /// Of `DT_NEEDED`, in order.
    package static func names(in file: ObjectFile) -> [String] { entries(tagged: [1], in: file) }

    /// `DT_SONAME`.
    package static func soname(of file: ObjectFile) -> String? { entries(tagged: [14], in: file).first }

    /// The strings of these tags in the dynamic section, in order.
    private static func entries(tagged tags: Set<UInt64>, in file: ObjectFile) -> [String] {
        guard let strings = file.section(named: ".dynstr") else { return [] }
        return file.dynamicEntries.filter { tags.contains($0.tag) }.compactMap { entry in
            let offset = Int(truncatingIfNeeded: entry.value)
            guard strings.data.indices.contains(offset) else { return nil }
            return String(decoding: strings.data[offset...].prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

extension ObjectFile {
    /// Tags and values of the dynamic section, in order.
    var dynamicEntries: [(tag: UInt64, value: UInt64)] {
        guard let data = section(named: ".dynamic")?.data else { return [] }
        return stride(from: 0, to: data.count / 16 * 16, by: 16).compactMap { at in
            guard let tag: UInt64 = word(data, at), let value: UInt64 = word(data, at + 8) else { return nil }
            return (tag, value)
        }
    }
}
