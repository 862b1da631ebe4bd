import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl

/// A value that a switch writes, if memory holds what is expected.
struct ValueWrite: Sendable, Hashable {
    var address: UInt64
    var expected: [UInt8]
    var bytes: [UInt8]
    /// An earlier switch has written it: finding the new bytes, they are the patch's own.
    var isOwn: Bool

    var range: RemoteRange { RemoteRange(start: RemoteAddress(address), count: UInt64(bytes.count)) }
}

/// By address: how each value fared.
typealias ValueOutcomes = [UInt64: ValueOutcome]

extension RegisteredPatch {
    /// What an activation writes: what an unfinished one has written already counts as written when `isRecovery`.
    func valuesToWrite(isRecovery: Bool, present: (RegisteredModule) -> Bool) -> [ValueWrite] {
        modules.filter(present).flatMap { $0.values ?? [] }.compactMap { value in
            // A recovery goes on with what was begun, and nothing else.
            if isRecovery, value.outcome != .intended, value.outcome != .written { return nil }
            return ValueWrite(
                address: value.address, expected: bytesOfHex(value.original) ?? [], bytes: bytesOfHex(value.new) ?? [],
                isOwn: isRecovery || value.outcome == .written)
        }
    }

    /// What a deactivation puts back: only what the patch itself has written.
    func valuesToPutBack(present: (RegisteredModule) -> Bool) -> [ValueWrite] {
        modules.filter(present).flatMap { $0.values ?? [] }.filter { $0.outcome == .written }.map { value in
            ValueWrite(
                address: value.address, expected: bytesOfHex(value.new) ?? [], bytes: bytesOfHex(value.original) ?? [],
                isOwn: true)
        }
    }
}

extension StopCheck {
    /// Compares each value with what is expected, and writes those that agree; nothing else may change them meanwhile.
    static func writeValues(_ values: [ValueWrite], _ memory: RemoteMemory) throws -> ValueOutcomes {
        if values.isEmpty { return [:] }
        var outcomes: ValueOutcomes = [:]
        for (value, found) in zip(values, try memory.readMany(values.map(\.range))) {
            if found == value.expected {
                try memory.write(value.bytes, at: RemoteAddress(value.address))
                outcomes[value.address] = .written
            } else if found == value.bytes {
                outcomes[value.address] = value.isOwn ? .written : .same
            } else {
                outcomes[value.address] = .changed
            }
        }
        return outcomes
    }
}

extension Session {
    /// The journal's entry for the values of a patch that is to be activated.
    func markIntended(_ patch: inout RegisteredPatch) {
        patch.updateValues { value in
            let found = try? view.read(value.address, value.range.size).bytes
            guard found == bytesOfHex(value.new) else { return .intended }
            return value.outcome == .written ? .written : .same
        }
    }

    /// Makes sure, before the stop, that every value can be read and written in it; reads each once (trap blocked-read).
    func prepare(_ values: [ValueWrite]) throws {
        for value in values {
            let count = UInt64(value.bytes.count)
            guard view.isCovered(value.address, count, { $0.isReadable && $0.isWritable && !$0.isShared }) else {
                throw Refusal(
                    .unsupportedProcess, subject: subject,
                    why: "the variable at \(hex(value.address)) is not in private writable memory any more")
            }
            _ = try view.memory.read(RemoteAddress(value.address), count: value.bytes.count)
        }
    }

    /// For the reader: what the switch left alone.
    mutating func noteValues(_ reference: PatchReference, putBack outcomes: ValueOutcomes? = nil) {
        guard let patch = patch(reference) else { return }
        if let outcomes {
            let left = patch.values.filter { outcomes[$0.address] == .changed }
            notes += left.map {
                "\($0.name) at \(hex($0.address)): the program has changed it since; it was left alone"
            }
        } else {
            notes += patch.values.compactMap(\.note)
        }
    }

    /// A variable has one patch to itself: else one of them would put back what is the other's.
    func checkValues(_ manifest: Manifest, _ objects: [LoadedObject]) throws {
        try refuseToSupersedeValues(manifest.supersedes, by: manifest.id) { !$0.state.isLeftOver }
        let others = state.patches.filter { $0.id != manifest.id && !$0.state.isLeftOver }
        for value in zip(manifest.targets, objects).flatMap({ registeredValues($0, $1) }) {
            for other in others {
                guard let theirs = other.values.first(where: { $0.range.overlaps(value.range) }) else { continue }
                let isSame = (theirs.range, theirs.original, theirs.new) == (value.range, value.original, value.new)
                if isSame, manifest.requires.contains(other.reference) { continue }
                throw Refusal(
                    .overlap, subject: value.name,
                    why: "\(other.id), which is \(other.state.rawValue) in \(subject), writes its value too",
                    remedy: "revert that one first")
            }
        }
    }

    /// Nobody would put back what a superseded patch has written.
    func refuseToSupersedeValues(
        _ superseded: [PatchReference], by id: String, where condition: (RegisteredPatch) -> Bool
    ) throws {
        for old in superseded.compactMap({ patch($0) }) where !old.values.isEmpty && condition(old) {
            throw Refusal(
                .overlap, subject: id,
                why: "it supersedes \(old.id), which writes values of variables in \(subject)",
                remedy: "revert that one first")
        }
    }

    /// Only variables are written: in the target's writable segments.
    func checkValuePlaces(_ target: ManifestTarget, _ object: LoadedObject) throws {
        for value in target.values {
            let size = UInt64(value.original.utf8.count / 2)
            guard object.isInside(value.address, size, PF.write) else {
                throw Refusal(
                    .badBundle, subject: value.name, why: "it lies outside the writable memory of \(target.file)")
            }
        }
    }

    func registeredValues(_ target: ManifestTarget, _ object: LoadedObject) -> [RegisteredValue] {
        target.values.map {
            RegisteredValue(
                name: $0.name, address: object.bias &+ $0.address, original: $0.original, new: $0.new, outcome: nil)
        }
    }
}

extension RegisteredValue {
    /// What there is to know of a value that the patch has not written.
    var note: String? {
        switch outcome {
        case .changed: "\(name) at \(hex(address)): its new value was not written: the program had changed it"
        case .same: "\(name) at \(hex(address)): its new value was not written: it had it already"
        case .written, .intended, nil: nil
        }
    }
}
