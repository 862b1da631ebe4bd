import Diagnostics
import ElfFormat
import PatchFormat
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

/// A bundle made by hand: a module written in assembler, and a manifest from the symbols of both files.
///
/// For each replaced function `f` the module source must define `new_f`, `old_f`, `stub_f` and `slot_f`, made by
/// `Assembly.replacement`.
struct HandMadePatch {
    var id: String
    var target: String
    var source: String
    var functions: [String]
    var bindings: [Binding] = []
    var requires: [PatchReference] = []
    var supersedes: [PatchReference] = []
    var endsWithCall = false
    var abiCoupled = false
    /// Kind of the entries; the old body of a padded one is the target's own, behind the pad.
    var entry = Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0)
    var values: [ValuePatch] = []
    /// Further targets of the same bundle.
    var more: [HandMadePatch] = []
    /// By places in the list of targets; nil for one group of all.
    var groups: [[Int]]?
    /// Libraries that the module is linked against.
    var linkFlags: [String] = []

    /// Writes the bundle and returns its path.
    func write(to directory: String) throws -> String {
        let path = directory + "/\(id).lpatch"
        var modules: [String: [UInt8]] = [:]
        let targets = try ([self] + more).map { part in
            let module = try part.link()
            let target = try part.describe(module)
            modules[target.module] = readBytes(module)
            return target
        }
        var manifest = Manifest(id: id, targets: targets)
        manifest.requires = requires
        manifest.supersedes = supersedes
        manifest.groups = try groups?.map { try $0.map { try #require(targets[atOrNil: $0]).buildID } }
        try writeBytes(try Bundle.write(manifest: manifest, modules: modules), to: path)
        return path
    }

    /// Made one of several targets: its stubs may test their own switch where no other target is taken with it.
    var amongOthers: HandMadePatch {
        var patch = self
        patch.source +=
            ".data\n.balign 8\n.type switch_pointer, @object\n.size switch_pointer, 8\nswitch_pointer: .quad 0\n"
        return patch
    }

    private func link() throws -> String {
        // What ends the unwind data, which `crtend.o` does elsewhere, comes last.
        try Fixture.compile(
            ["module.S": source, "module_end.S": ".section .eh_frame, \"a\", @progbits\n.long 0\n"],
            [
                "-shared", "-nostdlib", "-Wl,-z,separate-code", "-Wl,-z,now", "-Wl,--build-id=none",
                "-Wl,-z,norelro",
            ] + linkFlags, output: "module.so")
    }

    private func describe(_ module: String) throws -> ManifestTarget {
        let (inTarget, inModule) = (try Fixture.symbols(target), try Fixture.symbols(module))
        let file = CheckedBytes(readBytes(target), rule: .badInput, subject: target)
        let patched = try functions.map { name -> PatchedFunction in
            let range = inTarget[name] ?? AddressRange(address: 0, size: 0)
            let digest = Digest.sha256(try file.slice(try offset(of: range.address, in: file), range.size))
            return PatchedFunction(
                name: name, object: "main.o", change: .changed, reason: "hand-made",
                original: OriginalFunction(
                    range: range, coldRanges: [], digest: digest,
                    entry: entry, endsWithCall: endsWithCall,
                    abiCoupled: abiCoupled),
                newRanges: [try #require(inModule["new_" + name])],
                oldRanges: inModule["old_" + name].map { [$0] } ?? [],
                stub: inModule["stub_" + name]?.address, oldSlot: inModule["slot_" + name]?.address)
        }
        let table = inModule["bindings"] ?? AddressRange(address: 0, size: 0)
        let end = try endOfMemory(CheckedBytes(readBytes(module), rule: .badInput, subject: module))
        return ManifestTarget(
            file: lastComponent(target), buildID: try buildID(target), functions: patched, bindings: bindings, data: [],
            values: values,
            layout: ModuleLayout(
                switchAddress: try #require(inModule["patch_switch"]).address,
                switchPointer: inModule["switch_pointer"]?.address, bindingTable: table.address,
                bindingCount: Int(table.size) / BindingRecord.size, memorySize: end,
                unwind: try inModule["unwind_object"].map { object in
                    ModuleUnwind(table: try unwindTable(module), object: object.address)
                }, initializers: inModule["initialisers"]))
    }

    private func unwindTable(_ module: String) throws -> AddressRange {
        let sections = try runOrThrow("readelf", ["-SW", module]).stdout.split(separator: "\n")
        let line = try #require(sections.first { $0.contains(" .eh_frame ") })
        let fields = Array(line.split(separator: " ").drop { $0 != ".eh_frame" }.dropFirst(2)).map {
            UInt64($0, radix: 16)
        }
        return AddressRange(address: try #require(fields[0]), size: try #require(fields[2]))
    }

    private func headers(_ file: CheckedBytes) throws -> [ProgramHeader] {
        let header = try ElfHeader(file)
        return try (0..<UInt64(header.programHeaderCount)).map {
            try ProgramHeader(file, at: header.programHeaderOffset + $0 * ProgramHeader.size)
        }
    }

    private func offset(of address: UInt64, in file: CheckedBytes) throws -> UInt64 {
        let load = try #require(
            try headers(file).first {
                $0.type == PT.load && address >= $0.address && address - $0.address < $0.fileSize
            })
        return address - load.address + load.offset
    }

    private func endOfMemory(_ file: CheckedBytes) throws -> UInt64 {
        try headers(file).filter { $0.type == PT.load }.map { $0.address + $0.memorySize }.max() ?? 0
    }

    private func buildID(_ path: String) throws -> String {
        let text = try runOrThrow("readelf", ["-n", path]).stdout
        let line = try #require(text.split(separator: "\n").first { $0.contains("Build ID:") })
        return String(line.split(separator: " ").last ?? "")
    }
}

/// Pieces of module sources.
enum Assembly {
    static let head = """
        .section .livepatch.switch, "aw"
        .globl patch_switch
        .hidden patch_switch
        .type patch_switch, @object
        .size patch_switch, 8
        patch_switch: .quad 0

        """

    /// Stub, slot, new body and copy of the old one; bodies are instructions without the final `.size`.
    static func replacement(_ name: String, new: String, old: String) -> String {
        """
        .text
        .type new_\(name), @function
        new_\(name):
        \(new)
        .size new_\(name), .-new_\(name)
        .type old_\(name), @function
        old_\(name):
        \(old)
        .size old_\(name), .-old_\(name)
        .type stub_\(name), @function
        stub_\(name):
            cmpb $0, patch_switch(%rip)
            je 1f
            jmp new_\(name)
        1:  jmp *slot_\(name)(%rip)
        .size stub_\(name), .-stub_\(name)
        .data
        .balign 8
        .type slot_\(name), @object
        .size slot_\(name), 8
        slot_\(name): .quad 0
        .text

        """
    }

    /// The same for a patch of several targets, whose one switch is reached through a pointer; no copy of the old body
    /// when `old` is nil (padded entries).
    static func indirect(_ name: String, new: String, old: String?) -> String {
        let copy =
            old.map { ".type old_\(name), @function\nold_\(name):\n\($0)\n.size old_\(name), .-old_\(name)\n" } ?? ""
        return """
            .data
            .balign 8
            .type switch_pointer, @object
            .size switch_pointer, 8
            switch_pointer: .quad 0
            .type slot_\(name), @object
            .size slot_\(name), 8
            slot_\(name): .quad 0
            .text
            .type new_\(name), @function
            new_\(name):
            \(new)
            .size new_\(name), .-new_\(name)
            \(copy)
            .type stub_\(name), @function
            stub_\(name):
                push %rax
                mov switch_pointer(%rip), %rax
                cmpb $0, (%rax)
                pop %rax
                je 1f
                jmp new_\(name)
            1:  jmp *slot_\(name)(%rip)
            .size stub_\(name), .-stub_\(name)

            """
    }

    /// `bindings`: each (label of the place, relocation type, index, addend).
    static func bindings(_ records: [(String, Int, Int, Int)]) -> String {
        let lines = records.map { ".long \($0.0) - .\n.long \($0.1), \($0.2), 0\n.quad \($0.3)" }
        return """
            .section .livepatch.bindings, "a"
            .balign 8
            .type bindings, @object
            bindings:
            \(lines.joined(separator: "\n"))
            .size bindings, .-bindings
            .text

            """
    }
}

/// A program with functions to replace: prints what they return, over and over.
enum Programs {
    /// `answer()` returns 1 until patched; with an argument, that many threads call it.
    static func plain() throws -> String {
        try Fixture.compile(plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "plain")
    }

    static let plainSource = """
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        volatile int sink;
        __attribute__((noipa, noclone)) int answer(void) { sink++; return 1; }
        __attribute__((noipa, noclone)) int second(int x) { sink++; return x + 10; }
        static void *worker(void *unused) {
            for (;;) { if (answer() > 100) abort(); second(1); if (unused) usleep(100); }
        }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            int threads = argc > 1 ? atoi(argv[1]) : 0;
            for (int i = 0; i < threads; i++) {
                pthread_t t;
                pthread_create(&t, 0, worker, (void *)(long)(argc > 2));
            }
            printf("ready\\n");
            for (;;) {
                int a = answer(), b = second(a);
                printf("answer=%d second=%d\\n", a, b);
                usleep(2000);
            }
        }
        """

    /// Replaces `answer` (1 by `value`) and `second` (x+10 by x+`addend`).
    static func plainPatch(id: String = "fix", value: Int = 2, addend: Int = 20) throws -> HandMadePatch {
        let source =
            Assembly.head
            + Assembly.replacement("answer", new: "mov $\(value), %eax\nret", old: "mov $1, %eax\nret")
            + Assembly.replacement("second", new: "lea \(addend)(%rdi), %eax\nret", old: "lea 10(%rdi), %eax\nret")
        return HandMadePatch(id: id, target: try plain(), source: source, functions: ["answer", "second"])
    }
}

extension Array {
    subscript(atOrNil index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
