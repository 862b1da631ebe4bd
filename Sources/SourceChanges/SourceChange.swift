/// What a patch does to a source tree: every touched file, before and after, whatever told of it (diffs or a second
/// tree).
public struct SourceChange: Sendable {
    public enum Origin: Sendable, Hashable {
        case diffs
        /// `built`: the new tree was built, so what generators make of their input is in it.
        case newSource(built: Bool)
    }

    /// The original tree's absolute path, symbolic links resolved.
    public var root: String
    public var origin: Origin
    /// Sorted by path; only files whose contents differ.
    public var files: [ChangedFile]
    /// What the diffs touch and no compiler reads.
    public var ignored: [IgnoredFile]
    /// The diffs that were applied, in order; the manifest names them by digest.
    public var diffs: [NamedBytes]

    public init(
        root: String, origin: Origin, files: [ChangedFile], ignored: [IgnoredFile] = [], diffs: [NamedBytes] = []
    ) {
        self.root = root
        self.origin = origin
        self.files = files
        self.ignored = ignored
        self.diffs = diffs
    }

    /// The absolute path of a file of this change, in the original tree.
    public func path(of file: ChangedFile) -> String { root + "/" + file.path }
}

/// One touched file.
public struct ChangedFile: Sendable, Hashable {
    /// Relative to the tree's root.
    public var path: String
    /// nil: the file is added.
    public var original: [UInt8]?
    /// nil: the file is removed.
    public var new: [UInt8]?

    public init(path: String, original: [UInt8]?, new: [UInt8]?) {
        self.path = path
        self.original = original
        self.new = new
    }

    /// The last component of `path`.
    public var name: String { path.split(separator: "/").last.map(String.init) ?? path }
}

/// A touched file that can't matter to the compiled program, and why.
public struct IgnoredFile: Sendable, Hashable {
    public var path: String
    public var why: String
    public init(path: String, why: String) {
        self.path = path
        self.why = why
    }
}

public struct NamedBytes: Sendable, Hashable {
    public var name: String
    public var bytes: [UInt8]
    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }
}
