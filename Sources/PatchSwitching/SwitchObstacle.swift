import ElfFormat

/// Why one attempt at the switch left everything unchanged.
package enum SwitchObstacle: Error, Sendable {
    /// A thread is in, or will return to, what is replaced.
    case inUse(tid: Int32, name: String, value: UInt64, place: UInt64?)
    /// Memory that no thread's own stack explains holds an address inside what is replaced (trap foreign-stacks).
    case pointedTo(place: UInt64, name: String)
    /// The checks were not finished in time.
    case tooLong
    /// Another livepatch stored a state in between.
    case registryChanged

    /// Says which function, or where.
    package var isNamed: Bool {
        switch self {
        case .inUse, .pointedTo: true
        case .tooLong, .registryChanged: false
        }
    }

    package func message(pid: Int32) -> String {
        switch self {
        case .inUse(let tid, let name, let value, let place):
            let how = place.map { "its stack holds \(hex(value)) at \(hex($0))" } ?? "a register holds \(hex(value))"
            return "pid \(pid): thread \(tid) is in \(name): \(how); \(SwitchObstacle.whatHelps(name))"
        case .pointedTo(let place, let name):
            return "pid \(pid): \(hex(place)) holds an address inside \(name): it may be a suspended call; "
                + SwitchObstacle.whatHelps(name)
        case .tooLong:
            return
                "pid \(pid): the check was not finished within --max-stop; try again when the machine is less busy, or "
                + "with a longer --max-stop"
        case .registryChanged: return "pid \(pid): another livepatch has just changed the process; try again"
        }
    }

    /// What lets a later try come through. Busy for ever is what runs as long as the process.
    static func whatHelps(_ name: String) -> String {
        if name == "main" {
            return "main runs as long as the process does: restart the process, or build the patch with "
                + "--allow never-returns=main"
        }
        return "try again when the call has returned; if it never does, restart the process"
    }
}
