import SourceChanges

// What goes into a bundle names files as seen from the source tree: trees at two places give the same bytes.

/// `path` as seen from the directory `root`, by `..` where it lies beside it; as it is where they share nothing. Both are
/// absolute and normalized.
func relativePath(_ path: String, to root: String) -> String {
    let (parts, base) = (path.split(separator: "/"), root.split(separator: "/"))
    let shared = zip(parts, base).prefix { $0 == $1 }.count
    guard shared > 0 else { return path }
    let steps = Array(repeating: "..", count: base.count - shared) + parts.dropFirst(shared).map(String.init)
    return steps.isEmpty ? "." : steps.joined(separator: "/")
}

/// `text` with the tree's path in it as `.`.
package func portable(_ text: String, root: String) -> String { replacingPath(root, by: ".", in: text) }

extension CompileUnit {
    /// Tells units apart, the same in each place of the tree.
    func sortName(root: String) -> String { name(relativeTo: root) + "\0" + relativePath(file, to: root) }

    /// The recorded command, for reading.
    func portableCommand(root: String) -> String {
        arguments.map { portableArgument($0, root: root) }.joined(separator: " ")
    }

    private func portableArgument(_ argument: String, root: String) -> String {
        let text = portable(argument, root: root)
        if let map = portableMap(text, root: root) { return map }
        // A build beside the tree.
        let isApart = !(directory + "/").hasPrefix(root + "/") && directory != "/"
        return isApart ? replacingPath(directory, by: relativePath(directory, to: root), in: text) : text
    }

    /// `-ffile-prefix-map=OLD=NEW`, where OLD is a directory above the tree; nil for all else.
    private func portableMap(_ argument: String, root: String) -> String? {
        let words = argument.split(separator: "=", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        guard words.count == 3, words[0].hasSuffix("-prefix-map"), words[1].hasPrefix("/"), words[1] != "/",
            (root + "/").hasPrefix(words[1].hasSuffix("/") ? words[1] : words[1] + "/")
        else { return nil }
        return "\(words[0])=\(relativePath(words[1], to: root))=\(words[2])"
    }
}

/// Names of files without the directories that all of them lie in; never empty.
func sharedNames(_ paths: [String]) -> [String] {
    let parts = paths.map { absolutePath($0).split(separator: "/").map(String.init) }
    guard let first = parts.first else { return [] }
    let shared = parts.map { $0.dropLast() }.reduce(first.dropLast()) { common, part in
        common.prefix(zip(common, part).prefix { $0 == $1 }.count)
    }
    return parts.map { $0.dropFirst(shared.count).joined(separator: "/") }
}
