import Glibc
import Toolchain

/// Absolute paths of what system calls name, symbolic links of directories resolved.
struct PathFinder {
    private var directories: [String: String] = [:]

    /// - Parameter directory: from which a relative name is seen, absolute.
    mutating func path(_ name: String, in directory: String) -> String {
        let whole = name.hasPrefix("/") ? name : directory + "/" + name
        guard let slash = whole.lastIndex(of: "/") else { return whole }
        let last = whole[whole.index(after: slash)...]
        if last.isEmpty || last == "." || last == ".." { return resolved(whole) }
        let parent = resolved(String(whole[..<slash]))
        return parent == "/" ? "/" + last : parent + "/" + last
    }

    /// A directory that is not there any more keeps its name.
    mutating func resolved(_ directory: String) -> String {
        if let known = directories[directory] { return known }
        guard let found = realpath(directory.isEmpty ? "/" : directory, nil) else {
            return normalized(directory, in: "/")
        }
        defer { free(found) }
        let path = String(cString: found)
        directories[directory] = path
        return path
    }
}

/// Directories of the system and of installed programs, in which no source tree lies: of them only what was read is kept.
struct SystemPaths {
    private let prefixes: [String]
    private let exceptions = ["/usr/src/", "/usr/local/src/"]

    /// - Parameters:
    ///   - directory: where the build runs; what it lies in is no directory of the system.
    ///   - searchPath: `PATH`; what lies beside a directory of programs is of them.
    init(buildIn directory: String, searchPath: String) {
        let fixed = ["/usr/", "/lib", "/bin/", "/sbin/", "/etc/", "/opt/", "/run/", "/nix/store/", "/gnu/store/"]
        let installed = searchPath.split(separator: ":").filter { $0.hasPrefix("/") }
            .map { "/" + $0.split(separator: "/").dropLast().joined(separator: "/") + "/" }.filter { $0.count > 2 }
        let own = directory + "/"
        // Programs beside the build's own directory may be of the same tree.
        let parent = "/" + directory.split(separator: "/").dropLast().map { $0 + "/" }.joined()
        let isWithin = exceptions.contains(where: own.hasPrefix)
        prefixes =
            fixed.filter { !own.hasPrefix($0) || isWithin }
            + installed.filter { !own.hasPrefix($0) && (parent == "/" || !$0.hasPrefix(parent)) }
    }

    func contain(_ path: String) -> Bool {
        prefixes.contains(where: path.hasPrefix) && !exceptions.contains(where: path.hasPrefix)
    }
}

/// What the kernel makes up: no files.
func isOfKernel(_ path: String) -> Bool {
    (path.hasPrefix("/proc/") || path.hasPrefix("/sys/") || path.hasPrefix("/dev/")) && !path.hasPrefix("/dev/shm/")
}
