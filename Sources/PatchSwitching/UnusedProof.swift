import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage

/// Proof that nothing points into a patch's modules (trap unload-proof): registers, stacks and all writable memory are
/// searched while the process stands still.
package struct UnusedProof {
    private let patch: RegisteredPatch
    private let table: ScanTable
    /// The modules and the registry.
    private let own: [RemoteRange]
    private let limits: StopLimits

    package init(of patch: RegisteredPatch, _ records: PatchRecords, _ limits: StopLimits) {
        self.patch = patch
        self.limits = limits
        table = ScanTable(UnusedProof.searched(patch))
        own = patch.modules.map { RemoteRange(start: RemoteAddress($0.base), count: $0.size) } + records.ownRanges
    }

    /// - Returns: nil when nothing points into the patch's modules; else where, for the reader.
    package func run(in process: LoadedProcess, _ report: inout StopReport) throws -> String? {
        let search = MemorySearch(map: process.map, memory: process.memory, deadline: limits.deadline)
        let size = (try? search.presentRanges(except: own).reduce(0) { $0 + $1.count }) ?? .max
        // About 2 GB a second are copied and searched; beyond that the stop would be felt.
        guard size < UInt64(limits.maximumStop) * 1_000_000 else {
            return "its writable memory is too large to be searched for pointers within --max-stop"
        }
        var reason: String?
        var pause: UInt32 = 2_000
        for _ in 0..<8 where limits.timeIsLeft {
            do {
                let stopped = try withStoppedProcess(process.memory, maximumStop: limits.duration, searchStopped)
                report.microseconds = max(report.microseconds, stopped.stopMicroseconds)
                return nil
            } catch let obstacle as SwitchObstacle {
                reason = obstacle.message(pid: process.pid)
            } catch let error as ProcessError {
                guard case .didNotStop = error else { throw error }
                reason = "\(error)"
            }
            pauseMicroseconds(pause)
            pause *= 2
        }
        return reason ?? "the proof that nothing points into it could not be finished in time"
    }

    /// The modules, without what only the unwinder refers to: it forgets that later, and while it knows it, it alone may
    /// do something with it.
    private static func searched(_ patch: RegisteredPatch) -> [ScanTable.Interval] {
        let known = patch.calls?.unwind.flatMap {
            [$0.table, AddressRange(address: $0.object, size: ModuleUnwind.objectSize)]
        }
        let holes = (known ?? []).sorted { $0.address < $1.address }
        return patch.modules.flatMap { module in
            var (start, result): (UInt64, [ScanTable.Interval]) = (module.base, [])
            for hole in holes where hole.address >= start && hole.end <= module.range.end {
                result.append(.init(first: start, last: hole.address &- 1, name: "the module"))
                start = hole.end
            }
            return result + [.init(first: start, last: module.range.end &- 1, name: "the module")]
        }
    }

    private func searchStopped(_ process: borrowing StoppedProcess) throws {
        for thread in process.threads {
            if let value = thread.registers.generalPurpose.first(where: table.contains) {
                throw SwitchObstacle.inUse(tid: thread.tid, name: "the module", value: value, place: nil)
            }
        }
        let memory = process.memory
        let map = try memory.map()
        let live = OwnStack.ranges(of: process, map).compactMap { $0 }
        var search = MemorySearch(map: map, memory: memory, deadline: process.deadline)
        search.needsEveryPage = true
        try search.refuseHits(table, except: own + OwnStack.unused(live, map)) { place, value in
            isOfUnwinder(place, value, memory)
        }
    }

    /// From GCC 13 on, libgcc keeps (start of the code, its size, `struct object`) in a tree. Nobody else knows where the
    /// object is.
    private func isOfUnwinder(_ place: UInt64, _ value: UInt64, _ memory: RemoteMemory) -> Bool {
        guard let calls = patch.calls, calls.registrations > 0,
            let size = try? memory.read(RemoteAddress(place &+ 8), as: UInt64.self),
            let object = try? memory.read(RemoteAddress(place &+ 16), as: UInt64.self)
        else { return false }
        return calls.unwind.contains { $0.object == object }
            && patch.modules.contains { module in
                module.isInside(value, size, protection: 4) && module.isInside(object, 1, protection: 2)
            }
    }
}
