import Diagnostics
import ProcessControl

/// What is known of a process at one moment: its memory and mappings, and the objects that it has loaded.
package struct LoadedProcess: Sendable {
    package private(set) var view: ProcessView
    package private(set) var linkMap: LinkMap

    /// - Throws: `Busy` while ld.so is at work.
    package init(pid: Int32) throws {
        view = try ProcessView(pid: pid)
        linkMap = try view.linkMap()
    }

    package var pid: Int32 { view.pid }
    /// The process, for messages.
    package var subject: String { "pid \(view.pid)" }
    package var memory: RemoteMemory { view.memory }
    package var map: MemoryMap { view.map }
    package var objects: [LoadedObject] { linkMap.objects }

    /// Looks at the mappings and the objects again.
    package mutating func refresh() throws {
        try view.refresh()
        linkMap = try view.linkMap()
    }

    /// Looks at the mappings again.
    package mutating func refreshMap() throws { try view.refresh() }

    package func isMapped(_ buildID: String) -> Bool { objects.contains { $0.buildID == buildID } }
}
