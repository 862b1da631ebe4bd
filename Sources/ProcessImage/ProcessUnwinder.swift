import Diagnostics
import ElfFormat

/// The unwinder of a process that exceptions go through: libgcc's, which can be told of unwind data that no loaded object
/// has.
package struct ProcessUnwinder: Sendable, Hashable {
    /// `__register_frame_info(table, object)` and `__deregister_frame_info(table)`: with storage of the caller's own
    /// (trap unsafe-point).
    package var register: UInt64
    package var deregister: UInt64
    /// The object that holds it.
    package var bias: UInt64
    package var buildID: String?

    private static let raise = "_Unwind_RaiseException"
    private static let needed = ["__register_frame_info", "__deregister_frame_info", "_Unwind_Find_FDE"]
    /// LLVM's and nongnu's unwinders export the same interface, and look for their data elsewhere.
    private static let foreign = [
        "__unw_getcontext", "unw_getcontext", "__unw_init_local", "_ULx86_64_init_local", "_Ux86_64_getcontext",
    ]
    /// What a static copy of an unwinder imports, and what code imports that has none of its own.
    private static let walkers = ["dl_iterate_phdr", "_dl_find_object"]
    private static let users = [
        "_Unwind_Resume", "__gxx_personality_v0", "__cxa_throw", raise, "__gcc_personality_v0",
    ]

    /// - Returns: nil when the process has none: then nothing can be thrown.
    /// - Throws: `Refusal` unsupported-process when it has another one, or one that can't be found.
    package static func find(in view: ProcessView, _ linkMap: LinkMap, for targets: [LoadedObject]) throws
        -> ProcessUnwinder?
    {
        guard linkMap.objects.first?.hasInterpreter == true else {
            throw refusal(view, "it is a static program, whose unwinder can't be told of the patch's functions")
        }
        var found: ProcessUnwinder?
        for object in linkMap.objects {
            let tables = try view.tables(of: object)
            let imports = try tables.imports()
            let walks = !imports.isDisjoint(with: walkers) && imports.isDisjoint(with: users)
            if try tables.lookup(raise, version: nil) != nil {
                found = try found ?? describe(object, tables, view)
            } else if walks, targets.contains(where: { $0.bias == object.bias }) {
                throw refusal(view, "\(object.file) may hold an unwinder of its own")
            }
        }
        guard let found else {
            for object in linkMap.objects where !isOfTheSystem(object, try view.tables(of: object)) {
                let tables = try view.tables(of: object)
                if try tables.imports().isDisjoint(with: walkers) { continue }
                throw refusal(view, "\(object.file) may hold an unwinder of its own")
            }
            return nil
        }
        try checkUsers(of: found, view, linkMap)
        return found
    }

    /// The C library and ld.so.
    private static func isOfTheSystem(_ object: LoadedObject, _ tables: DynamicTables) -> Bool {
        walkers.contains { (try? tables.lookup($0, version: nil)) ?? nil != nil }
    }

    private static func describe(
        _ object: LoadedObject, _ tables: DynamicTables, _ view: ProcessView
    ) throws -> ProcessUnwinder {
        let symbols = try needed.map { name in
            try tables.lookup(name, version: nil).map { tables.symbols[$0] }.flatMap { $0.isDefined ? $0 : nil }
        }
        guard !symbols.contains(nil), try !foreign.contains(where: { try tables.lookup($0, version: nil) != nil })
        else {
            throw refusal(view, "exceptions go through the unwinder of \(object.file), which is not libgcc's")
        }
        let places = symbols.compactMap { $0.map { object.bias &+ $0.value } }
        return ProcessUnwinder(
            register: places[0], deregister: places[1], bias: object.bias, buildID: object.buildID)
    }

    /// Everything that throws must be bound to this one.
    private static func checkUsers(of found: ProcessUnwinder, _ view: ProcessView, _ linkMap: LinkMap) throws {
        guard let holder = linkMap.objects.first(where: { $0.bias == found.bias }) else { return }
        for object in linkMap.objects where object.bias != holder.bias {
            for (name, value) in try slots(of: object, [raise, "_Unwind_Resume"], view)
            where value != 0 && !holder.contains(value) && !object.contains(value) {
                throw refusal(view, "\(object.file) has bound \(name) to another unwinder than \(holder.file)")
            }
        }
    }

    /// What slots for these names hold.
    private static func slots(
        of object: LoadedObject, _ names: [String], _ view: ProcessView
    ) throws -> [(String, UInt64)] {
        let tables = try view.tables(of: object)
        return try tables.relocations.compactMap { relocation in
            guard relocation.type.isFilledSlot, relocation.symbol != 0,
                relocation.symbol < tables.symbols.count, object.isInside(relocation.offset, 8, PF.read)
            else { return nil }
            let name = try tables.name(of: tables.symbols[relocation.symbol])
            guard names.contains(name) else { return nil }
            return (name, try view.read(object.bias &+ relocation.offset, 8).u64(0))
        }
    }

    private static func refusal(_ view: ProcessView, _ why: String) -> Refusal {
        Refusal(.unsupportedProcess, subject: "pid \(view.pid)", why: why)
    }
}

extension DynamicTables {
    /// Names that it refers to and does not define.
    package func imports() throws -> Set<String> {
        Set(try symbols.lazy.filter { !$0.isDefined }.map { try name(of: $0) })
    }
}
