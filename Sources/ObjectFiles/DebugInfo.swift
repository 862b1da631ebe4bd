/// What patchbuild asks of DWARF, as plain values: types and their layout, functions, and inlined copies.
public struct DebugInfo: Sendable {
    /// What to collect; types of a large program are many.
    public struct Parts: OptionSet, Sendable {
        public var rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }
        public static let types = Parts(rawValue: 1)
        public static let functions = Parts(rawValue: 2)
        public static let all: Parts = [.types, .functions]
    }

    public var path: String
    /// Compile units, in file order; none when the file has no debug info.
    public var units: [DebugUnit]
    /// The alternate file (dwz) that the debug info refers to was not found: names and types it holds are missing.
    public var lacksAlternate: Bool

    public init(path: String, units: [DebugUnit], lacksAlternate: Bool = false) {
        self.path = path
        self.units = units
        self.lacksAlternate = lacksAlternate
    }
}

/// One compile unit.
public struct DebugUnit: Sendable {
    /// The source as the compiler was given it.
    public var name: String
    public var compilationDirectory: String
    /// The compiler and, with GCC, the options that change code: `GNU C17 12.2.0 -mtune=generic … -O2 -fPIC`.
    public var producer: String
    /// `DW_LANG_…`
    public var language: Int
    /// Complete types by their name with its kind: `struct client`, `union u`, `class ns::C`, `enum e`; a type that
    /// only a typedef names is under that name alone. A type local to a function is `struct function()::name`.
    public var types: [String: TypeLayout]
    /// Variables that may be written and live as long as the program, by name, those local to a function as
    /// `function()::name`; several of one name have a number behind it.
    public var variables: [String: TypeShape] = [:]
    /// Values of the enumerators of enumerations without a name, and of integer constants (`static const int`).
    public var constants: [String: Int64] = [:]
    /// Of all typedefs, the alignment in bytes that they ask for; 0 for none.
    public var alignments: [String: UInt64] = [:]
    /// Of a unit of C: what typedefs stand for, by name; those local to a function as `function()::name`. One name for two
    /// types, in two blocks of a function, is left out.
    public var typedefs: [String: TypeShape] = [:]
    /// Types without a name that can be called, in no order.
    public var closures: [DebugClosure] = []
    public var functions: [DebugFunction]
    public var inlined: [InlinedCopy]

    public init(
        name: String, compilationDirectory: String = "", producer: String = "", language: Int = 0,
        types: [String: TypeLayout] = [:], functions: [DebugFunction] = [], inlined: [InlinedCopy] = []
    ) {
        self.name = name
        self.compilationDirectory = compilationDirectory
        self.producer = producer
        self.language = language
        self.types = types
        self.functions = functions
        self.inlined = inlined
    }

    /// Compiled by or for link-time optimisation: its code is made, and mixed with other units', at the link.
    public var hasLTO: Bool {
        if producer.hasPrefix("GNU GIMPLE") || name == "<artificial>" { return true }
        let options = producer.split(separator: " ").filter { $0.hasPrefix("-flto") || $0 == "-fno-lto" }
        return options.last.map { $0 != "-fno-lto" } ?? false
    }

    public var isCPlusPlus: Bool { [0x04, 0x1a, 0x21, 0x2b, 0x2e].contains(language) }
}

/// The type of a lambda: what it has captured.
public struct DebugClosure: Hashable, Sendable {
    /// What it is local to, as in a type's name: `ns::function()::`, `function<int>()::operator()()::`.
    public var scope: String
    /// Where it stands in its file, which may not be where it stood before a fix.
    public var line: UInt64
    public var column: UInt64
    public var layout: TypeLayout
    /// The type of its call operator, itself aside.
    public var call: TypeShape
}

/// A function that the unit has code of, out of line.
public struct DebugFunction: Hashable, Sendable {
    public var name: String
    /// The symbol's name where it differs from `name` (C++).
    public var linkageName: String?
    /// The function's code; the entry's part first, then a `.cold` part.
    public var ranges: [CodeRange]
    /// Its type, where types were asked for.
    public var signature: TypeShape?
    /// The file that declares it, as the compiler named it.
    public var declaredIn: String?

