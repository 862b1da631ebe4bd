import Glibc
import PatchFormat
import TestSupport
import Testing
import TrustedHost

@testable import PatchApplying

/// The real tools on a host whose `/etc` and `/var/lib` are directories of the test, in a mount namespace of their own.
struct PretendedHost {
    let directory: String
    var settings: String { directory + "/etc/livepatch" }

    init(_ directory: String) throws {
        self.directory = directory
        for name in ["/etc/livepatch", "/var/lib", "/keys"] { try makeDirectory(directory + name) }
        for name in ["alice", "bob"] {
            try runOrThrow("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key(name)])
        }
    }

    func key(_ name: String) -> String { directory + "/keys/" + name }
    func line(_ name: String) -> String { "\(name)@example.org \(readText(key(name) + ".pub"))" }

    func write(_ name: String, _ text: String) throws { try writeText(text, to: settings + "/" + name) }

    @discardableResult
    func livepatch(_ arguments: String..., readOnly: Bool = false) throws -> Output {
        let lock = readOnly ? "mount -o remount,bind,ro /var/lib && " : ""
        let script = "mount --bind \"$0/etc\" /etc && mount --bind \"$0/var/lib\" /var/lib && \(lock)exec \"$@\""
        return try run(
            "unshare",
            ["-m", "--propagation", "private", "sh", "-c", script, directory, toolPath("livepatch")] + arguments,
            seconds: 60)
    }

    @discardableResult
    func sign(_ bundle: String, _ name: String) throws -> Output {
        try runOrThrow(toolPath("patchbuild"), ["sign", bundle, "--key", key(name)])
    }

    /// Does what a remedy says in a command behind `run as root:`.
    func follow(_ output: Output) throws {
        let command = output.stderr.split(separator: "run as root: ").dropFirst().first?.prefix { $0 != "\n" }
        let text = String(try #require(command, "no command in \(output)"))
        try runOrThrow("sh", ["-c", text.replacing("/etc", with: directory + "/etc")])
    }
}

/// A host, a running program and an unsigned bundle for it; cancelled where mounts are not permitted.
private func withHost(
    sequence: Int = 0, _ body: (PretendedHost, RunningProcess, String) throws -> Void
) throws {
    guard try run("unshare", ["-m", "--propagation", "private", "mount", "--bind", "/tmp", "/tmp"]).status == 0 else {
        try Test.cancel("mount namespaces are not permitted here")
    }
    try withPatched(try Programs.plainPatch()) { process, bundle in
        try withTemporaryDirectory { directory in
            try number(bundle, sequence)
            try body(try PretendedHost(directory), process, bundle)
        }
    }
}

/// Gives a bundle another sequence; its signatures are gone.
private func number(_ path: String, _ sequence: Int, _ change: (inout Manifest) -> Void = { _ in }) throws {
    let bundle = try Bundle.read(path: path)
    var manifest = bundle.manifest
    manifest.sequence = sequence
    change(&manifest)
    try writeBytes(try Bundle.write(manifest: manifest, modules: bundle.modules), to: path)
}

@Suite("whom livepatch trusts") struct HostTrustTests {
    @Test("a bundle signed by a principal of allowed_signers is applied, and nothing else")
    func signedBundles() throws {
        try withHost { host, process, bundle in
            try expectRefusal("unsigned", try host.livepatch("apply", bundle, "--pid", process.id))
            try host.sign(bundle, "alice")
            // Nobody is trusted yet; the remedy says where to write what.
            let nobody = try host.livepatch("apply", bundle, "--pid", process.id)
            try expectRefusal("policy-unmet", nobody)
            #expect(nobody.stderr.contains("into /etc/livepatch/allowed_signers, as in `alice@example.org ssh-ed25519"))
            try host.write("allowed_signers", host.line("bob"))
            try expectRefusal("policy-unmet", try host.livepatch("apply", bundle, "--pid", process.id))
            try host.write("allowed_signers", host.line("bob") + host.line("alice"))
            try expectStatus(0, try host.livepatch("apply", bundle, "--pid", process.id))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try host.livepatch("revert", bundle, "--pid", process.id))
        }
    }

    @Test("a policy asks for more signers, names who is missing, and forbids --allow-unsigned")
    func policy() throws {
        try withHost { host, process, bundle in
            try host.write("allowed_signers", host.line("bob") + host.line("alice"))
            try host.write("policy", "require 2 security\ngroup security alice@example.org,bob@example.org\n")
            try host.sign(bundle, "alice")
            let refused = try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
            try expectRefusal("policy-unmet", refused)
            #expect(refused.stderr.contains("does not permit --allow-unsigned"), "\(refused)")
            let missing = try host.livepatch("apply", bundle, "--pid", process.id)
            try expectRefusal("policy-unmet", missing)
            #expect(
                missing.stderr.contains(
                    "have 1 of these sign it with `patchbuild sign`, with keys that /etc/livepatch/"), "\(missing)"
            )
            // What the remedy says.
            try host.sign(bundle, "bob")
            try expectStatus(0, try host.livepatch("apply", bundle, "--pid", process.id))
        }
    }

