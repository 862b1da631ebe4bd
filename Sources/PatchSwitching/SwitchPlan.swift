import PatchFormat
import PatchRegistry

/// Five bytes at an entry, and what must stand there before.
struct EntryWrite: Sendable, Hashable {
    var address: UInt64
    var expected: [UInt8]
    var bytes: [UInt8]
    var function: String
}

/// One byte switch, and the value it gets.
struct SwitchWrite: Sendable, Hashable {
    var address: UInt64
    var value: UInt8
}

/// All that happens while a process stands still, computed before.
package struct SwitchPlan: Sendable {
    var reference: PatchReference
    /// What no thread may be in or return to.
    var forbidden: ScanTable
    /// What no thread's registers may point into, in addition.
    var forbiddenInRegisters: ScanTable
    /// Written first, when switching on: changes nothing that the program does.
    var entries: [EntryWrite]
    /// Written before the entries when switching off, and after them when switching on.
    var switches: [SwitchWrite]
    /// Written after the switch when switching on, and before it when switching off.
    var values: [ValueWrite]
    var isActivation: Bool
    /// The registry's selector word, and the value that it must still have.
    var selectorAddress: UInt64
    var selector: UInt64
}

extension SwitchPlan {
    /// Switching a loaded patch on.
    /// - Parameter consistency: what is asked for, the manifest's or the command line's.
    package static func activation(
        of patch: RegisteredPatch, in state: RegistryState, consistency: Consistency, selector: RegistrySelector
    ) -> SwitchPlan {
        let functions = patch.functions
        let others = state.overlapping(functions, except: patch.reference)
        var forbidden = functions.map(ScanTable.insideEntry)
        var registers: [ScanTable.Interval] = []
        if consistency == .stack {
            forbidden += functions.flatMap(ScanTable.original)
            forbidden += patch.modules.flatMap(ScanTable.code)
            for other in others {
                forbidden += replacedCode(of: other, by: patch)
                registers += other.modules.flatMap(ScanTable.code)
            }
        }
        let entries = functions.map { function in
            let holder = state.holder(ofEntry: function.entry, except: patch.reference)?.1
            return EntryWrite(
                address: function.entry, expected: bytesOfHex(holder?.jump ?? function.saved) ?? [],
                bytes: bytesOfHex(function.jump) ?? [], function: function.name)
        }
        let superseded = others.filter { patch.supersedes.contains($0.reference) }
        return SwitchPlan(
            reference: patch.reference, forbidden: ScanTable(forbidden),
            forbiddenInRegisters: ScanTable(forbidden + registers), entries: entries,
            switches: [SwitchWrite(address: patch.switchAddress, value: 1)]
                + superseded.map { SwitchWrite(address: $0.switchAddress, value: 0) },
            values: patch.valuesToWrite(isRecovery: false) { _ in true }, isActivation: true,
            selectorAddress: selector.address, selector: selector.value)
    }

    /// The code of another active patch that no call may be in when this one takes its place.
    private static func replacedCode(of other: RegisteredPatch, by patch: RegisteredPatch) -> [ScanTable.Interval] {
        if patch.supersedes.contains(other.reference) { return other.modules.flatMap(ScanTable.code) }
        let entries = Set(patch.functions.map(\.entry))
        return other.functions.filter { entries.contains($0.entry) }.flatMap { function in
            (function.newRanges + function.oldRanges).filter { $0.size > 0 }.map {
                ScanTable.Interval(first: $0.address, last: $0.end, name: function.name)
            }
        }
    }

    /// Switching a patch off, every entry restored.
    /// - Parameter present: whether the function's target is still mapped (trap dlclosed).
    package static func deactivation(
        of patch: RegisteredPatch, in state: RegistryState, consistency: Consistency, selector: RegistrySelector,
        present: (RegisteredModule) -> Bool
    ) -> SwitchPlan {
        var forbidden = patch.functions.map(ScanTable.insideEntry)
        if consistency == .stack { forbidden += patch.modules.flatMap(ScanTable.code) }
        let entries = patch.modules.filter(present).flatMap(\.functions).map { function in
            let below = state.holder(ofEntry: function.entry, except: patch.reference)?.1
            return EntryWrite(
                address: function.entry, expected: bytesOfHex(function.jump) ?? [],
                bytes: bytesOfHex(below?.jump ?? function.saved) ?? [], function: function.name)
        }
        return SwitchPlan(
            reference: patch.reference, forbidden: ScanTable(forbidden), forbiddenInRegisters: ScanTable(forbidden),
            entries: entries, switches: [SwitchWrite(address: patch.switchAddress, value: 0)],
            values: patch.valuesToPutBack(present: present), isActivation: false,
            selectorAddress: selector.address, selector: selector.value)
    }

    /// The same switch, that leaves every value as it is.
    package var withoutValues: SwitchPlan {
        var plan = self
        plan.values = []
        return plan
    }

    /// The values that an activation which did not finish may have left unwritten. Its switch is on.
    package static func completion(
        of patch: RegisteredPatch, selector: RegistrySelector, present: (RegisteredModule) -> Bool
    ) -> SwitchPlan {
        SwitchPlan(
            reference: patch.reference, forbidden: ScanTable([]), forbiddenInRegisters: ScanTable([]), entries: [],
            switches: [], values: patch.valuesToWrite(isRecovery: true, present: present), isActivation: true,
            selectorAddress: selector.address, selector: selector.value)
    }
}
