import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

/// What a process, or whoever sends it data, could make `livepatch` believe or print.
@Suite struct ForgeryTests {
    /// Puts the magic at every place where a registry could begin, in memory of the registry's kind.
    private static func forger(header: String) -> String {
        """
        #include <string.h>
        #include <sys/mman.h>
        __attribute__((constructor)) static void forge(void) {
            unsigned long mebibyte = 1 << 20, header[] = { \(header) };
            char *start = mmap(0, 9 * mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            char *place = (char *)(((unsigned long)start + mebibyte - 1) & -mebibyte);
            for (int i = 0; i < 8; i++, place += mebibyte) {
                memcpy(place, "\\177livepatch registry", 19);
                memcpy(place + 19, " of a process", 13);
                memcpy(place + 32, header, sizeof header);
            }
            mprotect(start, 9 * mebibyte, PROT_READ);
        }

        """
    }

    /// Nothing; a size that passes the mapping's end; what a registry has, without a state.
    static let headers = ["0", "1, 32l << 20, ((32l << 20) - 4096) / 2", "1, 1 << 20, ((1 << 20) - 4096) / 2, 2, 9"]

    @Test("forged-magic: the magic in a program's own data hinders nothing", .needsPatching, arguments: headers)
    func forgedMagic(header: String) throws {
        var patch = try Programs.plainPatch()
        patch.target = try Fixture.compile(
            Self.forger(header: header) + Programs.plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"],
            output: "plain")
        try withPatched(patch) { process, bundle in
            #expect(try Registry.find(in: ProcessView(pid: process.pid)) == nil)
            for _ in 0..<2 {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2 second=22")
                let status = try livepatch("status", "--pid", process.id)
                try expectStatus(0, status)
                #expect(status.stdout.contains("fix: active"), "\(status)")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
                try process.waitForNew("answer=1 second=11")
            }
        }
    }

    @Test("hostile-registry: a registry whose state is spoilt is not taken for the program's data")
    func spoiltState() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            let registry = try filledRegistry(of: process)
            let memory = RemoteMemory(pid: process.pid)
            let slots = [UInt64(4096), 4096 + (registry.size - 4096) / 2 & ~63].map { registry.address + $0 + 100 }
            for slot in slots { try memory.write([0xff], at: RemoteAddress(slot)) }
            try expectRefusal("hostile-registry", try livepatch("status", "--pid", process.id))
            try expectRefusal("hostile-registry", try livepatch("revert", "fix", "--pid", process.id))
            try process.waitForNew("answer=2 second=22")
        }
    }

    @Test("hostile-registry: two registries that are in order are refused", .needsPatching)
    func twoRegistries() throws {
        var patch = try Programs.plainPatch()
        patch.target = try Fixture.compile(
            Self.forger(header: "0") + Programs.plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"],
            output: "plain")
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let registry = try filledRegistry(of: process)
            let view = try ProcessView(pid: process.pid)
            let copy = try #require(magics(view, room: registry.size).first { $0 != registry.address })
            let bytes = try view.memory.read(RemoteAddress(registry.address), count: Int(registry.size))
            try view.memory.write(bytes, at: RemoteAddress(copy))
            try expectRefusal("hostile-registry", try livepatch("activate", "fix", "--pid", process.id))
        }
    }

    /// Where the magic stands with room for a registry behind it.
    private func magics(_ view: ProcessView, room: UInt64) -> [UInt64] {
        var found: [UInt64] = []
        for mapping in view.map.mappings where mapping.isReadable && mapping.kind == .anonymous {
            var place = (mapping.start.rawValue + 0xfffff) & ~0xfffff
            while place + room <= mapping.end.rawValue {
                let head = try? view.memory.read(RemoteAddress(place), count: Registry.magic.count)
                if head == Registry.magic { found.append(place) }
                place += 1 << 20
            }
        }
        return found
    }

    static let forgedName = "x\npid 1: 1 patch\r\n\u{2028}\u{202e}evitca\u{9b}2J\u{e0041}"

    @Test("forged-text: a name with a newline prints no line of its own, in any text", .needsPatching)
    func forgedText() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            try registry.update {
                $0.patches[0].id = Self.forgedName
                $0.patches[0].modules[0].file = Self.forgedName
                $0.patches[0].modules[0].functions[0].name = Self.forgedName
            }
            let outputs = [
                try livepatch("status", "--pid", process.id), try livepatch("verify", "--pid", process.id),
                try livepatch("activate", Self.forgedName, "--pid", process.id),
                try livepatch("status", "--pid", process.id), try livepatch("unload", "fix", "--pid", process.id),
                try livepatch("unload", Self.forgedName, "--pid", process.id),
                try livepatch("revert", bundle, "--pid", process.id),
                try livepatch("revert", Self.forgedName, "--pid", process.id),
            ]
            #expect(outputs[0].stdout.contains("pid 1: 1 patch"), "\(outputs[0])")
            for output in outputs { expectPlain(output.stdout + output.stderr) }
        }
    }

    @Test("forged-text: JSON holds a name exactly, and shows nothing of it that commands a terminal")
    func forgedTextInJSON() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            try registry.update { $0.patches[0].id = Self.forgedName }
            let output = try livepatch("status", "--json", "--pid", process.id)
            expectPlain(output.stdout)
            #expect(output.stdout.contains(#"\u202eevitca\u009b2J\udb40\udc41"#), "\(output)")
        }
    }

    /// No line but the output's own, and nothing that is not seen.
    private func expectPlain(_ text: String) {
        #expect(!text.split(whereSeparator: \.isNewline).contains { $0.hasPrefix("pid 1:") }, "\(text)")
        let bad = text.unicodeScalars.filter { scalar in
            scalar != "\n"
                && (scalar.properties.isDefaultIgnorableCodePoint
                    || [.control, .format, .lineSeparator].contains(scalar.properties.generalCategory))
        }
        #expect(bad.isEmpty, "\(text)")
    }
}