    @Test("files that others can write, or that are not understood, are refused until the remedy is followed")
    func untrustedFiles() throws {
        try withHost { host, process, bundle in
            try host.write("policy", "allow-unsigned yes\n")
            let apply = { try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned") }
            chmod(host.settings + "/policy", 0o664)
            let writable = try apply()
            try expectRefusal("untrusted-configuration", writable)
            try host.follow(writable)
            chmod(host.settings, 0o777)
            let open = try apply()
            try expectRefusal("untrusted-configuration", open)
            try host.follow(open)
            chown(host.settings + "/policy", 1, 1)
            let owned = try apply()
            try expectRefusal("untrusted-configuration", owned)
            try host.follow(owned)
            try host.write("policy", "allow-unsigned yes\nfrobnicate\n")
            let unknown = try apply()
            try expectRefusal("untrusted-configuration", unknown)
            #expect(
                unknown.stderr.contains("correct line 2 of /etc/livepatch/policy, or put # before it"), "\(unknown)")
            try host.write("policy", "allow-unsigned yes\n#frobnicate\n")
            try expectStatus(0, try apply())
        }
    }

    @Test("nothing blocks taking a patch back, looking at it, or switching it off")
    func takingBackIsNeverBlocked() throws {
        try withHost(sequence: 3) { host, process, bundle in
            try expectStatus(0, try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try host.write("policy", "not a policy\n")
            try host.write("allowed_signers", "nonsense\n")
            try host.write("revoked", "nonsense\n")
            try writeText("nonsense\n", to: host.directory + "/var/lib/livepatch/sequences")
            chmod(host.settings, 0o777)
            for command in ["status", "verify"] {
                try expectStatus(0, try host.livepatch(command, "--pid", process.id))
            }
            try expectStatus(0, try host.livepatch("deactivate", bundle, "--pid", process.id))
            try expectRefusal("untrusted-configuration", try host.livepatch("activate", "fix", "--pid", process.id))
            try expectStatus(0, try host.livepatch("unload", "fix", "--pid", process.id))
            let again = try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
            try expectRefusal("untrusted-configuration", again)
        }
    }

    @Test("a withdrawn bundle is neither applied nor activated, whatever is said, and can be reverted")
    func withdrawn() throws {
        try withHost { host, process, bundle in
            let digest = try Bundle.read(path: bundle).manifestDigest
            try expectStatus(0, try host.livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            try host.write("revoked", "bundle sha256:\(digest)\n")
            try expectRefusal("revoked", try host.livepatch("activate", "fix", "--pid", process.id))
            try expectRefusal("revoked", try host.livepatch("activate", bundle, "--pid", process.id))
            try expectRefusal("revoked", try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try expectStatus(0, try host.livepatch("unload", "fix", "--pid", process.id))
        }
    }

    @Test("trap downgrade: an older bundle is refused, unless that is said and permitted")
    func rollback() throws {
        try withHost(sequence: 5) { host, process, bundle in
            let apply = { try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned") }
            try expectStatus(0, try apply())
            try expectStatus(0, try host.livepatch("revert", bundle, "--pid", process.id))
            try number(bundle, 4)
            let older = try apply()
            try expectRefusal("rollback", older)
            #expect(older.stderr.contains("apply the bundle with sequence 5, or pass --allow-rollback"), "\(older)")
            try host.write("policy", "allow-unsigned yes\n")
            try expectRefusal(
                "rollback",
                try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--allow-rollback"))
            try host.write("policy", "allow-unsigned yes\nallow-rollback yes\n")
            try expectStatus(
                0, try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--allow-rollback"))
            try expectStatus(0, try host.livepatch("revert", bundle, "--pid", process.id))
            // What the remedy says first.
            try number(bundle, 5)
            try expectStatus(0, try apply())
        }
    }

    @Test("where the sequence can't be remembered, nothing is changed")
    func readOnlyMemory() throws {
        try withHost(sequence: 5) { host, process, bundle in
            let refused = try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", readOnly: true)
            #expect(refused.status == 1 && refused.stderr.contains("/var/lib/livepatch"), "\(refused)")
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("an expired bundle is refused")
    func expired() throws {
        try withHost { host, process, bundle in
            try number(bundle, 0) { $0.expires = "2020-01-01T00:00:00Z" }
            try expectRefusal("expired", try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
        }
    }

    @Test("trust says who signed, which rule is missed, and what is in force")
    func trustCommand() throws {
        try withHost(sequence: 2) { host, process, bundle in
            try expectStatus(0, try host.livepatch("trust"))
            try expectRefusal("unsigned", try host.livepatch("trust", bundle))
            try expectStatus(0, try host.livepatch("trust", bundle, "--allow-unsigned"))
            try host.write("allowed_signers", host.line("alice"))
            try host.write("policy", "require 1 security\ngroup security alice@example.org\nlongest-age 90d\n")
            try host.sign(bundle, "alice")
            try expectRefusal("expired", try host.livepatch("trust", bundle, "--json"))
            try host.write("policy", "require 1 security\ngroup security alice@example.org\n")
            let output = try host.livepatch("trust", bundle, "--json")
            try expectStatus(0, output)
            let answer = try JSON(output.stdout)
            #expect(answer["policy"]["requirements"][0]["group"].text == "security")
            #expect(answer["policy"]["allowUnsigned"] == .bool(false))
            #expect(answer["signed"]["signatures"][0]["principals"][0].text == "alice@example.org")
            #expect(answer["signed"]["requirements"][0]["met"] == .bool(true))
            #expect(answer["files"].elements.map { $0["state"].text ?? "" }.filter { $0 == "trusted" }.count == 2)
            #expect(answer["sequence"].number == 2)
            chmod(host.settings + "/policy", 0o666)
            try expectRefusal("untrusted-configuration", try host.livepatch("trust"))
        }
    }

    @Test("signers of the command line count where --allow-unsigned may be said, and nowhere else")
    func givenSigners() throws {
        try withHost { host, process, bundle in
            let signers = host.directory + "/signers"
            let apply = {
                try host.livepatch("apply", bundle, "--pid", process.id, "--allowed-signers", signers)
            }
            try writeText(host.line("alice"), to: signers)
            try host.sign(bundle, "bob")
            try expectRefusal("policy-unmet", try apply())
            try host.sign(bundle, "alice")
            try host.write("policy", "allow-unsigned no\n")
            let refused = try apply()
            try expectRefusal("policy-unmet", refused)
            #expect(refused.stderr.contains("leave --allowed-signers out"), "\(refused)")
            try host.write("policy", "allow-unsigned yes\nrequire 2 any\n")
            try writeText(host.line("alice") + host.line("bob"), to: signers)
            try expectStatus(0, try apply())
            try expectStatus(0, try host.livepatch("revert", bundle, "--pid", process.id))
            try writeText("nonsense\n", to: signers)
            try expectRefusal("untrusted-configuration", try apply())
        }
    }

    @Test("no option and no variable names another place")
    func noOtherPlace() throws {
        try withHost { host, process, bundle in
            try host.write("policy", "allow-unsigned no\n")
            let help = try host.livepatch("help", "apply").stdout + host.livepatch("help", "trust").stdout
            for word in ["--root", "--policy", "--revoked", "--etc"] {
                #expect(!help.contains(word))
            }
            let refused = try host.livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
            try expectRefusal("unsigned", refused)
        }
    }
}
