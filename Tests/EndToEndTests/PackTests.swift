import Glibc
import PatchFormat
import TestSupport
import Testing

extension EndToEnd {
    /// `patchbuild pack`. The applier is a small static program in livepatch's place: Tests/packaging packs the real one.
    @Suite struct PackTests {
        private static let buildID = "00112233445566778899aabbccddeeff00112233"

        private func applier(_ flags: [String] = ["-O1", "-static"]) throws -> String {
            try Fixture.compile("#include <stdio.h>\nint main(void) { puts(\"the applier\"); return 0; }", flags)
        }

        /// A bundle named `fix.lpatch` in `directory`.
        private func writeBundle(in directory: String, id: String = "FIX-1") throws -> String {
            let function = PatchedFunction(
                name: "parse", object: "parse.o", change: .changed, reason: "code differs",
                original: OriginalFunction(
                    range: AddressRange(address: 0x1200, size: 64), coldRanges: [], digest: Digest.sha256([1]),
                    entry: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0), endsWithCall: false),
                newRanges: [AddressRange(address: 0x1000, size: 70)],
                oldRanges: [AddressRange(address: 0x1080, size: 64)], stub: 0x1100, oldSlot: 0x3000)
            let layout = ModuleLayout(switchAddress: 0x3008, bindingTable: 0x2000, bindingCount: 0, memorySize: 0x4000)
            let target = ManifestTarget(
                file: "served", buildID: Self.buildID, functions: [function], bindings: [], data: [], layout: layout)
            var manifest = Manifest(id: id, targets: [target])
            manifest.cves = ["CVE-2099-0001"]
            let module: [UInt8] = Array(repeating: 0x5a, count: 700)
            let bytes = try Bundle.write(manifest: manifest, modules: [target.module: module])
            let path = directory + "/fix.lpatch"
            try writeBytes(bytes, to: path)
            return path
        }

        private func writeBytes(_ bytes: [UInt8], to path: String) throws {
            guard let file = fopen(path, "w") else { throw SystemFailure("fopen \(path)", errno: errno) }
            defer { fclose(file) }
            guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
                throw SystemFailure("fwrite \(path)", errno: errno)
            }
        }

        private func sign(_ bundle: String, in directory: String) throws -> String {
            let key = directory + "/key"
            try runOrThrow("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", key])
            try #require(try patchbuild("sign", bundle, "--key", key, "--name", "alice").status == 0)
            let line = try runOrThrow("ssh-keygen", ["-lf", key + ".pub"]).stdout
            return try #require(line.split(separator: " ").dropFirst().first.map(String.init))
        }

        @Test func anArchiveIsUnpackedByTarAndRuns() throws {
            try withTemporaryDirectory { directory in
                let bundle = try writeBundle(in: directory)
                let fingerprint = try sign(bundle, in: directory)
                let archive = directory + "/fix.run.tar"
                let packed = try patchbuild("pack", bundle, "-o", archive, "--livepatch", try applier())
                #expect(packed.status == 0 && packed.stdout.contains(fingerprint), "\(packed)")

                try runOrThrow("tar", ["xf", archive], in: directory)
                let unpacked = directory + "/FIX-1"
                #expect(try runOrThrow(unpacked + "/livepatch").stdout == "the applier\n")
                try runOrThrow("cmp", [bundle, unpacked + "/FIX-1.lpatch"])
                #expect(try readWhole(unpacked + "/SIGNERS").contains("alice.sig  ED25519 \(fingerprint)"))
                let page = try readWhole(unpacked + "/README")
                for expected in [
                    "CVE-2099-0001", "served, build-id \(Self.buildID)", "./livepatch apply FIX-1.lpatch --all",
                    "./livepatch revert FIX-1 --all", "./livepatch trust FIX-1.lpatch", "3   busy",
                ] { #expect(page.contains(expected), "\(expected)") }
                #expect(!page.contains("--allow-unsigned"))
            }
        }

        @Test func theSameInputsGiveTheSameBytes() throws {
            try withTemporaryDirectory { directory in
                let bundle = try writeBundle(in: directory)
                let livepatch = try applier()
                for name in ["one.tar", "two.tar"] {
                    #expect(
                        try patchbuild("pack", bundle, "-o", directory + "/" + name, "--livepatch", livepatch).status
                            == 0)
                    // Another time, and another mode of new files.
                    try runOrThrow("touch", ["-d", "2001-02-03", bundle])
                    try runOrThrow("chmod", ["600", bundle])
                }
                try runOrThrow("cmp", [directory + "/one.tar", directory + "/two.tar"])
            }
        }

        @Test func aDirectoryIsMadeWholeOrNotAtAll() throws {
            try withTemporaryDirectory { directory in
                let bundle = try writeBundle(in: directory)
                let livepatch = try applier()
                let output = directory + "/fix"
                #expect(try patchbuild("pack", bundle, "-o", output + "/", "--livepatch", livepatch).status == 0)
                #expect(try runOrThrow(output + "/livepatch").stdout == "the applier\n")
                let page = try readWhole(output + "/README")
                #expect(page.contains("NOT signed") && page.contains("--all --allow-unsigned"))
                #expect(try readWhole(output + "/SIGNERS").contains("Nobody has signed"))

                let again = try patchbuild("pack", bundle, "-o", output, "--livepatch", livepatch)
                #expect(again.status == 1 && again.stderr.contains("not an empty directory"), "\(again)")
                #expect(try runOrThrow("ls", [directory]).stdout == "fix\nfix.lpatch\n")
            }
        }

        @Test func anApplierThatIsNotStaticIsRefused() throws {
            try withTemporaryDirectory { directory in
                let bundle = try writeBundle(in: directory)
                let output = directory + "/fix.tar"
                try writeText("#!/bin/sh\n", to: directory + "/script")
                let wrong: [(applier: String, why: String)] = [
                    (try applier(["-O1"]), "needs shared libraries"), (directory + "/script", "not a 64-bit ELF file"),
                    (directory, "not a regular file"), (directory + "/none", "can't open it"),
                ]
                for (applier, why) in wrong {
                    let refused = try patchbuild("pack", bundle, "-o", output, "--livepatch", applier)
                    #expect(refused.status == 1 && refused.stderr.contains(why), "\(refused)")
                }
                #expect(!fileExists(output))
            }
        }

        @Test func aSignatureThatDoesNotHoldIsRefused() throws {
            try withTemporaryDirectory { directory in
                let bundle = try writeBundle(in: directory)
                _ = try sign(bundle, in: directory)
                let signed = try Bundle.read(path: bundle)
                let other = try Bundle.read(path: try writeBundle(in: directory, id: "FIX-2"))
                try writeBytes(try other.write(signatures: signed.signatures), to: bundle)
                let refused = try patchbuild(
                    "pack", bundle, "-o", directory + "/fix.tar", "--livepatch", try applier())
                #expect(refused.status == 1 && refused.stderr.contains("alice.sig"), "\(refused)")
            }
        }

        @Test func namesThatAShellWouldReadOtherwiseAreQuoted() throws {
            try withTemporaryDirectory { directory in
                let bundle = try writeBundle(in: directory, id: "a'b;$c")
                let output = directory + "/fix"
                #expect(try patchbuild("pack", bundle, "-o", output, "--livepatch", try applier()).status == 0)
                #expect(try readWhole(output + "/README").contains(#"./livepatch revert 'a'\''b;$c' --all"#))
            }
        }

        private func readWhole(_ path: String) throws -> String { try runOrThrow("cat", [path]).stdout }
    }
}
