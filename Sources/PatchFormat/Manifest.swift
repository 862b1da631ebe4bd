import ElfFormat

/// `manifest.json` of a bundle: what the patch is, what it needs, and where everything in its modules lies.
///
/// All addresses are virtual addresses as in the ELF file they speak of (not load addresses), in bytes.
/// Digests are SHA-256 in lower-case hexadecimal.
public struct Manifest: Codable, Hashable, Sendable {
    /// `MAJOR.MINOR`; a reader refuses an unknown major version.
    public var formatVersion = "1.1"
    public var id: String
    public var sequence = 0
    /// RFC 3339, UTC. Absent when `SOURCE_DATE_EPOCH` is not set: the same inputs give the same bytes.
    public var created: String?
    public var expires: String?
    public var cves: [String] = []
    public var requires: [PatchReference] = []
    public var supersedes: [PatchReference] = []
    public var conflicts: [String] = []
    public var consistency: Consistency = .stack
    public var decisions: [Decision] = []
    /// What no rule can decide, for whoever signs the patch: constants with another value, and what they reach.
    public var review: [String] = []
    public var targets: [ManifestTarget]
    /// Build-ids of targets that switch together: a process takes each group of which it maps every target. Groups may
    /// share targets. Absent: one group, of all targets.
    public var groups: [[String]]?
    /// Every member of the archive but the manifest and the signatures.
    public var members: [MemberDigest] = []
    public var provenance = Provenance()

    public init(id: String, targets: [ManifestTarget]) {
        self.id = id
        self.targets = targets
    }
}

/// A patch named by what it is, not only by what it is called.
public struct PatchReference: Codable, Hashable, Sendable {
    public var id: String
    public var manifestDigest: String
    public init(id: String, manifestDigest: String) {
        self.id = id
        self.manifestDigest = manifestDigest
    }
}

/// When the switch may happen.
public enum Consistency: String, Codable, Sendable {
    /// No thread has a replaced function on its stack.
    case stack
    /// Calls in progress finish in the old code, new calls enter the new one (PANNUS).
    case entry
}

/// An engineer's recorded `--allow RULE=SUBJECT`.
public struct Decision: Codable, Hashable, Sendable {
    public var rule: String
    public var subject: String
    /// What the rule said when it was overridden.
    public var why: String
    public init(rule: String, subject: String, why: String) {
        self.rule = rule
        self.subject = subject
        self.why = why
    }
}

public struct MemberDigest: Codable, Hashable, Sendable {
    public var name: String
    public var size: Int
    public var digest: String
    public init(name: String, size: Int, digest: String) {
        self.name = name
        self.size = size
        self.digest = digest
    }
}

/// Where the patch comes from.
public struct Provenance: Codable, Hashable, Sendable {
    /// Digest over the touched files as they were, by path.
    public var sourceDigest = ""
    /// Digest of each diff, in the order given.
    public var diffDigests: [String] = []
    /// `DW_AT_producer` of the units.
    public var compilers: [String] = []
    /// The recorded command of each unit, in which paths are relative to the source tree.
    public var commands: [String] = []
    /// The program that made the bundle, with its version. This and what follows is absent in bundles of older versions.
    public var builder: String?
    /// The program that linked the modules, as it calls itself.
    public var linker: String?
    /// The files that were given as targets, in their order, those in which nothing changes included.
    public var targets: [TargetInput]?
    /// The objects that were compared, in their order, where no sources were given.
    public var objects: [ObjectInput]?
    public init() {}
}

/// A file that the patch was made for.
public struct TargetInput: Codable, Hashable, Sendable {
    /// Without directories.
    public var file: String
    public var buildID: String
    /// Of the whole file.
    public var digest: String
    /// Where another file named its symbols.
    public var symbols: SymbolsOrigin?
    public init(file: String, buildID: String, digest: String, symbols: SymbolsOrigin? = nil) {
        self.file = file
        self.buildID = buildID
        self.digest = digest
        self.symbols = symbols
    }
}

