import FoundationEssentials
import Glibc
import SystemPackage

/// What a copy of a tree can't hide: names that lead into the tree itself. The overlay needs none of this.
extension SourceView {
    /// A compile job that says what it includes, so that `readsOfTree` can judge it. As it was where nothing is copied.
    public func telling(_ arguments: [String]) -> [String] { method == .copies ? arguments + ["-H"] : arguments }

    /// Files of the tree itself that a finished compile job of the copies has included: by an absolute path in a generated
    /// file, or through a directory elsewhere. There the change would not have been seen.
    public func readsOfTree(_ result: JobResult) -> [String] {
        guard method == .copies else { return [] }
        let directory = result.job.directory ?? "/"
        return result.errorText.split(separator: "\n").compactMap { line in
            // `-H` writes a dot for each level and the path; a precompiled header has `!` or `x` instead.
            guard let mark = line.firstIndex(of: " "), mark > line.startIndex,
                line[..<mark].allSatisfy({ ".!x".contains($0) })
            else { return nil }
            let path = resolvedPath(lexical(String(line[line.index(after: mark)...]), in: directory))
            return (path + "/").hasPrefix(root + "/") ? path : nil
        }
    }

    /// An argument that names a place in the tree by a relative path which, from the copied directory, would lead elsewhere
    /// (`../src/a.c` from a build directory outside of the tree), with the place's absolute name in the copy.
    func relativePath(in argument: String, from directory: String, copy: String) -> String {
        let options = ["-I", "-iquote", "-isystem", "-idirafter", "-include", "-imacros", ""]
        guard let option = options.first(where: { argument.hasPrefix($0) }) else { return argument }
        let path = String(argument.dropFirst(option.count))
        guard !path.isEmpty, !path.hasPrefix("/"), !path.hasPrefix("-") else { return argument }
        let place = resolvedPath(lexical(path, in: directory))
        guard (place + "/").hasPrefix(root + "/") else { return argument }
        let moved = moved(directory, to: copy)
        if (lexical(path, in: moved) + "/").hasPrefix(copy + "/") { return argument }
        return option + copy + place.dropFirst(root.utf8.count)
    }

    private func lexical(_ path: String, in directory: String) -> String {
        FilePath(directory).pushing(FilePath(path)).lexicallyNormalized().string
    }
}
