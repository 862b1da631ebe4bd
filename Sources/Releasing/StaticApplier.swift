import Diagnostics
import ElfFormat
import Glibc
import PatchFormat
import Toolchain

/// The bytes of a `livepatch` that runs on any machine.
/// - Parameter path: nil for the first that there is: beside this program, then where packages install it.
/// - Throws: `Refusal` when it is not a static executable for x86-64.
func staticApplier(_ path: String?) throws -> [UInt8] {
    let path = try path ?? installedApplier()
    let bytes = try readRegularFile(path, limit: 64 << 20, rule: .badInput)
    guard let why = reasonNotStatic(bytes) else { return bytes }
    throw Refusal(
        .badInput, subject: path, why: why,
        remedy: "build it with Sources/Static/livepatch, and give the file with --livepatch")
}

private func installedApplier() throws -> String {
    let own = resolvedPath("/proc/self/exe").split(separator: "/").dropLast().joined(separator: "/")
    let places = ["/\(own)/livepatch", "/usr/lib/patchbuild/livepatch", "/usr/bin/livepatch"]
    if let found = places.first(where: { access($0, F_OK) == 0 }) { return found }
    throw Refusal(
        .badInput, subject: "livepatch", why: "there is none in \(places.joined(separator: ", "))",
        remedy: "build it with Sources/Static/livepatch, and give the file with --livepatch")
}

/// Why the ELF file would not run by itself on an x86-64 machine; nil when it would.
func reasonNotStatic(_ bytes: [UInt8]) -> String? {
    let file = ByteReader(bytes) { Failure($0) }
    guard bytes.starts(with: ElfHeader.magic) else { return "it is not a 64-bit ELF file" }
    guard let header = try? ElfHeader(file) else { return "it is not an executable for x86-64" }
    for index in 0..<UInt64(header.programHeaderCount) {
        let (place, overflow) = header.programHeaderOffset.addingReportingOverflow(index * ProgramHeader.size)
        guard !overflow, let segment = try? ProgramHeader(file, at: place) else {
            return "its program headers lie outside the file"
        }
        if segment.type == PT.interpreter { return "it needs shared libraries, which the machine may not have" }
    }
    // A static executable that may lie anywhere has dynamic relocations, but a shared library has them too.
    return header.type == ELF.sharedObject
        ? "it is a shared library, or an executable that is not at a fixed address" : nil
}
