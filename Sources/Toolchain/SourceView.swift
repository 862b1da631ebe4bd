import Diagnostics
import FoundationEssentials
import Glibc

/// How compile commands see a source tree at its own path, as it is or with changed files, while nothing in the tree is
/// ever written (trap same-paths).
///
/// Each job gets a private mount namespace in which an overlay lies over the tree: below, the tree; above it, the
/// changed files; on top, memory that takes whatever the command writes and vanishes with it. Where namespaces are
/// refused, the commands run in a copy of the tree, and the compiler is told to write the original's path.
public struct SourceView: Sendable {
    public enum Method: Sendable, Hashable {
        /// `unshare` with these options, then overlays.
        case namespace([String])
        /// The directory of the copies of the trees: `original` and one for each variant.
        case copies
    }

    /// Absolute, symbolic links resolved.
    public var root: String
    /// For temporary files; outside of `root`.
    public var scratch: String
    public var method: Method

    /// Finds out what this machine allows.
    /// - Throws: `Failure` when `scratch` lies in the tree or can't be written.
    public static func make(root: String, scratch: String) async throws -> SourceView {
        guard !(scratch + "/").hasPrefix(root + "/") else {
            throw Failure("temporary files must not lie in the source tree: \(scratch)")
        }
        try createDirectory(scratch + "/mount")
        var view = SourceView(root: root, scratch: scratch, method: .copies)
        let asRoot = ["--mount", "--propagation", "private"]
        let asUser = ["--user", "--map-root-user", "--mount", "--propagation", "private"]
        for options in geteuid() == 0 ? [asRoot, asUser] : [asUser] {
            view.method = .namespace(options)
            let probe = view.job("true", [], directory: root, layer: nil, title: "overlay")
            if let result = try? await run(probe), result.status == 0 { return view }
        }
        view.method = .copies
        return view
    }

    /// A job that sees the tree through `layer`.
    ///
    /// - Parameters:
    ///   - directory: where it runs, absolute; in the tree or not.
    ///   - layer: nil for the tree as it is.
    public func job(
        _ executable: String, _ arguments: [String], directory: String, layer: SourceLayer?,
        environment: [String: String?] = [:], title: String
    ) -> Job {
        let directory = resolvedPath(directory)
        switch method {
        case .namespace(let options):
            let script = mountScript(layer: layer, directory: directory)
            return Job(
                "unshare", options + ["--", "sh", "-c", script, "sh", executable] + arguments, directory: "/",
                environment: environment, title: title)
        case .copies:
            let copy = copyPath(layer)
            return Job(
                executable,
                copyArguments(
                    arguments.map { relativePath(in: $0, from: directory, copy: copy) }, copy: copy),
                directory: moved(directory, to: copy),
                environment: environment, title: title)
        }
    }

    /// The shell's part of a job: mounts, then becomes the command. Names are relative within the mounted memory, since
    /// the options of `mount` give commas and colons a meaning.
    private func mountScript(layer: SourceLayer?, directory: String) -> String {
        var lines = mountLines(layer: layer, directory: directory)
        lines.append("cd \(shellQuoted(directory))")
        lines.append("exec \"$@\"")
        return lines.joined(separator: "\n")
    }

    /// Ends in the mounted memory, where `upper0` takes what is written in the tree.
    func mountLines(layer: SourceLayer?, directory: String) -> [String] {
        var lines = ["set -e", "mount -t tmpfs tmpfs \(shellQuoted(scratch + "/mount"))"]
        lines.append("cd \(shellQuoted(scratch + "/mount"))")
        for (index, place) in overlaid(directory).enumerated() {
            var lower = "tree\(index)"
            lines.append("mkdir upper\(index) work\(index)")
            lines.append("ln -s \(shellQuoted(place)) tree\(index)")
            if index == 0, let layer {
                lines.append("ln -s \(shellQuoted(layer.directory)) layer")
                lower = "layer:tree0"
            }
            let options = "lowerdir=\(lower),upperdir=upper\(index),workdir=work\(index)"
            lines.append("mount -t overlay overlay -o \(options) \(shellQuoted(place))")
        }
        for path in layer?.hidden ?? [] { lines.append("mount --bind /dev/null \(shellQuoted(path))") }
        for path in layer?.removed ?? [] { lines.append("rm -f -- \(shellQuoted(root + "/" + path))") }
        return lines
    }

