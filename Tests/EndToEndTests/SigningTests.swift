import Glibc
import PatchFormat
import TestSupport
import Testing

/// A bundle, and keys made by the real ssh-keygen.
struct SigningDesk {
    let directory: String
    var bundle: String { directory + "/fix.lpatch" }

    init(_ name: String) throws {
        directory = try Workshop.directory(name)
        let layout = ModuleLayout(switchAddress: 0, bindingTable: 0, bindingCount: 0, memorySize: 4096)
        let target = ManifestTarget(
            file: "served", buildID: "0011", functions: [], bindings: [], data: [], layout: layout)
        let bytes = try Bundle.write(
            manifest: Manifest(id: "FIX-1", targets: [target]), modules: [target.module: [1, 2, 3]],
            review: Array("{}".utf8))
        try writeBytes(bytes, to: bundle)
    }

    func path(_ name: String) -> String { directory + "/" + name }

    func make(_ name: String, type: String = "ed25519", passphrase: String = "", more: [String] = []) throws {
        try runOrThrow("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-f", path(name)] + more)
    }

    func line(_ name: String) -> String { "\(name)@example.org \(readText(path(name + ".pub")))" }

    func sign(_ key: String, _ more: String..., environment: [String: String] = [:]) throws -> Output {
        let arguments = ["sign", bundle, "--key", path(key)] + more
        return try run(toolPath("patchbuild"), arguments, in: directory, environment: environment, seconds: 60)
    }

    func verify(_ signers: String, _ more: String..., policy: String? = nil) throws -> Output {
        try writeText(signers, to: path("allowed_signers"))
        var arguments = ["verify", bundle, "--allowed-signers", path("allowed_signers")] + more
        if let policy {
            try writeText(policy, to: path("policy"))
            arguments += ["--policy", path("policy")]
        }
        return try run(toolPath("patchbuild"), arguments)
    }

    /// A script that gives the passphrase, for ssh-keygen to run.
    func asking(_ passphrase: String) throws -> [String: String] {
        try writeBytes(Array("#!/bin/sh\necho '\(passphrase)'\n".utf8), to: path("ask"), mode: 0o700)
        return ["SSH_ASKPASS": path("ask"), "SSH_ASKPASS_REQUIRE": "force"]
    }

    /// Runs a shell script with a real agent of its own.
    func withAgent(_ script: String) throws -> Output {
        let tool = toolPath("patchbuild")
        return try run("ssh-agent", ["sh", "-c", script, tool], in: directory, seconds: 60)
    }
}

extension EndToEnd {
    @Suite struct SigningTests {
        @Test(arguments: ["ed25519", "ecdsa"])
        func signedBundlesVerify(_ type: String) throws {
            let desk = try SigningDesk("sign-\(type)")
            try desk.make("alice", type: type)
            let before = try Bundle.read(path: desk.bundle)
            let unsigned = try desk.verify(desk.line("alice"), "--json")
            #expect(unsigned.status == 1 && unsigned.stdout.contains("\"unsigned\""), "\(unsigned)")
            let signed = try desk.sign("alice", "--json")
            #expect(signed.status == 0, "\(signed)")
            #expect(try JSON(signed.stdout)["signatures"].number == 1)
            let after = try Bundle.read(path: desk.bundle)
            #expect(after.manifestBytes == before.manifestBytes && after.modules == before.modules)
            #expect(after.review == before.review)
            let verified = try desk.verify(desk.line("alice"), "--json")
            #expect(verified.status == 0, "\(verified)")
            let answer = try JSON(verified.stdout)
            #expect(answer["accepted"] == .bool(true) && answer["id"].text == "FIX-1")
            #expect(answer["signatures"][0]["principals"][0].text == "alice@example.org")
            #expect(answer["signatures"][0]["fingerprint"] == (try JSON(signed.stdout))["fingerprint"])
            try expectKeygenAccepts(desk, "alice")
        }

        /// By what tar and ssh-keygen alone can do.
        private func expectKeygenAccepts(_ desk: SigningDesk, _ name: String) throws {
            let script = """
                tar xf fix.lpatch && ssh-keygen -Y verify -n livepatch-bundle -f allowed_signers -I \(name)@example.org \
                -s signatures/*.sig < manifest.json
                """
            let output = try run("sh", ["-c", script], in: desk.directory)
            #expect(output.status == 0, "\(output)")
            print("ssh-keygen -Y verify of ours: \(output.stdout)", terminator: "")
        }

        @Test func passphrasesAreAskedFor() throws {
            let desk = try SigningDesk("sign-passphrase")
            try desk.make("alice", passphrase: "open sesame")
            let before = readBytes(desk.bundle)
            let wrong = try desk.sign("alice", "--json", environment: try desk.asking("guess"))
            try expectRefusal("signing-failed", wrong)
            #expect(wrong.stderr.contains("incorrect passphrase") && wrong.stderr.contains("give the key's passphrase"))
            #expect(readBytes(desk.bundle) == before)
            // What the remedy says.
            let right = try desk.sign("alice", environment: try desk.asking("open sesame"))
            #expect(right.status == 0, "\(right)")
            #expect(!right.stdout.contains("sesame") && !right.stderr.contains("sesame"))
            #expect(try desk.verify(desk.line("alice")).status == 0)
        }

