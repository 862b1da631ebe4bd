import PatchFormat

/// What is applied to a process, as recorded in its own memory: all that later commands need without the bundle.
///
/// All addresses are addresses in the process.
struct RegistryState: Codable, Hashable, Sendable {
    /// 2: calls; 3: values; 4: choices; 5: targets that were left out. What an older program does not know of, it would lose.
    static let currentFormat = 5
    var format = RegistryState.currentFormat
    /// Counts the states written.
    var generation: UInt64 = 0
    var patches: [RegisteredPatch] = []

    func index(of reference: PatchReference) -> Int? {
        patches.firstIndex { $0.id == reference.id && $0.manifestDigest == reference.manifestDigest }
    }
}

/// Where a patch is on its way. Those ending in `-ing` are intents: found by a later command, they mean that the
/// command that wrote them did not finish.
public enum PatchState: String, Codable, Sendable {
    case loading, loaded, activating, active, deactivating, unloading
    /// Calls that the load needs are being made: initialisers, what the unwinder is told.
    case initialising
    /// The unwinder is being told to forget the module, which then is unmapped.
    case retiring
    /// A call was begun and did not return: mapped, and never used again.
    case failed
    /// Inactive, and kept mapped because something may still point into it; used again by the next load.
    case resident
    /// Mapped and entered only through the patch that replaced it.
    case superseded

    var isIntent: Bool {
        switch self {
        case .loading, .activating, .deactivating, .unloading, .initialising, .retiring: true
        case .loaded, .active, .resident, .superseded, .failed: false
        }
    }
}

extension PatchState {
    /// Mapped only because it can't be unmapped.
    var isLeftOver: Bool { self == .resident || self == .failed }
}

struct RegisteredPatch: Codable, Hashable, Sendable {
    var id: String
    var manifestDigest: String
    var sequence: Int
    var state: PatchState
    var consistency: Consistency
    var requires: [PatchReference]
    var supersedes: [PatchReference]
    /// The code has run: pointers to it may be anywhere.
    var wasActive = false
    /// Why it can't be unmapped, when that is known.
    var resident: String?
    /// Digest of all modules' bytes as relocated: equal only if everything outside still lies where it lay.
    var linkDigest: String
    /// One for each target that the process took, in the manifest's order.
    var modules: [RegisteredModule]
    /// The bundle's other targets; nil when there are none, and in records of formats before 5.
    var leftOut: [RegisteredTarget]?
    /// The one byte.
    var switchAddress: UInt64
    /// Nil when nothing had to be called.
    var calls: RegisteredCalls?

    var reference: PatchReference { PatchReference(id: id, manifestDigest: manifestDigest) }
    var functions: [RegisteredFunction] { modules.flatMap(\.functions) }
    var values: [RegisteredValue] { modules.flatMap { $0.values ?? [] } }
    /// Whether the entries of the target hold (or may hold) this patch's jumps.
    var mayHoldEntries: Bool { state == .active || state == .activating || state == .deactivating }
}

/// A target of the bundle that the process did not take.
struct RegisteredTarget: Codable, Hashable, Sendable {
    var buildID: String
    var file: String

    init(_ target: ManifestTarget) { (buildID, file) = (target.buildID, target.file) }
}

struct RegisteredModule: Codable, Hashable, Sendable {
    var buildID: String
    var file: String
    var targetBias: UInt64
    var base: UInt64
    var size: UInt64
    var segments: [RegisteredSegment]
    var functions: [RegisteredFunction]
    /// Nil when there are none, and in records of formats before 3.
    var values: [RegisteredValue]?

    var range: AddressRange { AddressRange(address: base, size: size) }
}

struct RegisteredSegment: Codable, Hashable, Sendable {
    var address: UInt64
    var size: UInt64
    /// `PROT_…`
    var protection: Int32
    /// Digest of the bytes as loaded; nil for writable ones.
    var digest: String?
}

struct RegisteredFunction: Codable, Hashable, Sendable {
    var name: String
    /// The original body in the target, its `.cold` halves after it.
    var ranges: [AddressRange]
    /// Digest of the original bytes, as in the manifest.
    var digest: String
    var endsWithCall: Bool
    var abiCoupled: Bool
    /// The 5 bytes of the target that the jump overwrites.
    var entry: UInt64
    /// Original bytes at the entry, and the jump, in hexadecimal.
    var saved: String
    var jump: String
    var stub: UInt64
    var oldSlot: UInt64
    var newRanges: [AddressRange]
    var oldRanges: [AddressRange]
    /// Manifest digest of the patch whose stub this one's old slot leads to, when it was built on that patch.
    var stackedOn: String?

    var entryRange: AddressRange { AddressRange(address: entry, size: UInt64(Entry.jumpLength)) }
}

/// Why a variable holds the value that it holds.
public enum ValueOutcome: String, Codable, Sendable {
    /// To be written in the switch that is under way.
    case intended
    /// Written by the patch, which puts the original back.
    case written
    /// It held the new value already: nothing was written.
    case same
    /// It held neither: the program had changed it, and it was left alone.
    case changed
}

/// A word of the target's data that gets another value at the switch.
struct RegisteredValue: Codable, Hashable, Sendable {
    var name: String
    var address: UInt64
    /// In hexadecimal, at most 8 bytes.
    var original: String
    var new: String
    /// Nil while the patch is not active.
    var outcome: ValueOutcome?

    var range: AddressRange { AddressRange(address: address, size: UInt64(original.utf8.count / 2)) }
}

extension RegisteredPatch {
    /// Changes what is known of each value.
    mutating func updateValues(_ change: (RegisteredValue) -> ValueOutcome?) {
        for module in modules.indices {
            guard let values = modules[module].values else { continue }
            modules[module].values = values.map { value in
                var value = value
                value.outcome = change(value)
                return value
            }
        }
    }
}

extension AddressRange {
    func overlaps(_ other: AddressRange) -> Bool { address < other.end && other.address < end }

    /// End without wrapping; nil for a range that passes the end of the address space.
    var checkedEnd: UInt64? {
        let (end, overflow) = address.addingReportingOverflow(size)
        return overflow ? nil : end
    }
}
