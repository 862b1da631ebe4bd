import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl

extension Session {
    /// The mapped object that the manifest's target speaks of: by build-id, never by name.
    func object(for target: ManifestTarget) throws -> LoadedObject {
        let matching = linkMap.objects.filter { $0.buildID == target.buildID }
        guard matching.count < 2 else {
            throw Refusal(
                .unsupportedProcess, subject: "\(target.file) in \(subject)",
                why: "it is mapped \(matching.count) times, and one patch can't tell which copy is meant")
        }
        if let found = matching.first { return found }
        throw missing(target)
    }

    /// The bytes of the target as its file has them: the saved bytes of every patch's entries put back (trap
    /// patches-undo-each-other).
    func originalBytes(_ range: AddressRange) throws -> [UInt8] {
        var bytes = try view.read(range.address, range.size).bytes
        for patch in state.patches.reversed() where patch.mayHoldEntries {
            for function in patch.functions where function.entryRange.overlaps(range) {
                guard let saved = bytesOfHex(function.saved), let jump = bytesOfHex(function.jump) else { continue }
                let place = function.entry
                let current = try view.read(place, UInt64(jump.count)).bytes
                guard current == jump else { continue }
                for (index, byte) in saved.enumerated() {
                    let offset = place &+ UInt64(index) &- range.address
                    if offset < range.size { bytes[Int(offset)] = byte }
                }
            }
        }
        return bytes
    }

    /// Compares the process's memory with what the manifest's digests were made of.
    /// - Throws: `Refusals` changed-bytes, one for every function that differs.
    func checkDigests(of target: ManifestTarget, in object: LoadedObject) throws {
        var refusals: [Refusal] = []
        for function in target.functions {
            guard let original = function.original else { continue }
            let ranges = [original.range] + original.coldRanges
            guard ranges.allSatisfy({ object.isInside($0.address, $0.size, PF.execute) }) else {
                throw Refusal(.badBundle, subject: function.name, why: "it lies outside the code of \(target.file)")
            }
            let parts = try ranges.map {
                try originalBytes(AddressRange(address: object.bias &+ $0.address, size: $0.size))
            }
            if Digest.sha256(parts.flatMap { $0 }) != original.digest {
                refusals.append(
                    ChangedBytes.refusal(
                        function: function.name, ranges: ranges, parts: parts, in: object, pid: pid,
                        jumpOffset: original.entry.jumpOffset))
            }
        }
        if !refusals.isEmpty { throw Refusals(refusals) }
    }
}

/// Says what was found where the target's own bytes should be.
enum ChangedBytes {
    static func refusal(function: String, address: UInt64, found: [UInt8]) -> Refusal {
        let bytes = found.map { hex(UInt64($0)).dropFirst(2) }.map { $0.count < 2 ? "0" + $0 : $0 }
        return Refusal(
            .changedBytes, subject: function,
            why: "its entry at \(hex(address)) holds \(bytes.joined(separator: " ")): \(cause(found))")
    }

    /// The digest alone does not tell the place: the mapped file does, if it is still the same.
    static func refusal(
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
