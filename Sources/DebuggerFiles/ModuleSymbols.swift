import Diagnostics

/// What debuggers and profilers need to know of a module that lies in a process. All of it was read from the process's own
/// memory, and may be anything. Offsets count from the module's first byte.
public struct ModuleSymbols: Codable, Hashable, Sendable {
    /// The patch's id.
    public var patch: String
    /// The file that is patched.
    public var target: String
    /// Where the module's first byte lies in the process.
    public var base: UInt64
    /// The module's own, in hexadecimal; nil for modules of older bundles, which have none.
    public var buildID: String?
    /// Its code and its writable data.
    public var parts: [Part]
    public var symbols: [Symbol]
    /// Nil where the module has no unwind data.
    public var frames: Frames?

    public struct Part: Codable, Hashable, Sendable {
        public var offset: UInt64
        public var size: UInt64
        public var isExecutable: Bool

        public init(offset: UInt64, size: UInt64, isExecutable: Bool) {
            (self.offset, self.size, self.isExecutable) = (offset, size, isExecutable)
        }
    }

    public struct Symbol: Codable, Hashable, Sendable {
        public var name: String
        public var offset: UInt64
        /// 0 where it is not known.
        public var size: UInt64
        public var isFunction: Bool

        public init(name: String, offset: UInt64, size: UInt64, isFunction: Bool) {
            (self.name, self.offset, self.size, self.isFunction) = (name, offset, size, isFunction)
        }
    }

    /// Records of the form of `.eh_frame`, the last of them of length zero.
    public struct Frames: Codable, Hashable, Sendable {
        public var offset: UInt64
        public var bytes: [UInt8]

        public init(offset: UInt64, bytes: [UInt8]) { (self.offset, self.bytes) = (offset, bytes) }
    }

    public init(
        patch: String, target: String, base: UInt64, buildID: String? = nil, parts: [Part], symbols: [Symbol],
        frames: Frames? = nil
    ) {
        self.patch = patch
        self.target = target
        self.base = base
        self.buildID = buildID
        self.parts = parts
        self.symbols = symbols
        self.frames = frames
    }

    public var functions: [Symbol] { symbols.filter(\.isFunction) }
}

extension ModuleSymbols.Symbol {
    /// The name as it may stand in a line of text (trap forged-text).
    var shownName: String { onOneLine(name) }
}
