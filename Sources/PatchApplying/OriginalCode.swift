import Diagnostics
import ElfFormat
import PatchFormat
import PatchRegistry
import ProcessImage

/// The code of the targets as their files have it, below the jumps of patches.
struct OriginalCode {
    let process: LoadedProcess
    let patches: [RegisteredPatch]

    /// The bytes of the target as its file has them: the saved bytes of every patch's entries put back (trap
    /// patches-undo-each-other).
    func bytes(_ range: AddressRange) throws -> [UInt8] {
        var found = try process.view.read(range.address, range.size).bytes
        for patch in patches.reversed() where patch.mayHoldEntries {
            for function in patch.functions where function.entryRange.overlaps(range) {
                guard let saved = bytesOfHex(function.saved), let jump = bytesOfHex(function.jump) else { continue }
                let place = function.entry
                let current = try process.view.read(place, UInt64(jump.count)).bytes
                guard current == jump else { continue }
                for (index, byte) in saved.enumerated() {
                    let offset = place &+ UInt64(index) &- range.address
                    if offset < range.size { found[Int(offset)] = byte }
                }
            }
        }
        return found
    }

    /// Compares the process's memory with what the manifest's digests were made of.
    /// - Throws: `Refusals` changed-bytes, one for every function that differs.
    func check(_ target: ManifestTarget, in object: LoadedObject) throws {
        var refusals: [Refusal] = []
        for function in target.functions {
            guard let original = function.original else { continue }
            let ranges = [original.range] + original.coldRanges
            guard ranges.allSatisfy({ object.isInside($0.address, $0.size, PF.execute) }) else {
                throw Refusal(.badBundle, subject: function.name, why: "it lies outside the code of \(target.file)")
            }
            let parts = try ranges.map {
                try bytes(AddressRange(address: object.bias &+ $0.address, size: $0.size))
            }
            if Digest.sha256(parts.flatMap { $0 }) != original.digest {
                refusals.append(
                    ChangedBytes.refusal(
                        function: function.name, ranges: ranges, parts: parts, in: object, pid: process.pid,
                        jumpOffset: original.entry.jumpOffset))
            }
        }
        if !refusals.isEmpty { throw Refusals(refusals) }
    }
}
