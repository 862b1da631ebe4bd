import ElfFormat
import ModuleBinding
import PatchFormat
import PatchRegistry
import ProcessImage

/// A module, relocated for its place, before anything of it is in the process.
struct PlannedModule {
    var target: ManifestTarget
    var object: LoadedObject
    var image: ModuleImage
    var base: UInt64
    var choices: [PlannedChoice] = []
    /// Of all modules, in the first.
    var calls: PlannedCalls?
}

/// The calls of a bundle that is about to be loaded.
struct PlannedCalls: Sendable {
    var area: CallArea
    /// Nil when there are initialisers alone.
    var unwinder: ProcessUnwinder?
    /// `__errno_location`, or 0.
    var errnoLocation: UInt64
    var registrations = 0
    var choices = 0
    var initialisers = 0
}

/// How far a borrowed thread has come with a list.
struct CallProgress: Sendable {
    var count: Int
    var begun: UInt64
    var returned: UInt64
    var isDone: Bool { returned == UInt64(count) }
    /// A call that was begun has not returned.
    var isOpen: Bool { begun != returned }
}

/// Where the stub and the lists of a patch lie: two mappings behind its first module, mapped and unmapped with it.
struct CallArea: Sendable, Hashable {
    /// Addresses in the module.
    var stub: UInt64
    var choose: UInt64
    var load: UInt64
    var unload: UInt64
    /// A word that stays zero: the end of empty `argv` and `envp`.
    var zero: UInt64
}

extension ModuleImage {
    /// Adds room for the stub and two lists of calls at the end of the module.
    mutating func addCallArea(load: Int, unload: Int) -> CallArea {
        let loadSize = CallList.size(count: load) + 8
        let dataSize = (loadSize + CallList.size(count: unload) + pageSize - 1) / pageSize * pageSize
        // Neighbours of one protection would become one mapping, and could not be told apart.
        let codeFirst = segments.last.map { $0.flags & PF.execute == 0 } ?? true
        let start = memory.count
        let (stub, data) = codeFirst ? (start, start + pageSize) : (start + dataSize, start)
        let code = ModuleSegment(start: stub, size: pageSize, flags: PF.read | PF.execute, fileSize: pageSize)
        let lists = ModuleSegment(start: data, size: dataSize, flags: PF.read | PF.write, fileSize: dataSize)
        segments += codeFirst ? [code, lists] : [lists, code]
        memory.bytes += [UInt8](repeating: 0, count: Int(pageSize + dataSize))
        let functions = CallList.stub + CallList.choose
        memory.bytes.replaceSubrange(Int(stub)..<(Int(stub) + functions.count), with: functions)
        return CallArea(
            stub: stub, choose: stub + UInt64(CallList.stub.count), load: data, unload: data + loadSize,
            zero: data + loadSize - 8)
    }
}
