import BuildGraph
import FoundationEssentials

/// The directory that fixes apply to: the top of the package's tree, or a copy of it in which the package builds
/// (`debian/build-bin`).
///
/// A copy is one where compilers have read what the fixes touch, while nothing compiles it at the top.
///
/// - Parameters:
///   - touched: paths relative to the top.
///   - compiled: absolute paths of the files that compilers have read.
func sourceRoot(of tree: String, touched: [String], compiled: Set<String>) -> String {
    var votes: [String: Int] = [:]
    for path in touched {
        if compiled.contains(tree + "/" + path) {
            votes[tree, default: 0] += 1
            continue
        }
        guard let original = FileManager.default.contents(atPath: tree + "/" + path) else { continue }
        for file in compiled where file.hasPrefix(tree + "/") && file.hasSuffix("/" + path) {
            guard FileManager.default.contents(atPath: file) == original else { continue }
            votes[String(file.dropLast(path.count + 1)), default: 0] += 1
        }
    }
    return votes.min { ($1.value, $0.key) < ($0.value, $1.key) }?.key ?? tree
}
