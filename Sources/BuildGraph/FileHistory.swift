import Glibc
import Toolchain

/// All contents that files had in the course of a build.
struct FileHistory {
    private(set) var paths: [String] = []
    private var numbers: [String: Int] = [:]
    private(set) var versions: [FileVersion] = []
    /// The version that stands at a path now.
    private(set) var current: [Int: Int] = [:]
    /// Paths whose file the build has removed.
    private var gone: Set<Int> = []
    /// Symbolic links that the build made.
    private var links: Set<String> = []
    /// By path: whether it was a symbolic link before the build.
    private var oldLinks: [String: Bool] = [:]
    /// Directories that the build renamed, the latest last.
    private var movedDirectories: [(from: String, to: String)] = []

    init() {}

    /// Goes on from an earlier build of the same tree.
    /// - Parameter stands: whether a version is what is at its path now.
    init(_ earlier: RecordedGraph, stands: (FileVersion) -> Bool) {
        paths = earlier.paths
        numbers = Dictionary(paths.enumerated().map { ($1, $0) }) { first, _ in first }
        versions = earlier.versions
        for (number, version) in versions.enumerated() where stands(version) { current[version.path] = number }
        for number in versions.indices { (versions[number].digest, versions[number].kind) = (nil, nil) }
    }

    mutating func number(of path: String) -> Int {
        if let number = numbers[path] { return number }
        numbers[path] = paths.count
        paths.append(path)
        return paths.count - 1
    }

    /// It was read or written already.
    func knows(_ path: String) -> Bool { numbers[path].map { current[$0] != nil } ?? false }

    /// The build has removed it.
    func isGone(_ path: String) -> Bool { numbers[path].map(gone.contains) ?? false }

    /// The version that a reader of the path gets.
    mutating func version(at path: String) -> Int {
        let number = number(of: path)
        if let version = current[number] { return version }
        var source = FileVersion(path: number)
        if let move = movedDirectories.last(where: { path.hasPrefix($0.to + "/") }) {
            source.origins = [version(at: move.from + path.dropFirst(move.to.count))]
        }
        return add(source)
    }

    private mutating func add(_ version: FileVersion) -> Int {
        versions.append(version)
        current[version.path] = versions.count - 1
        gone.remove(version.path)
        return versions.count - 1
    }

    /// - Parameter keepsContent: what was there is part of the new version.
    mutating func write(_ path: String, by process: Int, keepsContent: Bool) {
        let number = number(of: path)
        if keepsContent, let known = current[number], versions[known].makers == [process] { return }
        var version = FileVersion(path: number)
        version.makers = [process]
        if keepsContent, !gone.contains(number) { version.origins = [self.version(at: path)] }
        _ = add(version)
    }

    /// Another process holds the file open that `path` is, and may write to it.
    mutating func share(_ path: String, with process: Int, of ancestors: Set<Int>) {
        guard let number = numbers[path], let version = current[number], !versions[version].makers.contains(process),
            versions[version].makers.contains(where: ancestors.contains)
        else { return }
        versions[version].makers.append(process)
    }

    /// - Returns: the versions that were read for it.
    mutating func rename(_ path: String, to target: String, by process: Int) -> [Int] {
        guard path != target else { return [] }
        let number = number(of: path)
        if current[number] == nil, !gone.contains(number), isDirectory(target) {
            return moveDirectory(path, to: target, by: process)
        }
        let origin = derive(target, from: path, by: process)
        if links.remove(path) != nil { links.insert(target) } else { links.remove(target) }
        remove(path)
        return [origin]
    }

    private mutating func moveDirectory(_ path: String, to target: String, by process: Int) -> [Int] {
        let inside = current.keys.filter { paths[$0].hasPrefix(path + "/") }.sorted()
        let origins = inside.map { number in
            let name = paths[number].dropFirst(path.count)
            let origin = derive(target + name, from: paths[number], by: process)
            remove(paths[number])
            return origin
        }
        movedDirectories.append((path, target))
        return origins
    }

    mutating func exchange(_ path: String, _ other: String, by process: Int) -> [Int] {
        let origins = [version(at: path), version(at: other)]
        for (target, origin) in zip([other, path], origins) {
            var version = FileVersion(path: number(of: target))
            version.makers = [process]
            version.origins = [origin]
            _ = add(version)
        }
        return origins
    }

    /// - Returns: the version of `path`, which is that of `target` now as well.
    mutating func derive(_ target: String, from path: String, by process: Int) -> Int {
        let origin = version(at: path)
        var version = FileVersion(path: number(of: target))
        version.makers = [process]
        version.origins = [origin]
        _ = add(version)
        return origin
    }

    mutating func makeLink(_ path: String, by process: Int) {
        write(path, by: process, keepsContent: false)
        links.insert(path)
    }

    mutating func remove(_ path: String) {
        let number = number(of: path)
        current[number] = nil
        gone.insert(number)
        links.remove(path)
    }

    /// Versions of the links that lead from the name that was asked for to the file that was opened; of those that were there
    /// before the build, not the system's.
    /// - Parameter path: absolute, not resolved.
    mutating func linksOn(_ path: String, _ system: SystemPaths) -> [Int] {
        var found: [Int] = []
        var prefix = ""
        for part in normalized(path, in: "/").split(separator: "/") {
            prefix += "/" + part
            if links.contains(prefix) || (!system.contain(prefix) && isOldLink(prefix)) {
                found.append(version(at: prefix))
            }
        }
        return found
    }

    private mutating func isOldLink(_ path: String) -> Bool {
        if let known = oldLinks[path] { return known }
        var status = stat()
        let isLink = lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
        oldLinks[path] = isLink
        return isLink
    }
}

func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}
