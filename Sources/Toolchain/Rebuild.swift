/// A whole build over a changed tree, of which nothing but the tree's new contents stays.
extension SourceView {
    /// A job that repeats a build over `layer`. The tree itself is not written, and nothing else can be: every other file
    /// system is read-only for it, its temporary files lie in memory.
    ///
    /// - Parameters:
    ///   - command: the build command and its arguments.
    ///   - touched: files of the layer, relative to the root, which get the time of now, or `make` would not see them.
    ///   - kept: an existing directory. It gets `files`, with what the build wrote below the root (objects left out), and
    ///     `removed`, with the paths of files that are no more, one a line, each beginning with `./`.
    /// - Returns: nil where there are no namespaces.
    public func rebuildJob(
        _ command: [String], directory: String, layer: SourceLayer, touched: [String], kept: String,
        environment: [String: String?] = [:]
    ) -> Job? {
        guard case .namespace(let options) = method else { return nil }
        let directory = resolvedPath(directory)
        let mount = shellQuoted(scratch + "/mount")
        var lines = mountLines(layer: layer, directory: directory)
        lines += ["mkdir kept temporary", "mount --bind \(shellQuoted(kept)) kept"]
        lines += touched.map { "touch -- \(shellQuoted(root + "/" + $0))" }
        lines += [
            "while read -r _ _ _ _ point options _; do",
            "case $point in /proc|/proc/*|/sys|/sys/*|/dev|/dev/*|\(mount)|\(mount)/*) continue;; esac",
        ]
        for place in overlaid(directory) {
            lines.append("if [ \"$point\" = \(shellQuoted(place)) ]; then continue; fi")
        }
        lines += [
            "mount -o \"remount,bind,ro${options#r?}\" \"$point\"",
            "done </proc/self/mountinfo",
            "(cd \(shellQuoted(directory)) && TMPDIR=\(mount)/temporary exec \"$@\")",
            "cd upper0",
            "mkdir ../kept/files",
            "find . -type f ! -name '*.o' ! -name '*.a' -exec cp --parents -t ../kept/files '{}' +",
            "find . -type c >../kept/removed",
        ]
        return Job(
            "unshare", options + ["--", "sh", "-c", lines.joined(separator: "\n"), "sh"] + command, directory: "/",
            environment: environment, title: "repeat the build")
    }
}