/// What kind of file named a target's symbols. (No digest: debug information makes files differ whose symbols are the same.)
public enum SymbolsOrigin: String, Codable, Sendable {
    /// It has the target's build-id.
    case sameBuild
    /// Another build of the same source.
    case rebuild
}

/// A pair of objects that was compared.
public struct ObjectInput: Codable, Hashable, Sendable {
    /// The name under which functions refer to it.
    public var name: String
    public var originalDigest: String
    public var newDigest: String
    public init(name: String, originalDigest: String, newDigest: String) {
        self.name = name
        self.originalDigest = originalDigest
        self.newDigest = newDigest
    }
}

/// One ELF file that is patched, and its module.
public struct ManifestTarget: Codable, Hashable, Sendable {
    /// The file's name without directories.
    public var file: String
    /// GNU build-id in lower-case hexadecimal.
    public var buildID: String
    /// The archive member that holds the module: `modules/<build-id>.so`.
    public var module: String
    public var functions: [PatchedFunction]
    /// Indexed by the records of the module's `.livepatch.bindings`.
    public var bindings: [Binding]
    public var data: [DataItem]
    /// Variables of the target that get another value, each by a recorded decision.
    public var values: [ValuePatch]
    public var layout: ModuleLayout

    public init(
        file: String, buildID: String, functions: [PatchedFunction], bindings: [Binding], data: [DataItem],
        values: [ValuePatch] = [], layout: ModuleLayout
    ) {
        self.file = file
        self.buildID = buildID
        self.module = "modules/\(buildID).so"
        self.functions = functions
        self.bindings = bindings
        self.data = data
        self.values = values
        self.layout = layout
    }
}

/// Half-open range of addresses `[address, address + size)`.
public struct AddressRange: Codable, Hashable, Sendable {
    public var address: UInt64
    public var size: UInt64
    public init(address: UInt64, size: UInt64) {
        self.address = address
        self.size = size
    }
    public var end: UInt64 { address + size }
}

public enum FunctionChange: String, Codable, Sendable {
    case changed
    /// Not in the target: reached only from the module.
    case new
}

/// A function of the module: one that replaces a function of the target, or a new one.
public struct PatchedFunction: Codable, Hashable, Sendable {
    public var name: String
    /// The object file it was compiled to, as in the recorded command.
    public var object: String
    public var change: FunctionChange
    /// Why it is in the module, for a reader.
    public var reason: String
    /// How and where the target's function is entered; nil for `new`.
    public var original: OriginalFunction?
    /// The new body in the module, `.cold` halves included.
    public var newRanges: [AddressRange]
    /// The copy of the original body in the module; empty for padded entries and new functions.
    public var oldRanges: [AddressRange]
    /// Address in the module of the stub the entry jumps to; nil for `new`.
    public var stub: UInt64?
    /// Address in the module of the 8-byte pointer the stub jumps through while the switch is off; nil for `new`.
    public var oldSlot: UInt64?

    public init(
        name: String, object: String, change: FunctionChange, reason: String, original: OriginalFunction? = nil,
        newRanges: [AddressRange] = [], oldRanges: [AddressRange] = [], stub: UInt64? = nil, oldSlot: UInt64? = nil
    ) {
        self.name = name
        self.object = object
        self.change = change
        self.reason = reason
        self.original = original
        self.newRanges = newRanges
        self.oldRanges = oldRanges
        self.stub = stub
        self.oldSlot = oldSlot
    }
}

