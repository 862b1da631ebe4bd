import Diagnostics

@testable import PatchFormat

/// A small valid manifest and bundle that tests bend.
enum Samples {
    static let buildID = "00112233445566778899aabbccddeeff00112233"

    static func function() -> PatchedFunction {
        PatchedFunction(
            name: "parse", object: "parse.o", change: .changed, reason: "code differs",
            original: OriginalFunction(
                range: AddressRange(address: 0x1200, size: 64), coldRanges: [], digest: Digest.sha256([1]),
                entry: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0), endsWithCall: false),
            newRanges: [AddressRange(address: 0x1000, size: 70)],
            oldRanges: [AddressRange(address: 0x1080, size: 64)], stub: 0x1100, oldSlot: 0x3000)
    }

    static func manifest() -> Manifest {
        let layout = ModuleLayout(switchAddress: 0x3008, bindingTable: 0x2000, bindingCount: 1, memorySize: 0x4000)
        let target = ManifestTarget(
            file: "served", buildID: buildID, functions: [function()],
            bindings: [Binding(kind: .target, symbol: "limit", address: 0x5000)],
            data: [DataItem(name: ".rodata.str", object: "parse.o", size: 12, writable: false)], layout: layout)
        var manifest = Manifest(id: "FIX-1", targets: [target])
        manifest.cves = ["CVE-2099-0001"]
        return manifest
    }

    static let module: [UInt8] = Array(repeating: 0x5a, count: 700)

    static func modules() -> [String: [UInt8]] { ["modules/\(buildID).so": module] }

    static func bundle() throws -> [UInt8] { try Bundle.write(manifest: manifest(), modules: modules()) }

    /// The members of `bundle()`, to be archived otherwise.
    static func members() throws -> [ArchiveMember] { try Ustar.read(try bundle()) }

    /// The rule by which `body` is refused, or nil.
    static func rule(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return (error as? Refusal)?.rule ?? "not a refusal: \(error)"
        }
    }
}
