import PatchFormat

/// What is applied to a process, as recorded in its own memory: all that later commands need without the bundle.
///
/// All addresses are addresses in the process.
package struct RegistryState: Codable, Hashable, Sendable {
    /// 2: calls; 3: values; 4: choices; 5: targets that were left out. What an older program does not know of, it would lose.
    static let currentFormat = 5
    package var format = RegistryState.currentFormat
    /// Counts the states written.
    var generation: UInt64 = 0
    package var patches: [RegisteredPatch] = []

    package init(patches: [RegisteredPatch] = []) { self.patches = patches }

    package func index(of reference: PatchReference) -> Int? {
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

    package var isIntent: Bool {
        switch self {
        case .loading, .activating, .deactivating, .unloading, .initialising, .retiring: true
        case .loaded, .active, .resident, .superseded, .failed: false
        }
    }
}

extension PatchState {
    /// Mapped only because it can't be unmapped.
    package var isLeftOver: Bool { self == .resident || self == .failed }
}

package struct RegisteredPatch: Codable, Hashable, Sendable {
    package var id: String
    package var manifestDigest: String
    package var sequence: Int
    package var state: PatchState
    package var consistency: Consistency
    package var requires: [PatchReference]
    package var supersedes: [PatchReference]
    /// The code has run, or may have: pointers to it may be anywhere.
    package var wasActive = false
    /// Digest of all modules' bytes as relocated: equal only if everything outside still lies where it lay.
    package var linkDigest: String
    /// One for each target that the process took, in the manifest's order.
    package var modules: [RegisteredModule]
    /// The bundle's other targets; nil when there are none, and in records of formats before 5.
    package var leftOut: [RegisteredTarget]?
    /// The one byte.
    package var switchAddress: UInt64
    /// Nil when nothing had to be called.
    package var calls: RegisteredCalls?

    package init(
        id: String, manifestDigest: String, sequence: Int, state: PatchState, consistency: Consistency,
        requires: [PatchReference], supersedes: [PatchReference], linkDigest: String,
        modules: [RegisteredModule], leftOut: [RegisteredTarget]? = nil, switchAddress: UInt64,
        calls: RegisteredCalls? = nil
    ) {
        self.id = id
        self.manifestDigest = manifestDigest
        self.sequence = sequence
        self.state = state
        self.consistency = consistency
        self.requires = requires
        self.supersedes = supersedes
        self.linkDigest = linkDigest
        self.modules = modules
        self.leftOut = leftOut
        self.switchAddress = switchAddress
        self.calls = calls
    }

    package var reference: PatchReference { PatchReference(id: id, manifestDigest: manifestDigest) }
    package var functions: [RegisteredFunction] { modules.flatMap(\.functions) }
    package var values: [RegisteredValue] { modules.flatMap { $0.values ?? [] } }
    /// Whether the entries of the target hold (or may hold) this patch's jumps.
    package var mayHoldEntries: Bool { state == .active || state == .activating || state == .deactivating }
}

/// A target of the bundle that the process did not take.
package struct RegisteredTarget: Codable, Hashable, Sendable {
    package var buildID: String
    package var file: String

    package init(_ target: ManifestTarget) { (buildID, file) = (target.buildID, target.file) }
}

package struct RegisteredModule: Codable, Hashable, Sendable {
    package var buildID: String
    package var file: String
    package var targetBias: UInt64
    package var base: UInt64
    package var size: UInt64
    package var segments: [RegisteredSegment]
    package var functions: [RegisteredFunction]
    /// Nil when there are none, and in records of formats before 3.
    package var values: [RegisteredValue]?

    package init(
        buildID: String, file: String, targetBias: UInt64, base: UInt64, size: UInt64, segments: [RegisteredSegment],
        functions: [RegisteredFunction], values: [RegisteredValue]? = nil
    ) {
        self.buildID = buildID
        self.file = file
        self.targetBias = targetBias
        self.base = base
        self.size = size
        self.segments = segments
        self.functions = functions
        self.values = values
    }

    package var range: AddressRange { AddressRange(address: base, size: size) }
}

package struct RegisteredSegment: Codable, Hashable, Sendable {
    package var address: UInt64
    package var size: UInt64
    /// `PROT_…`
    package var protection: Int32
    /// Digest of the bytes as loaded; nil for writable ones.
    package var digest: String?

    package init(address: UInt64, size: UInt64, protection: Int32, digest: String? = nil) {
        self.address = address
        self.size = size
        self.protection = protection
        self.digest = digest
    }
}

package struct RegisteredFunction: Codable, Hashable, Sendable {
    package var name: String
    /// The original body in the target, its `.cold` halves after it.
    package var ranges: [AddressRange]
    /// Digest of the original bytes, as in the manifest.
    package var digest: String
    package var endsWithCall: Bool
    package var abiCoupled: Bool
    /// The 5 bytes of the target that the jump overwrites.
    package var entry: UInt64
    /// Original bytes at the entry, and the jump, in hexadecimal.
    package var saved: String
    package var jump: String
    package var stub: UInt64
    package var oldSlot: UInt64
    package var newRanges: [AddressRange]
    package var oldRanges: [AddressRange]
    /// Manifest digest of the patch whose stub this one's old slot leads to, when it was built on that patch.
    package var stackedOn: String?

    package init(
        name: String, ranges: [AddressRange], digest: String, endsWithCall: Bool, abiCoupled: Bool, entry: UInt64,
        saved: String, jump: String, stub: UInt64, oldSlot: UInt64, newRanges: [AddressRange],
        oldRanges: [AddressRange], stackedOn: String? = nil
    ) {
        self.name = name
        self.ranges = ranges
        self.digest = digest
        self.endsWithCall = endsWithCall
        self.abiCoupled = abiCoupled
        self.entry = entry
        self.saved = saved
        self.jump = jump
        self.stub = stub
        self.oldSlot = oldSlot
        self.newRanges = newRanges
        self.oldRanges = oldRanges
        self.stackedOn = stackedOn
    }

    package var entryRange: AddressRange { AddressRange(address: entry, size: UInt64(Entry.jumpLength)) }
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
package struct RegisteredValue: Codable, Hashable, Sendable {
    package var name: String
    package var address: UInt64
    /// In hexadecimal, at most 8 bytes.
    package var original: String
    package var new: String
    /// Nil while the patch is not active.
    package var outcome: ValueOutcome?

    package init(name: String, address: UInt64, original: String, new: String, outcome: ValueOutcome? = nil) {
        self.name = name
        self.address = address
        self.original = original
        self.new = new
        self.outcome = outcome
    }

    package var range: AddressRange { AddressRange(address: address, size: UInt64(original.utf8.count / 2)) }
}

/// By address: how each value fared.
package typealias ValueOutcomes = [UInt64: ValueOutcome]

extension RegisteredPatch {
    /// Changes what is known of each value.
    package mutating func updateValues(_ change: (RegisteredValue) -> ValueOutcome?) {
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
    package func overlaps(_ other: AddressRange) -> Bool { address < other.end && other.address < end }

    /// End without wrapping; nil for a range that passes the end of the address space.
    var checkedEnd: UInt64? {
        let (end, overflow) = address.addingReportingOverflow(size)
        return overflow ? nil : end
    }
}