        @Test func passphrasesCanBeTyped() throws {
            guard try run("script", ["-qec", "true", "/dev/null"], seconds: 10).status == 0 else {
                try Test.cancel("no terminal can be made here")
            }
            let desk = try SigningDesk("sign-terminal")
            try desk.make("alice", passphrase: "open sesame")
            // `script` gives the tool a terminal, on which the passphrase is typed.
            let command = "\(toolPath("patchbuild")) sign fix.lpatch --key alice"
            let output = try run(
                "sh", ["-c", "(sleep 3; echo 'open sesame') | script -qec '\(command)' /dev/null"], in: desk.directory,
                environment: ["SSH_ASKPASS_REQUIRE": "never"], seconds: 60)
            #expect(output.stdout.contains("Enter passphrase") && !output.stdout.contains("sesame"), "\(output)")
            #expect(try desk.verify(desk.line("alice")).status == 0, "\(output)")
        }

        @Test func agentsSign() throws {
            let desk = try SigningDesk("sign-agent")
            for name in ["alice", "bob"] { try desk.make(name) }
            // The agent holds the key; the private half is not on the disk.
            let signed = try desk.withAgent(
                "ssh-add -q alice && rm alice && \"$0\" sign fix.lpatch --key alice.pub --json")
            #expect(signed.status == 0, "\(signed)")
            #expect(try desk.verify(desk.line("alice")).status == 0)
            // An agent that has not got it; then what the remedy says.
            try runOrThrow("mv", [desk.path("bob"), desk.path("hidden")])
            let missing = try desk.withAgent("\"$0\" sign fix.lpatch --key bob.pub --json")
            try expectRefusal("signing-failed", missing)
            #expect(missing.stderr.contains("hand the key to the agent: ssh-add PRIVATE-KEY"), "\(missing)")
            let added = try desk.withAgent("ssh-add -q hidden && \"$0\" sign fix.lpatch --key bob.pub")
            #expect(added.status == 0, "\(added)")
            let policy = "require 2 any\n"
            #expect(try desk.verify(desk.line("alice") + desk.line("bob"), policy: policy).status == 0)
        }

        @Test func certificatesSign() throws {
            let desk = try SigningDesk("sign-certificate")
            for name in ["ca", "alice"] { try desk.make(name) }
            try runOrThrow(
                "ssh-keygen",
                ["-q", "-s", desk.path("ca"), "-I", "alice-1", "-n", "alice@example.org", desk.path("alice.pub")])
            let signed = try desk.sign("alice-cert.pub")
            #expect(signed.status == 0, "\(signed)")
            let authority = "*@example.org cert-authority \(readText(desk.path("ca.pub")))"
            #expect(try desk.verify(authority).status == 0)
            #expect(try desk.verify(desk.line("alice")).status == 1)
        }

        @Test func severalSignAndTheSameKeyReplaces() throws {
            let desk = try SigningDesk("sign-several")
            for name in ["alice", "bob"] { try desk.make(name) }
            #expect(try desk.sign("alice", "--name", "release").status == 0)
            // Another key does not take the name; what the remedy says.
            let taken = try desk.sign("bob", "--name", "release", "--json")
            try expectRefusal("signing-failed", taken)
            #expect(try desk.sign("bob").status == 0)
            let again = try desk.sign("alice", "--json")
            #expect(try JSON(again.stdout)["replaced"] == .bool(true), "\(again)")
            #expect(try JSON(again.stdout)["signatures"].number == 2)
            #expect(try Bundle.read(path: desk.bundle).signatures["signatures/release.sig"] == nil)
            #expect(try desk.sign("alice", "--name", "../x").status == 2)
            let both = desk.line("alice") + desk.line("bob")
            #expect(try desk.verify(both, policy: "require 2 any").status == 0)
        }

        @Test func whatDoesNotHoldIsLeftOutBySigningAgain() throws {
            let desk = try SigningDesk("sign-again")
            for name in ["alice", "bob"] { try desk.make(name) }
            let bundle = try Bundle.read(path: desk.bundle)
            try writeBytes(bundle.manifestBytes, to: desk.path("m"))
            try runOrThrow("ssh-keygen", ["-q", "-Y", "sign", "-n", "git", "-f", desk.path("bob"), desk.path("m")])
            try writeBytes(
                try bundle.write(signatures: ["signatures/bob.sig": readBytes(desk.path("m.sig"))]), to: desk.bundle)
            let refused = try desk.verify(desk.line("bob"), "--json")
            try expectRefusal("untrusted-signature", refused)
            #expect(refused.stderr.contains("made for the namespace git"), "\(refused)")
            // What the remedy says.
            let signed = try desk.sign("alice", "--json")
            #expect(try JSON(signed.stdout)["dropped"][0].text == "signatures/bob.sig", "\(signed)")
            #expect(try desk.verify(desk.line("alice")).status == 0)
        }

