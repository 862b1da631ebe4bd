import Diagnostics
import ElfFormat

/// The objects of a process in the order in which ld.so searches them.
package struct LinkMap: Sendable {
    /// The executable first.
    package var objects: [LoadedObject]
    /// Number of leading objects that ld.so's own list names; the rest were found by their mappings only.
    package var listed: Int
}

extension ProcessView {
    /// Reads ld.so's list through `DT_DEBUG` of the executable.
    ///
    /// - Throws: `Busy` while ld.so changes the list or the program has not started yet (trap dlclosed).
    package func linkMap() throws -> LinkMap {
        let found = findObjects()
        guard let executable = found.first(where: { $0.contains(programHeaderAddress) }) else {
            throw Refusal(
                .unsupportedProcess, subject: "pid \(pid)", why: "its executable can't be found in its memory")
        }
        let others = found.filter { $0.bias != executable.bias }
        guard executable.hasInterpreter else { return LinkMap(objects: [executable] + others, listed: 1) }
        let names = try dynamicSectionsInOrder(executable)
        var byDynamic: [UInt64: LoadedObject] = [:]
        for object in others {
            if let dynamic = object.dynamicHeader { byDynamic[object.bias &+ dynamic.address] = object }
        }
        let listed = [executable] + names.compactMap { byDynamic.removeValue(forKey: $0) }
        let biases = Set(listed.map(\.bias))
        return LinkMap(objects: listed + others.filter { !biases.contains($0.bias) }, listed: listed.count)
    }

    /// `l_ld` of each link_map, in order.
    private func dynamicSectionsInOrder(_ executable: LoadedObject) throws -> [UInt64] {
        guard let debug = try debugAddress(executable), debug != 0 else {
            throw Busy("pid \(pid): the program has not finished starting; try again when it runs")
        }
        let head = try read(debug, 32)
        guard try head.u32(24) == 0 else {
            throw Busy("pid \(pid): ld.so is loading or unloading a library; try again when it is done")
        }
        var sections: [UInt64] = []
        var entry = try head.u64(8)
        while entry != 0, sections.count < 8192 {
            let map = try read(entry, 40)
            sections.append(try map.u64(16))
            entry = try map.u64(24)
        }
        guard !sections.isEmpty else {
            throw Busy("pid \(pid): the program has not finished starting; try again when it runs")
        }
        return sections
    }

    private func debugAddress(_ executable: LoadedObject) throws -> UInt64? {
        guard let dynamic = executable.dynamicHeader else { return nil }
        let table = try read(executable.bias &+ dynamic.address, min(dynamic.memorySize, 0x10000))
        for index in 0..<table.count / 16 where try table.u64(index * 16) == DT.debug {
            return try table.u64(index * 16 + 8)
        }
        return nil
    }
}