    public init(name: String, linkageName: String? = nil, ranges: [CodeRange], declaredIn: String? = nil) {
        self.name = name
        self.linkageName = linkageName
        self.ranges = ranges
        self.declaredIn = declaredIn
    }
}

/// Code in a linked file (addresses) or in a section of a relocatable object (offsets).
public struct CodeRange: Hashable, Sendable {
    public var section: SectionIndex?
    public var start: UInt64
    public var size: UInt64

    public init(section: SectionIndex? = nil, start: UInt64, size: UInt64) {
        self.section = section
        self.start = start
        self.size = size
    }
}

/// One function has one or more copies of another in its code.
public struct InlinedCopy: Hashable, Sendable {
    /// The function that was inlined, and its linkage name where that differs.
    public var function: String
    public var linkageName: String?
    /// The out-of-line function that holds the copy, through other inlined functions where need be.
    public var container: String
    /// Where the container's code begins.
    public var containerStart: CodeRange?
    /// The unit's name.
    public var unit: String
    /// The file that declares the function that was inlined, as the compiler named it.
    public var declaredIn: String?

    public init(
        function: String, linkageName: String? = nil, container: String, containerStart: CodeRange? = nil, unit: String,
        declaredIn: String? = nil
    ) {
        self.declaredIn = declaredIn
        self.function = function
        self.linkageName = linkageName
        self.container = container
        self.containerStart = containerStart
        self.unit = unit
    }
}

public enum TypeKind: String, Hashable, Sendable {
    case structure = "struct"
    case union
    case classType = "class"
    case enumeration = "enum"
}

/// How objects of a structure, union, class or enumeration lie in memory.
public struct TypeLayout: Hashable, Sendable {
    public var kind: TypeKind
    /// The key in `DebugUnit.types`; empty for an anonymous type.
    public var name: String
    /// Bytes.
    public var size: UInt64
    /// Bytes, where the source asks for an alignment; else 0.
    public var alignment: UInt64 = 0
    public var members: [Member]
    public var enumerators: [Enumerator]
    /// Virtual functions that a class declares itself.
    public var virtualFunctions: [VirtualFunction] = []

    public init(
        kind: TypeKind, name: String, size: UInt64, members: [Member] = [], enumerators: [Enumerator] = []
    ) {
        self.kind = kind
        self.name = name
        self.size = size
        self.members = members
        self.enumerators = enumerators
    }
}

/// A member, or (in C++) a base.
public struct Member: Hashable, Sendable {
    /// Empty for an anonymous structure or union; a base has its type's name.
    public var name: String
    /// Byte offset in the type; of a bit-field, that of the byte its first bit lies in.
    public var offset: UInt64
    /// First bit within that byte (0 to 7), and bits, of a bit-field.
    public var bitOffset: UInt64
    public var bitSize: UInt64?
    public var type: TypeShape
    /// `const`, `volatile`, `_Atomic` of the member itself, in the source's order.
    public var qualifiers: [String] = []

    public init(name: String, offset: UInt64, bitOffset: UInt64 = 0, bitSize: UInt64? = nil, type: TypeShape) {
        self.name = name
        self.offset = offset
        self.bitOffset = bitOffset
        self.bitSize = bitSize
        self.type = type
    }
}

/// A place in the table that every object of a class points to.
public struct VirtualFunction: Hashable, Sendable {
    /// The symbol's, where the compiler says it.
    public var name: String
    /// Number of the place; nil where the compiler doesn't say it.
    public var slot: UInt64?

    public init(name: String, slot: UInt64?) {
        self.name = name
        self.slot = slot
    }
}

public struct Enumerator: Hashable, Sendable {
    public var name: String
    public var value: Int64

    public init(name: String, value: Int64) {
        self.name = name
        self.value = value
    }
}