    /// The tree, and the directory of a build outside of it.
    func overlaid(_ directory: String) -> [String] {
        let apart =
            !(directory + "/").hasPrefix(root + "/") && !(root + "/").hasPrefix(directory + "/")
            && !(scratch + "/").hasPrefix(directory + "/")
        return apart ? [root, directory] : [root]
    }
}

/// Changed files on top of a tree.
public struct SourceLayer: Sendable, Hashable {
    public var name: String
    /// Holds the changed files, at their paths relative to the tree's root.
    public var directory: String
    /// Relative paths of files that are not there.
    public var removed: [String]
    /// Absolute paths of files outside of the tree that seem empty; in namespaces only.
    public var hidden: [String]

    public init(name: String, directory: String, removed: [String], hidden: [String] = []) {
        self.name = name
        self.directory = directory
        self.removed = removed
        self.hidden = hidden
    }
}

// MARK: copies, where there are no namespaces

extension SourceView {
    /// Makes the copies that jobs with these layers need; nothing to do with namespaces.
    public func prepare(layers: [SourceLayer?]) async throws {
        guard method == .copies else { return }
        for layer in layers {
            let copy = copyPath(layer)
            try createDirectory(copy)
            try await run(Job("cp", ["-a", "--reflink=auto", "--", root + "/.", copy], title: "copy \(root)")).checked()
            guard let layer else { continue }
            let changes = ["-a", "--remove-destination", "--", layer.directory + "/.", copy]
            try await run(Job("cp", changes, title: "copy the change")).checked()
            for path in layer.removed { unlink(copy + "/" + path) }
        }
    }

    private func copyPath(_ layer: SourceLayer?) -> String { scratch + "/copy-" + (layer?.name ?? "original") }

    func moved(_ path: String, to copy: String) -> String {
        if path == root { return copy }
        return path.hasPrefix(root + "/") ? copy + path.dropFirst(root.utf8.count) : path
    }

    /// The arguments with paths into the tree led into the copy, and the compiler told to write what it would have
    /// written for the tree: recorded prefix maps hold for it too.
    private func copyArguments(_ arguments: [String], copy: String) -> [String] {
        var maps: [String: String] = ["macro": root, "debug": root]
        var result: [String] = []
        for argument in arguments {
            for kind in ["file", "macro", "debug"] where argument.hasPrefix("-f\(kind)-prefix-map=") {
                let map = argument.drop { $0 != "=" }.dropFirst()
                let old = String(map.prefix { $0 != "=" })
                let new = String(map.drop { $0 != "=" }.dropFirst())
                guard (root + "/").hasPrefix(old), !old.isEmpty else { continue }
                for affected in kind == "file" ? ["macro", "debug"] : [kind] {
                    maps[affected] = new + root.dropFirst(old.utf8.count)
                }
            }
            result.append(copiedPath(in: argument, copy: copy))
        }
        guard !arguments.contains("-version") else { return result }
        return result + maps.sorted { $0.key < $1.key }.map { "-f\($0.key)-prefix-map=\(copy)=\($0.value)" }
    }

    private func copiedPath(in argument: String, copy: String) -> String {
        if argument.contains("-prefix-map=") { return argument }
        if argument.hasSuffix(root) { return argument.dropLast(root.count) + copy }
        guard let range = argument.firstRange(of: root + "/") else { return argument }
        return argument[..<range.lowerBound] + copy + "/" + argument[range.upperBound...]
    }
}

/// `path` without symbolic links; as it came when there is no such file.
public func resolvedPath(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// Creates a directory and those above it.
/// - Throws: `Failure`.
public func createDirectory(_ path: String) throws {
    do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
        throw Failure("can't create the directory \(path): \(error)")
    }
}