/// A function of the target that is replaced.
public struct OriginalFunction: Codable, Hashable, Sendable {
    /// The function's address in the target, and its size. (`offset` in the manifest's words.)
    public var range: AddressRange
    /// `.cold` halves and other parts in the target.
    public var coldRanges: [AddressRange]
    /// Digest of the bytes of `range` followed by those of each of `coldRanges`, as in the file.
    public var digest: String
    public var entry: Entry
    /// The range (or a cold one) ends with a call that does not return, so a return address may equal its end
    /// (trap noreturn-end).
    public var endsWithCall: Bool
    /// Calls in progress in the old code can't go on beside new ones, so entry consistency is refused: callers that
    /// changed too rely on its register use (trap ipa-contract), or it loops to its own entry (trap loop-to-entry).
    public var abiCoupled: Bool
    /// Other names of the same address.
    public var aliases: [String]
    /// The target calls the function by this symbol, and other objects of a process may define it too (vague linkage): the
    /// process must use the target's definition. Nil when it uses no other anyway.
    public var chosenAs: ProcessSymbol?

    public init(
        range: AddressRange, coldRanges: [AddressRange], digest: String, entry: Entry, endsWithCall: Bool,
        abiCoupled: Bool = false, aliases: [String] = [], chosenAs: ProcessSymbol? = nil
    ) {
        self.range = range
        self.coldRanges = coldRanges
        self.digest = digest
        self.entry = entry
        self.endsWithCall = endsWithCall
        self.abiCoupled = abiCoupled
        self.aliases = aliases
        self.chosenAs = chosenAs
    }
}

/// A symbol as the dynamic linker looks it up.
public struct ProcessSymbol: Codable, Hashable, Sendable {
    public var name: String
    public var version: String?
    public init(name: String, version: String? = nil) {
        self.name = name
        self.version = version
    }
}

/// How a function's entry takes a jump.
public enum EntryKind: String, Codable, Sendable {
    /// At least 5 bytes of nops at the jump's place: the original body goes on behind them.
    case padded
    /// The jump overwrites real instructions: the original body goes on in a copy.
    case bare
    /// Can't take a jump.
    case none
}

public struct Entry: Codable, Hashable, Sendable {
    public var kind: EntryKind
    /// Bytes from the function's first byte to the 5-byte jump.
    public var jumpOffset: Int
    /// Bytes from the function's first byte to where the original body goes on, for padded entries; else 0.
    public var resumeOffset: Int
    public init(kind: EntryKind, jumpOffset: Int, resumeOffset: Int) {
        self.kind = kind
        self.jumpOffset = jumpOffset
        self.resumeOffset = resumeOffset
    }
    /// Bytes of `jmp rel32`.
    public static let jumpLength = 5
}

/// What a reference from the module to the outside stands for, decided at build as the target itself is bound.
public struct Binding: Codable, Hashable, Sendable {
    public enum Kind: String, Codable, Sendable {
        /// `address` in the target's file, plus where it is mapped.
        case target
        /// The value held by the target's own relocated 8-byte slot at `address` (GOT entry of a symbol that may be
        /// preempted, or of a library's symbol).
        case slot
        /// `symbol` at `version`, looked up in the process's global scope.
        case imported
        /// A thread-local of the target: `address` is its offset in the target's TLS segment.
        case threadLocal
        /// An address in this module's own file: `address`. For 32-bit absolute references of non-PIC code.
        case module
    }
    public var kind: Kind
    public var symbol: String
    public var address: UInt64
    /// For `imported`: symbol version, for example `GLIBC_2.14`; nil when the target's reference has none.
    public var version: String?
    /// For `imported`: the library that the target's version table names, for example `libc.so.6`.
    public var library: String?
    /// For `imported`: an unresolved reference is zero, not an error.
    public var weak: Bool
    /// For `target`: the process must find its own symbol of this name there; nothing shows what the link would do where
    /// another definition came first.
    public var chosenAs: ProcessSymbol?

    public init(
        kind: Kind, symbol: String, address: UInt64 = 0, version: String? = nil, library: String? = nil,
        weak: Bool = false, chosenAs: ProcessSymbol? = nil
    ) {
        self.kind = kind
        self.symbol = symbol
        self.address = address
        self.version = version
        self.library = library
        self.weak = weak
        self.chosenAs = chosenAs
    }
}

