import Diagnostics
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
    func number(_ offset: Int, _ size: Int) -> Int? {
        guard offset >= 0, offset <= bytes.count - size else { return nil }
        return Int(exactly: (0..<size).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[offset + $1]) })
    }
    // EI_CLASS 2 and EI_DATA 1: 64 bits, little-endian.
    guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]), let type = number(16, 2), let machine = number(18, 2),
        let table = number(32, 8), let size = number(54, 2), let count = number(56, 2)
    else { return "it is not a 64-bit ELF file" }
    let (executable, sharedObject, x8664) = (2, 3, 62)
    guard type == executable || type == sharedObject, machine == x8664, size == 56, count > 0 else {
        return "it is not an executable for x86-64"
    }
    guard table <= bytes.count else { return "its program headers lie outside the file" }
    for index in 0..<count {
        guard let kind = number(table + index * size, 4) else { return "its program headers lie outside the file" }
        // PT_INTERP: the dynamic linker that it asks for.
        if kind == 3 { return "it needs shared libraries, which the machine may not have" }
    }
    // A static executable that may lie anywhere has dynamic relocations, but a shared library has them too.
    return type == sharedObject ? "it is a shared library, or an executable that is not at a fixed address" : nil
}
