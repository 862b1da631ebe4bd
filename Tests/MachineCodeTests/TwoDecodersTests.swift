import Disassembly
import Foundation
import MachineCode
import ObjectFiles
import Testing

/// Zydis decodes for the tools; libopcodes judges it. On compiled code both agree on every instruction's length and on
/// where each branch goes.
@Suite("Two decoders")
struct TwoDecodersTests {
    /// What was compared, and where the two differ.
    private struct Tally {
        var instructions = 0
        var branches = 0
        var differences: [String] = []
    }

    /// Shared libraries of this machine that hold much code and no data in it, by size.
    private static let libraries: [String] = {
        let directory = "/usr/lib/x86_64-linux-gnu/"
        let wanted = [
            "libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libelf.so.1", "libdw.so.1", "libz.so.1",
            "libzstd.so.1", "liblzma.so.5", "libbz2.so.1.0", "libexpat.so.1", "libcurl.so.4", "libssl.so.3",
            "libcrypto.so.3", "libgmp.so.10", "libmpfr.so.6", "libisl.so.23", "libpcre2-8.so.0", "libsqlite3.so.0",
            "libxml2.so.2", "libglib-2.0.so.0", "libgnutls.so.30", "libkrb5.so.3", "libncursesw.so.6", "libtinfo.so.6",
            "libdb-5.3.so", "libgcrypt.so.20", "libp11-kit.so.0", "libsystemd.so.0", "libudev.so.1",
        ]
        return Array(wanted.map { directory + $0 }.filter { FileManager.default.fileExists(atPath: $0) }.prefix(20))
    }()

    @Test("both decoders agree on lengths and branch targets in system libraries")
    func agree() throws {
        var total = Tally()
        for path in Self.libraries { try compare(path, &total) }
        print(
            "two decoders: \(Self.libraries.count) libraries, \(total.instructions) instructions, "
                + "\(total.branches) direct branches, \(total.differences.count) differences")
        #expect(total.differences.prefix(20) == [])
        #expect(total.instructions > 100_000)
    }

    private func compare(_ path: String, _ total: inout Tally) throws {
        let file = try ObjectFile.read(path: path)
        let functions = Set(
            file.dynamicSymbols.filter { $0.kind == .function && $0.size > 0 }.map { [$0.value, $0.size] })
        for section in file.sections where section.isExecutable && section.isAllocated {
            for function in functions {
                let (start, size) = (function[0] &- section.address, function[1])
                guard start < UInt64(section.data.count), size <= UInt64(section.data.count) - start else { continue }
                let bytes = Array(section.data[Int(start)..<Int(start + size)])
                compare(bytes, at: function[0], in: path, &total)
            }
        }
    }

    private func compare(_ bytes: [UInt8], at address: UInt64, in path: String, _ total: inout Tally) {
        let ours = decode(bytes, at: address)
        let judge = disassemble(bytes, at: address)
        // Hand-written code keeps tables among its instructions: what is none, or a prefix of none, is no code.
        if judge.contains(where: { $0.kind == .invalid || $0.mnemonic.hasPrefix("rex") }) { return }
        total.instructions += judge.count
        var rest = ours[...]
        for other in judge {
            guard let one = rest.popFirst() else { return }
            // libopcodes takes a `fwait` for a prefix of the instruction behind it; the processor does not.
            if bytes[Int(one.address &- address)] == 0x9b, other.length > one.length {
                rest = rest.drop { $0.address < other.end }
                continue
            }
            if other.target != nil { total.branches += 1 }
            let isSame =
                one.address == other.address && one.length == other.length && one.target == other.target
                && one.kind.rawValue == other.kind.rawValue && one.ripRelativeTarget == other.ripRelativeTarget
            if isSame { continue }
            let offset = Int(other.address &- address)
            let hex = bytes[offset..<min(bytes.count, offset + 15)].map { String($0, radix: 16) }
            total.differences.append("\(path) \(String(other.address, radix: 16)): \(hex): \(one) \(other)")
            return
        }
    }
}
