import Diagnostics
import ElfFormat
import PatchFormat
import PatchRegistry
import ProcessImage

/// Values that a patch gives to variables of the targets.
struct ValueChecks {
    let process: LoadedProcess
    let state: RegistryState

    private var subject: String { process.subject }

    /// A variable has one patch to itself: else one of them would put back what is the other's.
    func check(_ manifest: Manifest, _ objects: [LoadedObject]) throws {
        try refuseToSupersede(manifest.supersedes, by: manifest.id) { !$0.state.isLeftOver }
        let others = state.patches.filter { $0.id != manifest.id && !$0.state.isLeftOver }
        for value in zip(manifest.targets, objects).flatMap({ RegisteredValue.values(of: $0, in: $1) }) {
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
    func refuseToSupersede(
        _ superseded: [PatchReference], by id: String, where condition: (RegisteredPatch) -> Bool
    ) throws {
        for old in superseded.compactMap({ state.index(of: $0) }).map({ state.patches[$0] })
        where !old.values.isEmpty && condition(old) {
            throw Refusal(
                .overlap, subject: id,
                why: "it supersedes \(old.id), which writes values of variables in \(subject)",
                remedy: "revert that one first")
        }
    }

    /// Only variables are written: in the target's writable segments.
    func checkPlaces(_ target: ManifestTarget, _ object: LoadedObject) throws {
        for value in target.values {
            let size = UInt64(value.original.utf8.count / 2)
            guard object.isInside(value.address, size, PF.write) else {
                throw Refusal(
                    .badBundle, subject: value.name, why: "it lies outside the writable memory of \(target.file)")
            }
        }
    }
}

extension RegisteredPatch {
    /// The journal's entry for the values, before an activation.
    mutating func markValuesIntended(_ view: ProcessView) {
        updateValues { value in
            let found = try? view.read(value.address, value.range.size).bytes
            guard found == bytesOfHex(value.new) else { return .intended }
            return value.outcome == .written ? .written : .same
        }
    }

    /// For the reader: what the switch left alone.
    /// - Parameter outcomes: of a switch that put the values back; nil after one that wrote them.
    func valueNotes(putBack outcomes: ValueOutcomes? = nil) -> [String] {
        guard let outcomes else { return values.compactMap(\.note) }
        return values.filter { outcomes[$0.address] == .changed }.map {
            "\($0.name) at \(hex($0.address)): the program has changed it since; it was left alone"
        }
    }
}

extension RegisteredValue {
    /// The values of a target, where the process has them.
    static func values(of target: ManifestTarget, in object: LoadedObject) -> [RegisteredValue] {
        target.values.map {
            RegisteredValue(
                name: $0.name, address: object.bias &+ $0.address, original: $0.original, new: $0.new, outcome: nil)
        }
    }

    /// What there is to know of a value that the patch has not written.
    var note: String? {
        switch outcome {
        case .changed: "\(name) at \(hex(address)): its new value was not written: the program had changed it"
        case .same: "\(name) at \(hex(address)): its new value was not written: it had it already"
        case .written, .intended, nil: nil
        }
    }
}
