import Diagnostics
import ElfFormat
import PatchFormat

/// What of a module is called at load: its unwind data is read by the process's unwinder, its initialisers run.
extension ModuleImage {
    /// Whether there is a function to tell the unwinder of.
    package var hasUnwindData: Bool { unwind.map { ((try? memory.u32($0.table.address)) ?? 0) != 0 } ?? false }

    /// The unwinder walks the table without bounds: every record must lead to the next, and the last to the end.
    func checkUnwindData() throws {
        guard let unwind else { return }
        let table = unwind.table
        guard isInside(table.address, table.size, PF.read), !isInside(table.address, 1, PF.write), table.size % 4 == 0,
            isInside(unwind.object, ModuleUnwind.objectSize, PF.write), unwind.object % 8 == 0,
            try memory.slice(unwind.object, ModuleUnwind.objectSize).allSatisfy({ $0 == 0 })
        else { throw memory.fault("its unwind data lies outside of its segments") }
        var place: UInt64 = 0
        var heads: Set<UInt64> = []
        while place &+ 4 <= table.size {
            let length = UInt64(try memory.u32(table.address &+ place))
            if length == 0 {
                guard place &+ 4 == table.size else { break }
                return
            }
            guard length >= 4, length < table.size, place &+ 4 &+ length <= table.size &- 4 else { break }
            let back = UInt64(try memory.u32(table.address &+ place &+ 4))
            if back == 0 {
                heads.insert(place)
            } else if !heads.contains(place &+ 4 &- back) {
                break
            }
            place += 4 + length
        }
        throw memory.fault("its unwind data is damaged")
    }

    /// The functions that `layout.initializers` points to, once the module is relocated.
    package func initialisers(_ layout: ModuleLayout, base: UInt64) throws -> [UInt64] {
        guard let array = layout.initializers else { return [] }
        return try stride(from: array.address, to: array.address + array.size, by: 8).map { place in
            let function = try memory.u64(place)
            guard function >= base, isInside(function &- base, 1, PF.execute) else {
                throw memory.fault("an initialiser lies outside of its code")
            }
            return function
        }
    }

    /// Only the initialisers that the manifest speaks of are ever called.
    func checkInitialisers(_ target: ManifestTarget) throws {
        let array = target.layout.initializers
        if let array, !isInside(array.address, array.size, PF.read) {
            throw memory.fault("its initialisers lie outside of its segments")
        }
        for tag in [DT.finiArraySize, DT.preinitArraySize, DT.initialiser, DT.finaliser, DT.relrSize] {
            guard tables.entries[tag, default: 0] == 0 else {
                throw memory.fault("it has initialisers or relocations of a kind that is not supported (tag \(tag))")
            }
        }
        guard let size = tables.entries[DT.initArraySize], size > 0 else { return }
        guard size == array?.size, tables.entries[DT.initArray] == array?.address else {
            throw memory.fault("it has initialisers that the manifest does not name")
        }
    }
}