        @Test(arguments: [["rsa"], ["ecdsa", "-b", "384"]])
        func otherKeysAreRefused(_ type: [String]) throws {
            let desk = try SigningDesk("sign-\(type[0])")
            try desk.make("old", type: type[0], more: Array(type.dropFirst()))
            let refused = try desk.sign("old", "--json")
            try expectRefusal("unsuitable-key", refused)
            #expect(refused.stderr.contains("make a key with `ssh-keygen -t ed25519`"))
            // What the remedy says.
            try desk.make("new")
            #expect(try desk.sign("new").status == 0)
        }

        @Test func whatIsMissingIsSaid() throws {
            let desk = try SigningDesk("sign-missing")
            try desk.make("alice")
            try expectRefusal("signing-failed", try desk.sign("nobody", "--json"))
            let without = try desk.sign("alice", "--json", environment: ["PATH": "/nonexistent"])
            try expectRefusal("signing-failed", without)
            #expect(without.stderr.contains("apt-get install openssh-client"), "\(without)")
            let bundle = readBytes(desk.bundle)
            try writeBytes(Array(bundle.dropLast()), to: desk.bundle)
            try expectRefusal("bad-bundle", try desk.sign("alice", "--json"))
        }

        @Test func aFullDiskLeavesTheBundleAsItWas() throws {
            let desk = try SigningDesk("sign-full")
            try desk.make("alice")
            let script = """
                mkdir small && mount -t tmpfs -o size=32k tmpfs small && cp fix.lpatch small/ && cp fix.lpatch before &&
                { dd if=/dev/zero of=small/fill bs=1k 2>/dev/null; "$0" sign small/fix.lpatch --key alice; echo "status $?"
                cmp small/fix.lpatch before && echo same; ls small | wc -l; }
                """
            let output = try run("unshare", ["-m", "sh", "-c", script, toolPath("patchbuild")], in: desk.directory)
            guard output.stdout.contains("status") else { try Test.cancel("mounts are not permitted here") }
            #expect(output.stdout.contains("status 4\nsame\n2\n"), "\(output)")
            #expect(output.stderr.contains("can't write small/fix.lpatch"), "\(output)")
        }

        @Test func refusalsOfVerify() throws {
            let desk = try SigningDesk("verify-refusals")
            for name in ["alice", "bob"] { try desk.make(name) }
            #expect(try desk.sign("alice").status == 0)
            try expectRefusal("policy-unmet", try desk.verify(desk.line("bob"), "--json"))
            try expectRefusal("untrusted-configuration", try desk.verify("alice ssh-rsa AAAA", "--json"))
            try expectRefusal(
                "untrusted-configuration", try desk.verify(desk.line("alice"), "--json", policy: "who knows"))
            try expectRefusal(
                "untrusted-configuration", try desk.verify(desk.line("alice"), "--json", "--revoked", desk.path("none"))
            )
            let revoked = desk.path("revoked")
            try writeText("bundle sha256:\(try Bundle.read(path: desk.bundle).manifestDigest)\n", to: revoked)
            try expectRefusal("revoked", try desk.verify(desk.line("alice"), "--json", "--revoked", revoked))
            try runOrThrow("ssh-keygen", ["-q", "-k", "-f", revoked, desk.path("alice.pub")])
            let key = try desk.verify(desk.line("alice"), "--json", "--revoked", revoked)
            try expectRefusal("revoked", key)
            #expect(key.stderr.contains("have the bundle signed with a key that stands"), "\(key)")
            // What the remedy says.
            #expect(try desk.sign("bob").status == 0)
            #expect(try desk.verify(desk.line("bob"), "--revoked", revoked).status == 0)
            var bytes = readBytes(desk.bundle)
            let place = try #require(bytes.firstRange(of: Array("FIX-1".utf8)))
            bytes[place.lowerBound] ^= 1
            try writeBytes(bytes, to: desk.bundle)
            try expectRefusal("untrusted-signature", try desk.verify(desk.line("bob"), "--json"))
        }
    }

    @Suite struct ValidityTests {
        @Test func buildSetsSequenceAndExpiry() throws {
            let source = """
                #include <stdio.h>
                __attribute__((noinline)) int f(int n) { printf("%d\\n", n + 1); return n; }
                int main(int c, char **v) { (void)v; return f(c); }
                """
            let program = try SmallProgram("validity", ["main.c": source])
            let edit = SmallProgram.Edit(file: "main.c", old: "n + 1", new: "n + 2")
            let built = try program.build([edit], ["--sequence", "7", "--expires", "2031-12-31"])
            #expect(built.status == 0, "\(built)")
            let manifest = try Bundle.read(path: program.bundle).manifest
            #expect(manifest.sequence == 7 && manifest.expires == "2031-12-31T23:59:59Z")
            for bad in [["--sequence", "-1"], ["--expires", "soon"], ["--expires", "2031-02-30"]] {
                #expect(try program.build([edit], bad).status == 2, "\(bad)")
            }
        }
    }
}
