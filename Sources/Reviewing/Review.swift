/// `review.json` of a bundle: what a person wants to see before signing, and no applier needs.
///
/// It is written by `patchbuild build`, listed in the manifest with its digest, and so covered by every signature. Of the same
/// inputs it is the same bytes: paths are relative to the source tree, and nothing of the machine is in it. What the manifest
/// says already (functions, entries, bindings, decisions) is not repeated; `functions` of a target here are those of
/// the manifest's target, in its order.
public struct Review: Codable, Hashable, Sendable {
    /// `MAJOR.MINOR`; a reader refuses another major version.
    public var formatVersion = "1.0"
    public var diffs: [ReviewDiff] = []
    /// Files of the diffs that no compiled unit reads.
    public var ignored: [IgnoredSource] = []
    /// Source files that listings name, relative to the tree where they lie in it.
    public var files: [String] = []
    /// In the manifest's order.
    public var targets: [ReviewTarget] = []
    public init() {}
}

/// The change of the source, as text.
public struct ReviewDiff: Codable, Hashable, Sendable {
    /// Without directories.
    public var name: String
    /// SHA-256 of the file that was given; nil where the diff was made of two trees.
    public var digest: String?
    public var text: String
    /// Lines at its end that were left out.
    public var omittedLines = 0
    public init(name: String, digest: String?, text: String, omittedLines: Int = 0) {
        self.name = name
        self.digest = digest
        self.text = text
        self.omittedLines = omittedLines
    }
}

/// A file that the change touches, and that is not compiled.
public struct IgnoredSource: Codable, Hashable, Sendable {
    /// As in the diff.
    public var path: String
    public var why: String
    public init(path: String, why: String) {
        self.path = path
        self.why = why
    }
}

public struct ReviewTarget: Codable, Hashable, Sendable {
    public var buildID: String
    public var functions: [ReviewFunction]
    public var data: [ReviewDatum]
    public var proof: ReviewProof
    public init(buildID: String, functions: [ReviewFunction], data: [ReviewDatum], proof: ReviewProof) {
        self.buildID = buildID
        self.functions = functions
        self.data = data
        self.proof = proof
    }
}

/// Of all units that the patch touches: what of them was found in the target, byte for byte once relocations are resolved.
public struct ReviewProof: Codable, Hashable, Sendable {
    public var units: Int
    public var functions: Int
    public var bytes: Int
    public init(units: Int, functions: Int, bytes: Int) {
        self.units = units
        self.functions = functions
        self.bytes = bytes
    }
}

public struct ReviewFunction: Codable, Hashable, Sendable {
    public var name: String
    /// nil: it is new, or left out for its size.
    public var original: Listing?
    public var new: Listing?
    /// Functions of the target that call or jump to it, with theirs.
    public var callers: [Caller]
    /// Callers beyond those that are listed.
    public var moreCallers = 0
    /// What of the target holds its address, as far as it can be seen.
    public var addressTaken: [String]
    /// Why a listing is missing.
    public var omitted: String?
    public init(
        name: String, original: Listing? = nil, new: Listing? = nil, callers: [Caller] = [], moreCallers: Int = 0,
        addressTaken: [String] = [], omitted: String? = nil
    ) {
        self.name = name
        self.original = original
        self.new = new
        self.callers = callers
        self.moreCallers = moreCallers
        self.addressTaken = addressTaken
        self.omitted = omitted
    }
}

public struct Caller: Codable, Hashable, Sendable {
    public var name: String
    /// Instructions in it that lead to the function.
    public var sites: Int
    /// Names of functions that call it.
    public var callers: [String]
    public init(name: String, sites: Int, callers: [String] = []) {
        self.name = name
        self.sites = sites
        self.callers = callers
    }
}

/// The instructions of a function, its `.cold` halves behind it. The arrays are columns of one table, a row an instruction.
public struct Listing: Codable, Hashable, Sendable {
    /// Instructions of each part: the function itself, then its halves. Their sum is the number of rows.
    public var parts: [Int] = []
    /// From the start of the part, in bytes.
    public var offsets: [Int] = []
    /// AT&T syntax, relocations by name.
    public var text: [String] = []
    /// The row that a branch leads to; -1 for one that leads out, and for everything else.
    public var targets: [Int] = []
    /// Index into `places`; -1 where the compiler names no line.
    public var lines: [Int] = []
    public var places: [SourcePlace] = []
    /// Bytes of all parts.
    public var size = 0
    public init() {}
}

/// One line of source.
public struct SourcePlace: Codable, Hashable, Sendable {
    /// Index into `Review.files`.
    public var file: Int
    /// 1-based, in the file itself (not as `#line` has it).
    public var line: Int
    /// Empty where the file is not at hand.
    public var text: String
    /// The change removes the line (original) or adds it (new).
    public var isTouched: Bool
    public init(file: Int, line: Int, text: String, isTouched: Bool) {
        self.file = file
        self.line = line
        self.text = text
        self.isTouched = isTouched
    }
}

public enum DatumChange: String, Codable, Sendable {
    /// A constant that has another content: a copy travels.
    case changed
    /// The target has none.
    case new
    /// Content without a name that new code reads: literals, jump tables.
    case unnamed
}

/// Data that travels in the module.
public struct ReviewDatum: Codable, Hashable, Sendable {
    public var name: String
    public var object: String
    public var change: DatumChange
    public var writable: Bool
    public var size: Int
    public var originalSize: Int?
    /// Lower-case hexadecimal, the first bytes of it; nil for zeroed memory, and where there is no original.
    public var original: String?
    public var new: String?
    /// What its words point to, as `+0x8 name`.
    public var pointers: [String]
    public init(
        name: String, object: String, change: DatumChange, writable: Bool, size: Int, originalSize: Int? = nil,
        original: String? = nil, new: String? = nil, pointers: [String] = []
    ) {
        self.name = name
        self.object = object
        self.change = change
        self.writable = writable
        self.size = size
        self.originalSize = originalSize
        self.original = original
        self.new = new
        self.pointers = pointers
    }
}
