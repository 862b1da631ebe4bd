import ObjectFiles
import Toolchain

/// The libraries that the target needs, as they are on the build machine: only asked for names that the target does not
/// import yet.
final class NeededLibraries {
    private let names: [String]
    private let directories: [String]
    private var exports: [String: [String: Symbol]]?

    init(_ target: TargetImage) {
        names = Self.entries(tagged: [1], in: target.file)
        let own = resolvedPath(target.file.path).split(separator: "/").dropLast().joined(separator: "/")
        // DT_RPATH and DT_RUNPATH come first, as for ld.so.
        let paths = Self.entries(tagged: [15, 29], in: target.file).flatMap {
            $0.split(separator: ":").map(String.init)
        }
        let standard = [
            "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
        ]
        directories = paths.map { $0.replacing("$ORIGIN", with: "/" + own) } + standard + ["/" + own]
    }

    /// The first needed library that defines `name`, with the version new references get.
    func definition(of name: String) -> (library: String, version: String?)? {
        let exports = exports ?? load()
        self.exports = exports
        for library in names {
            if let symbol = exports[library]?[name] { return (library, symbol.version) }
        }
        return nil
    }

    private func load() -> [String: [String: Symbol]] {
        var result: [String: [String: Symbol]] = [:]
        for name in names {
            for directory in directories {
                guard let file = try? ObjectFile.read(path: directory + "/" + name) else { continue }
                let defined = file.dynamicSymbols.filter { $0.isDefined && !$0.name.isEmpty && !$0.versionHidden }
                result[name] = Dictionary(defined.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
                break
            }
        }
        return result
    }

    /// The strings of these tags (`DT_NEEDED` is 1) in the dynamic section, in order.
    private static func entries(tagged tags: Set<UInt64>, in file: ObjectFile) -> [String] {
        guard let dynamic = file.section(named: ".dynamic"), let strings = file.section(named: ".dynstr") else {
            return []
        }
        var names: [String] = []
        for entry in stride(from: 0, to: dynamic.data.count / 16 * 16, by: 16) {
            guard tags.contains(little64(dynamic.data, entry)) else { continue }
            let offset = Int(truncatingIfNeeded: little64(dynamic.data, entry + 8))
            guard strings.data.indices.contains(offset) else { continue }
            names.append(String(decoding: strings.data[offset...].prefix { $0 != 0 }, as: UTF8.self))
        }
        return names
    }

    private static func little64(_ bytes: [UInt8], _ at: Int) -> UInt64 {
        (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[at + $1]) << (8 * UInt64($1)) }
    }
}
