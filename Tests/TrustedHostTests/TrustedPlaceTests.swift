import Diagnostics
import Glibc
import PatchFormat
import ProcessControl
import Signatures
import TestSupport
import Testing

@testable import TrustedHost

/// Which files are believed, and what is remembered, in a directory that stands for the root of a host.
@Suite struct TrustedPlaceTests {
    private func withHost(_ body: (TrustedPlace, String) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            try makeDirectory(directory + "/etc/livepatch")
            try body(TrustedPlace(root: directory, owner: geteuid()), directory)
        }
    }

    private func refused(_ body: () throws -> Void) -> [String] {
        do {
            try body()
            return []
        } catch let error as Refusals { return error.refusals.map(\.rule) } catch let error as Refusal {
            return [error.rule]
        } catch { return ["\(error)"] }
    }

    @Test func missingFilesAreNothing() throws {
        try withHost { (place, directory) throws in
            #expect(try place.read("/etc/livepatch/policy") == nil)
            #expect(try place.read("/nowhere/at/all") == nil)
            #expect(try HostTrust(place).load().policy == Policy.none)
        }
    }

    @Test func onlyFilesThatNobodyElseCanWriteAreBelieved() throws {
        try withHost { (place, directory) throws in
            let (folder, file) = (directory + "/etc/livepatch", directory + "/etc/livepatch/policy")
            try writeText("allow-unsigned yes\n", to: file)
            let load = { _ = try HostTrust(place).load() }
            #expect(refused(load) == [])
            for (path, good) in [(file, 0o644), (folder, 0o755), (directory + "/etc", 0o755), (directory, 0o700)] {
                for bad in [0o664, 0o646, 0o775, 0o777, 0o1777] as [mode_t] {
                    chmod(path, bad)
                    #expect(refused(load).allSatisfy { $0 == "untrusted-configuration" } && !refused(load).isEmpty)
                }
                chmod(path, mode_t(good))
                #expect(refused(load) == [])
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root gives files away"))
    func filesOfOthersAreNotBelieved() throws {
        try withHost { (place, directory) throws in
            let file = directory + "/etc/livepatch/policy"
            try writeText("allow-unsigned yes\n", to: file)
            for path in [file, directory + "/etc/livepatch", directory + "/etc"] {
                chown(path, 1, 0)
                #expect(refused { _ = try HostTrust(place).load() }.first == "untrusted-configuration", "\(path)")
                chown(path, 0, 0)
            }
            #expect(refused { _ = try HostTrust(place).load() } == [])
        }
    }

    @Test func linksPipesAndDirectoriesAreNotBelieved() throws {
        try withHost { (place, directory) throws in
            let (folder, file) = (directory + "/etc/livepatch", directory + "/etc/livepatch/policy")
            try writeText("allow-unsigned yes\n", to: directory + "/other")
            let load = { _ = try HostTrust(place).load() }
            symlink(directory + "/other", file)
            #expect(refused(load) == ["untrusted-configuration"])
            unlink(file)
            mkfifo(file, 0o600)
            #expect(refused(load) == ["untrusted-configuration"])
            unlink(file)
            mkdir(file, 0o755)
            #expect(refused(load) == ["untrusted-configuration"])
            removeTree(file)
            #expect(refused(load) == [])
            rename(folder, folder + ".away")
            symlink(folder + ".away", folder)
            #expect(refused(load) == ["untrusted-configuration"])
            unlink(folder)
        }
    }

    @Test func everythingThatIsWrongIsSaidAtOnce() throws {
        try withHost { (place, directory) throws in
            for (name, text) in [("policy", "trust all\n"), ("allowed_signers", "alice\n"), ("revoked", "bundle 1\n")] {
                try writeText(text, to: directory + "/etc/livepatch/" + name)
            }
            #expect(refused { _ = try HostTrust(place).load() }.count == 3)
        }
    }

    // MARK: Sequences

    private func manifest(_ sequence: Int, id: String = "fix", builds: [String] = ["aa"]) -> Manifest {
        let layout = ModuleLayout(switchAddress: 0, bindingTable: 0, bindingCount: 0, memorySize: 4096)
        let targets = builds.map {
            ManifestTarget(file: "f", buildID: $0, functions: [], bindings: [], data: [], layout: layout)
        }
        var manifest = Manifest(id: id, targets: targets)
        manifest.sequence = sequence
        return manifest
    }

    private func record(
        _ manifest: Manifest, _ place: TrustedPlace, allowed: Bool = false, policy: Policy = .none
    ) -> [String] {
        refused {
            let claims = TrustClaims(allowRollback: allowed)
            try SequenceStore(place).record(manifest, claims, policy, until: monotonicNanoseconds() + 10_000_000_000)
        }
    }

    @Test("trap downgrade: a lower sequence than one that was applied is refused")
    func sequences() throws {
        try withHost { (place, directory) throws in
            #expect(record(manifest(0), place) == [])
            #expect(!fileExists(directory + "/var"))
            #expect(record(manifest(7, builds: ["aa", "bb"]), place) == [])
            #expect(readText(directory + "/var/lib/livepatch/sequences") == "aa 7 fix\nbb 7 fix\n")
            #expect(record(manifest(6), place) == ["rollback"])
            #expect(record(manifest(0), place) == ["rollback"])
            #expect(record(manifest(6, builds: ["cc", "bb"]), place) == ["rollback"])
            #expect(record(manifest(7), place) == [])
            #expect(record(manifest(6, id: "other"), place) == [])
            #expect(record(manifest(6, builds: ["cc"]), place) == [])
            #expect(record(manifest(8), place) == [])
            #expect(record(manifest(6), place, allowed: true) == [])
            let strict = try Policy(Array("allow-rollback no".utf8), name: "policy")
            #expect(record(manifest(6), place, allowed: true, policy: strict) == ["rollback"])
            let lenient = try Policy(Array("allow-rollback yes".utf8), name: "policy")
            #expect(record(manifest(6), place, allowed: true, policy: lenient) == [])
            #expect(record(manifest(6), place, policy: lenient) == ["rollback"])
            #expect(
                readText(directory + "/var/lib/livepatch/sequences") == "aa 6 other\naa 8 fix\nbb 7 fix\ncc 6 fix\n")
        }
    }

    @Test func aMemoryThatIsNotUnderstoodIsRefused() throws {
        try withHost { (place, directory) throws in
            let file = directory + "/var/lib/livepatch/sequences"
            #expect(record(manifest(7), place) == [])
            for text in ["aa 7\n", "aa x fix\n", "aa 7 fix\naa 8 fix\n", "aa -1 fix\n", "\u{0}", "aa 7 fix more\n"] {
                try writeText(text, to: file)
                #expect(record(manifest(9), place) == ["untrusted-configuration"], "\(text)")
                #expect(record(manifest(0), place) == ["untrusted-configuration"], "\(text)")
            }
            try writeText("aa 7 fix\n", to: file)
            chmod(file, 0o666)
            #expect(record(manifest(9), place) == ["untrusted-configuration"])
        }
    }

    @Test func whatCanNotBeRememberedIsRefused() throws {
        try withHost { (place, directory) throws in
            try makeDirectory(directory + "/var/lib/livepatch/sequences.new")
            #expect(record(manifest(7), place) == ["rollback"])
            removeTree(directory + "/var")
            try writeText("", to: directory + "/var")
            #expect(record(manifest(7), place) == ["untrusted-configuration"])
        }
    }

    @Test func anotherHolderOfTheLockIsWaitedFor() throws {
        try withHost { (place, directory) throws in
            #expect(record(manifest(7), place) == [])
            let lock = open(directory + "/var/lib/livepatch/sequences.lock", O_RDWR | O_CLOEXEC)
            defer { close(lock) }
            #expect(flock(lock, LOCK_EX) == 0)
            #expect(throws: Busy.self) {
                try SequenceStore(place).record(manifest(8), TrustClaims(), .none, until: 0)
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root gives files away"))
    func othersThanRootAreHeldToWhatRootRemembers() throws {
        try withHost { (place, directory) throws in
            #expect(record(manifest(7), place) == [])
            // To whom everything belongs is now somebody else than who asks.
            try runOrThrow("chown", ["-R", "1:1", directory])
            let other = TrustedPlace(root: directory, owner: 1)
            #expect(record(manifest(6), other) == ["rollback"])
            #expect(record(manifest(9), other) == [])
            #expect(readText(directory + "/var/lib/livepatch/sequences") == "aa 7 fix\n")
        }
    }
}
