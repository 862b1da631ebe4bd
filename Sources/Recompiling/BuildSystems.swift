import Glibc
import SourceChanges
import Toolchain

/// Which of the build systems that a tree has scripts for made the recorded build. Each leaves a file of its own in its
/// build directory, and names objects in its own way.
struct BuildSystems {
    private let usesCMake: Bool
    private let usesMeson: Bool
    /// All recorded units of C and C++ ask for debug information, so that others of the build will have done so too.
    let describesUnits: Bool

    init(units: [CompileUnit], root: String) {
        describesUnits = units.allSatisfy { ![.c, .cplusplus].contains($0.language) || $0.asksForDebugInfo }
        var directories: Set<String> = [root]
        for unit in units {
            var parts = unit.directory.split(separator: "/")
            // A directory that was seen has its parents in the set as well.
            while !parts.isEmpty, directories.insert("/" + parts.joined(separator: "/")).inserted { parts.removeLast() }
        }
        let outputs = units.map(\.output)
        let inTree = (try? files(below: root)) ?? []
        usesCMake =
            directories.contains { access($0 + "/CMakeCache.txt", F_OK) == 0 }
            || inTree.contains { baseName($0) == "CMakeCache.txt" }
            || outputs.contains { $0.contains("/CMakeFiles/") }
        usesMeson =
            directories.contains { access($0 + "/meson-private", F_OK) == 0 }
            || inTree.contains { $0.contains("meson-private/") }
            || outputs.contains { $0.contains(".p/") }
    }

    /// Why a build script of this path can't have had part in the recorded build; nil when it may.
    func doNotRead(_ path: String) -> String? {
        let name = baseName(path)
        if name == "CMakeLists.txt" || name.hasSuffix(".cmake") || name.hasSuffix(".cmake.in") {
            return usesCMake ? nil : "it is for CMake, which the recorded build made no use of"
        }
        if ["meson.build", "meson_options.txt", "meson.options"].contains(name) {
            return usesMeson ? nil : "it is for Meson, which the recorded build made no use of"
        }
        return nil
    }
}
