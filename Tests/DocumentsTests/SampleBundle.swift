import PatchFormat

/// A bundle with something of everything that a document tells.
func sampleBundle(_ change: (inout Manifest) -> Void = { _ in }) throws -> Bundle {
    let buildID = "00112233445566778899aabbccddeeff00112233"
    let function = PatchedFunction(
        name: "parse", object: "parse.o", change: .changed, reason: "code differs",
        original: OriginalFunction(
            range: AddressRange(address: 0x1200, size: 64), coldRanges: [], digest: Digest.sha256([1]),
            entry: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0), endsWithCall: false),
        newRanges: [AddressRange(address: 0x1000, size: 70)],
        oldRanges: [AddressRange(address: 0x1080, size: 64)], stub: 0x1100, oldSlot: 0x3000)
    let target = ManifestTarget(
        file: "served", buildID: buildID, functions: [function], bindings: [], data: [],
        layout: ModuleLayout(switchAddress: 0x3008, bindingTable: 0x2000, bindingCount: 0, memorySize: 0x4000))
    var manifest = Manifest(id: "FIX-1", targets: [target])
    manifest.cves = ["CVE-2099-0001", "CVE-2099-0002"]
    manifest.created = "2026-01-31T12:00:00Z"
    manifest.decisions = [Decision(rule: "lost-state", subject: "count (parse.o)", why: "it starts \"anew\"")]
    manifest.requires = [PatchReference(id: "FIX-0", manifestDigest: Digest.sha256([0]))]
    manifest.provenance.builder = "patchbuild 9.8.7"
    manifest.provenance.linker = "GNU ld 2.40"
    manifest.provenance.compilers = ["GNU C17 12.2.0 -O2", "GNU C++17 12.2.0 -O2"]
    manifest.provenance.sourceDigest = Digest.sha256([2])
    manifest.provenance.diffDigests = [Digest.sha256([3]), Digest.sha256([4])]
    manifest.provenance.targets = [TargetInput(file: "served", buildID: buildID, digest: Digest.sha256([5]))]
    change(&manifest)
    return try Bundle.parse(
        try Bundle.write(manifest: manifest, modules: ["modules/\(buildID).so": Array(repeating: 0x5a, count: 700)]))
}
