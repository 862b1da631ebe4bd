import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl

/// Says what was found where the target's own bytes should be.
package enum ChangedBytes {
    package static func refusal(function: String, address: UInt64, found: [UInt8]) -> Refusal {
        let bytes = found.map { hex(UInt64($0)).dropFirst(2) }.map { $0.count < 2 ? "0" + $0 : $0 }
        return Refusal(
            .changedBytes, subject: function,
            why: "its entry at \(hex(address)) holds \(bytes.joined(separator: " ")): \(cause(found))")
    }

    /// The digest alone does not tell the place: the mapped file does, if it is still the same.
    package static func refusal(
        function: String, ranges: [AddressRange], parts: [[UInt8]], in object: LoadedObject, pid: Int32, jumpOffset: Int
    ) -> Refusal {
        for (range, part) in zip(ranges, parts) {
            guard let file = fileBytes(range, of: object, pid: pid), file.count == part.count,
                let offset = zip(part, file).enumerated().first(where: { $0.element.0 != $0.element.1 })?.offset
            else { continue }
            let found = Array(part[offset...].prefix(5))
            let bytes = Digest.hexadecimal(found)
            let place = "offset \(hex(range.address &- ranges[0].address &+ UInt64(offset)))"
            return Refusal(
                .changedBytes, subject: function,
                why: "at \(place) memory holds \(bytes), not the file's bytes: \(cause(found))")
        }
        let entry = Array((parts.first ?? []).dropFirst(max(0, jumpOffset)).prefix(5))
        return Refusal(
            .changedBytes, subject: function,
            why: "its bytes are not those that the patch was built for; the entry, at offset \(jumpOffset), holds "
                + "\(Digest.hexadecimal(entry)): \(cause(entry))")
    }

    private static func cause(_ bytes: [UInt8]) -> String {
        switch bytes.first {
        case 0xcc: "a breakpoint or a uprobe (int3)"
        case 0xe9, 0xeb, 0xff: "another patcher's jump"
        case nil: "it can't be read"
        default: "somebody has changed it"
        }
    }

    /// From the mapped file itself, for a message only: nothing is decided by it.
    private static func fileBytes(_ range: AddressRange, of object: LoadedObject, pid: Int32) -> [UInt8]? {
        guard
            let load = object.headers.first(where: {
                $0.type == PT.load && $0.isExecutable && range.address >= $0.address
            }),
            let map = try? MemoryMap.read(pid: pid),
            let mapping = map.mapping(containing: RemoteAddress(object.bias &+ range.address))
        else { return nil }
        let name = String(mapping.start.rawValue, radix: 16) + "-" + String(mapping.end.rawValue, radix: 16)
        let place = range.address &- load.address &+ load.offset
        return readFile("/proc/\(pid)/map_files/\(name)", offset: place, count: range.size)
    }
}