/// A data object that travels in the module because the target has none.
public struct DataItem: Codable, Hashable, Sendable {
    public var name: String
    public var object: String
    public var size: UInt64
    public var writable: Bool
    public init(name: String, object: String, size: UInt64, writable: Bool) {
        self.name = name
        self.object = object
        self.size = size
        self.writable = writable
    }
}

/// A writable variable of the target, or a part of one, whose initial value the fix changes. At activation the new value is
/// written if, and only if, memory still holds the original one; deactivation puts the original back.
public struct ValuePatch: Codable, Hashable, Sendable {
    public var name: String
    /// In the target.
    public var address: UInt64
    /// Lower-case hexadecimal, of equal length.
    public var original: String
    public var new: String
    public init(name: String, address: UInt64, original: String, new: String) {
        self.name = name
        self.address = address
        self.original = original
        self.new = new
    }
    /// No value crosses an aligned word, so that each is written at once.
    public static let maximumSize = 8
    /// Of a target: all are compared and written while the process stands still.
    public static let maximumCount = 1024
}

/// Unwind data that the process must know, so that exceptions can pass through the module's functions.
public struct ModuleUnwind: Codable, Hashable, Sendable {
    /// The module's records of the form of `.eh_frame`, which end with four zero bytes.
    public var table: AddressRange
    /// 64 writable bytes of zeros in the module, aligned to 8: libgcc's `struct object`.
    public var object: UInt64
    public init(table: AddressRange, object: UInt64) {
        self.table = table
        self.object = object
    }
    public static let objectSize: UInt64 = 64
}

/// Where the applier finds its own things in a module.
public struct ModuleLayout: Codable, Hashable, Sendable {
    /// Address of `.livepatch.switch`: byte 0 is the switch (0 original, 1 new) of a patch with one target. A patch
    /// with several has one switch, the first target's; every module's stubs then go through the pointer at
    /// `switchPointer`.
    public var switchAddress: UInt64
    /// Address of the 8-byte pointer to the switch byte; nil when stubs test the byte directly.
    public var switchPointer: UInt64?
    /// Address of `.livepatch.bindings`: `count` records of `BindingRecord.size` bytes.
    public var bindingTable: UInt64
    public var bindingCount: Int
    /// Size of the module in memory, in bytes, from address 0 to the end of its last segment.
    public var memorySize: UInt64
    /// Nil when nothing can throw or unwind through the module's functions.
    public var unwind: ModuleUnwind?
    /// The module's `.init_array`: 8-byte pointers to functions that run once at load, for objects that are new in the
    /// module; nil when there are none.
    public var initializers: AddressRange?

    public init(
        switchAddress: UInt64, switchPointer: UInt64? = nil, bindingTable: UInt64, bindingCount: Int,
        memorySize: UInt64, unwind: ModuleUnwind? = nil, initializers: AddressRange? = nil
    ) {
        self.switchAddress = switchAddress
        self.switchPointer = switchPointer
        self.bindingTable = bindingTable
        self.bindingCount = bindingCount
        self.memorySize = memorySize
        self.unwind = unwind
        self.initializers = initializers
    }
}

/// One record of `.livepatch.bindings`, little-endian, 24 bytes:
///
///     0  i32  place: address of the place minus the address of this field
///     4  u32  relocation type (`R_X86_64_…`), computed by the psABI's formula with S = the binding's value
///     8  u32  index into the manifest's `bindings` of the target
///     12 u32  zero
///     16 i64  addend
public struct BindingRecord: Hashable, Sendable {
    public static let size = 24
    /// Address of the place in the module's file.
    public var place: UInt64
    public var type: RelocationType
    public var binding: Int
    public var addend: Int64
    public init(place: UInt64, type: RelocationType, binding: Int, addend: Int64) {
        self.place = place
        self.type = type
        self.binding = binding
        self.addend = addend
    }
}
