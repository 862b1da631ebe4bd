import PatchFormat
import ProcessImage

extension RegistryState {
    /// The patch whose jump stands at this entry, if any patch's does.
    package func holder(ofEntry address: UInt64, except reference: PatchReference? = nil) -> (
        RegisteredPatch, RegisteredFunction
    )? {
        // The latest patch built on another one is entered first.
        for patch in patches.reversed() where patch.state == .active && patch.reference != reference {
            if let function = patch.functions.first(where: { $0.entry == address }) { return (patch, function) }
        }
        return nil
    }

    /// Active patches that replace a function which this one replaces too.
    package func overlapping(_ functions: [RegisteredFunction], except reference: PatchReference) -> [RegisteredPatch] {
        let ranges = functions.flatMap(\.ranges).sorted { $0.address < $1.address }
        return patches.filter { patch in
            patch.reference != reference && patch.state == .active
                && patch.functions.flatMap(\.ranges).contains { other in
                    ranges.contains { $0.overlaps(other) }
                }
        }
    }

    /// The patches that must go before this one may.
    package func dependents(of patch: RegisteredPatch) -> [RegisteredPatch] {
        patches.filter { other in
            other.reference != patch.reference && !other.state.isLeftOver
                && other.requires.contains(patch.reference)
        }
    }

    /// Patches whose old way leads through this one's stubs: it must stay mapped.
    package func stackedUpon(_ patch: RegisteredPatch) -> [RegisteredPatch] {
        patches.filter { other in
            other.reference != patch.reference && other.functions.contains { $0.stackedOn == patch.manifestDigest }
        }
    }
}

extension RegistryState {
    package mutating func markActive(_ reference: PatchReference, _ outcomes: ValueOutcomes) {
        guard let index = index(of: reference) else { return }
        patches[index].state = .active
        patches[index].wasActive = true
        patches[index].updateValues { outcomes[$0.address] ?? $0.outcome }
        for old in patches[index].supersedes {
            if let lower = self.index(of: old), patches[lower].state == .active {
                patches[lower].state = .superseded
            }
        }
    }

    /// Whatever it superseded is inactive too: the entries are the original's.
    package mutating func markInactive(_ reference: PatchReference) {
        guard let index = index(of: reference) else { return }
        patches[index].state = .loaded
        // What an unfinished activation has written led into the module (trap intended-counts).
        patches[index].wasActive = true
        patches[index].updateValues { _ in nil }
        for old in patches[index].supersedes {
            if let lower = self.index(of: old), patches[lower].state == .superseded {
                patches[lower].state = .loaded
            }
        }
    }
}

extension RegistryState {
    /// What must stand at a function's entry, in hexadecimal: the jump of the patch that holds it, or the original bytes.
    package func expectedEntry(of function: RegisteredFunction) -> String {
        holder(ofEntry: function.entry)?.1.jump ?? function.saved
    }
}

extension LoadedProcess {
    /// What stands at a function's entry, in hexadecimal.
    package func entryBytes(of function: RegisteredFunction) throws -> String {
        Digest.hexadecimal(try view.read(function.entry, UInt64(Entry.jumpLength)).bytes)
    }
}
