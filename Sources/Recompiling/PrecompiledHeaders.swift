import Diagnostics
import FoundationEssentials
import SourceChanges
import Toolchain

/// Precompiled headers, which would hide the change of a header: GCC does not compare their times. The changed source is
/// compiled without them.
struct PrecompiledHeaders {
    /// Relative to the tree's root.
    var inTree: [String]
    /// Absolute: of a build outside of the tree.
    var outside: [String] = []

    init(units: [CompileUnit], root: String) throws {
        inTree = try files(below: root).filter(Self.isPrecompiled).sorted()
        var found: Set<String> = []
        for directory in Set(units.map(\.directory)) where !(directory + "/").hasPrefix(root + "/") {
            guard !(root + "/").hasPrefix(directory + "/") else { continue }
            for path in (try? files(below: directory)) ?? [] where Self.isPrecompiled(path) {
                found.insert(directory + "/" + path)
            }
        }
        for unit in units {
            for header in unit.forcedIncludes.map({ normalized($0, in: unit.directory) }) {
                for path in [header + ".gch", header + ".pch"] where FileManager.default.fileExists(atPath: path) {
                    found.insert(path)
                }
            }
        }
        outside = found.filter { !$0.hasPrefix(root + "/") }.sorted()
    }

    var isEmpty: Bool { inTree.isEmpty && outside.isEmpty }

    /// `h.gch`, or a variant of it: `h.gch/c++17`.
    private static func isPrecompiled(_ path: String) -> Bool {
        path.hasSuffix(".gch") || path.hasSuffix(".pch") || path.contains(".gch/")
    }

    /// - Throws: `Refusal` bad-input: without namespaces nothing outside of the tree can be hidden.
    func requireNone() throws {
        guard let path = outside.first else { return }
        throw Refusal(
            .badInput, subject: path, why: "this precompiled header would hide the change of a header",
            remedy: "build without precompiled headers, or where user namespaces are allowed")
    }
}
