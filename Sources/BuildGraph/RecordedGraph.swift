/// What a build did: the processes that lie behind the ELF files it left, and the files that they read and wrote.
///
/// A file that is written anew is another version, so that the versions and the processes form a graph without circles.
/// Processes stand in the order of their start and versions in that of their making. Indices refer to these lists.
package struct RecordedGraph: Sendable, Hashable {
    /// Where the build command was run, absolute.
    package var directory: String
    package var command: [String]
    /// All paths and names, each once.
    package var paths: [String]
    package var processes: [BuildProcess]
    package var versions: [FileVersion]

    package init(
        directory: String, command: [String], paths: [String] = [], processes: [BuildProcess] = [],
        versions: [FileVersion] = []
    ) {
        self.directory = directory
        self.command = command
        self.paths = paths
        self.processes = processes
        self.versions = versions
    }
}

/// One process, from its fork to its end. What a shell does between its fork and the program that it runs, such as opening
/// the file of a redirection, counts as done by the program.
package struct BuildProcess: Sendable, Hashable {
    /// Its parent; nil for the build command itself.
    package var parent: Int?
    /// The programs it ran, one after the other; none for a shell's own copy.
    package var runs: [ProgramRun] = []
    /// Versions that it read, ascending. A symbolic link on the way counts as read.
    package var reads: [Int] = []
    /// Paths that it looked for in vain, ascending; those of the system are left out.
    package var missed: [Int] = []
    /// Paths that it found there without reading them, ascending; those of the system are left out.
    package var seen: [Int] = []
    /// Directories whose list of names it read, ascending.
    package var listed: [Int] = []
    /// Processes whose output came to it through a pipe, ascending.
    package var fedBy: [Int] = []
    /// Its exit status; 128 + signal where it was killed.
    package var status: Int32 = 0

    package init(parent: Int? = nil) { self.parent = parent }
}

/// One program that a process ran.
package struct ProgramRun: Sendable, Hashable {
    /// Absolute path.
    package var program: String
    package var arguments: [String]
    package var directory: String
    /// In what its environment differs from the build command's; nil: the variable was unset.
    package var environment: [String: String?]

    package init(program: String, arguments: [String], directory: String, environment: [String: String?] = [:]) {
        self.program = program
        self.arguments = arguments
        self.directory = directory
        self.environment = environment
    }
}

/// One content of one file.
package struct FileVersion: Sendable, Hashable {
    /// The file, as an index of `paths`: absolute, symbolic links of its directories resolved.
    package var path: Int
    /// The processes that wrote it; none: it was there before the build.
    package var makers: [Int] = []
    /// Versions that are part of it: what was renamed, linked or changed in place.
    package var origins: [Int] = []
    /// SHA-256 of what the build left at the path; nil where this version is not what it left.
    package var digest: String?

    /// What it is to the linker; nil for other files, and where this version is not what the build left.
    package var kind: LinkKind?

    package init(path: Int) { self.path = path }

    package var isSource: Bool { makers.isEmpty && origins.isEmpty }
}

package enum LinkKind: String, Sendable, Hashable, Codable {
    /// An executable or a shared object.
    case linked
    /// A relocatable object, or code that the linker compiles.
    case object
    case archive
}
