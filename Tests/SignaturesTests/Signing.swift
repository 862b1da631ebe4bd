import Crypto
import Diagnostics
import FoundationEssentials
import TestSupport
import Testing

@testable import PatchFormat
@testable import Signatures

/// A small bundle that tests sign, bend and judge.
enum Samples {
    static let buildID = "00112233445566778899aabbccddeeff00112233"

    static func manifest(id: String = "FIX-1") -> Manifest {
        let function = PatchedFunction(
            name: "parse", object: "parse.o", change: .changed, reason: "code differs",
            original: OriginalFunction(
                range: AddressRange(address: 0x1200, size: 64), coldRanges: [], digest: Digest.sha256([1]),
                entry: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0), endsWithCall: false),
            newRanges: [AddressRange(address: 0x1000, size: 70)],
            oldRanges: [AddressRange(address: 0x1080, size: 64)], stub: 0x1100, oldSlot: 0x3000)
        let layout = ModuleLayout(switchAddress: 0x3008, bindingTable: 0x2000, bindingCount: 0, memorySize: 0x4000)
        let target = ManifestTarget(
            file: "served", buildID: buildID, functions: [function], bindings: [], data: [], layout: layout)
        return Manifest(id: id, targets: [target])
    }

    /// Without any function: every bit of it is tried.
    static func small(id: String = "FIX-1") -> Manifest {
        let layout = ModuleLayout(switchAddress: 0, bindingTable: 0, bindingCount: 0, memorySize: 4096)
        let target = ManifestTarget(
            file: "served", buildID: buildID, functions: [], bindings: [], data: [], layout: layout)
        return Manifest(id: id, targets: [target])
    }

    static func bundle(_ manifest: Manifest = manifest()) throws -> Bundle {
        let module = [UInt8](repeating: 0x5a, count: 30)
        return try Bundle.parse(try Bundle.write(manifest: manifest, modules: ["modules/\(buildID).so": module]))
    }

    /// The bundle with these signatures, by the name before `.sig`.
    static func sealed(_ bundle: Bundle, _ signatures: [String: [UInt8]]) throws -> SealedBundle {
        let named = signatures.map { ("signatures/\($0.key).sig", $0.value) }
        return try SealedBundle.split(try bundle.write(signatures: Dictionary(uniqueKeysWithValues: named)))
    }
}

/// Keys in a directory, and the real ssh-keygen to work on them.
struct KeyRing {
    var directory: String

    func path(_ name: String) -> String { directory + "/" + name }

    @discardableResult
    func keygen(_ arguments: String..., environment: [String: String] = [:]) throws -> Output {
        let output = try run("ssh-keygen", arguments, in: directory, environment: environment, seconds: 60)
        guard output.status == 0 else { throw SystemFailure("ssh-keygen \(arguments): \(output)") }
        return output
    }

    func make(_ name: String, type: String = "ed25519", passphrase: String = "") throws {
        try keygen("-q", "-t", type, "-N", passphrase, "-C", name, "-f", path(name))
    }

    /// The key's line of its `.pub` file.
    func publicLine(_ name: String) -> String {
        String(readText(path(name + ".pub")).split(separator: "\n").first ?? "")
    }

    /// What `ssh-keygen -Y sign` makes.
    func sign(
        _ message: [UInt8], _ key: String, namespace: String = SSHSignature.bundleNamespace,
        environment: [String: String] = [:]
    ) throws -> [UInt8] {
        let file = path("message.\(key.replacing("/", with: "_"))")
        try writeBytes(message, to: file)
        removeTree(file + ".sig")
        try keygen("-q", "-Y", "sign", "-n", namespace, "-f", path(key), file, environment: environment)
        return readBytes(file + ".sig")
    }

    /// A certificate for a key, `NAME-cert.pub`.
    func certify(_ name: String, by authority: String, _ options: String...) throws {
        let arguments = ["-q", "-s", path(authority)] + options + [path(name + ".pub")]
        let output = try run("ssh-keygen", arguments, in: directory, seconds: 60)
        guard output.status == 0 else { throw SystemFailure("ssh-keygen \(arguments): \(output)") }
    }
}

func withKeyRing(_ body: (KeyRing) throws -> Void) throws {
    try withTemporaryDirectory { try body(KeyRing(directory: $0)) }
}

extension Trust {
    /// By texts as they stand in files.
    init(_ signers: String, policy: String? = nil, revoked: [UInt8]? = nil) throws {
        self.init(signersPath: "allowed_signers")
        self.signers = try AllowedSigners(Array(signers.utf8), name: "allowed_signers")
        if let policy { self.policy = try Policy(Array(policy.utf8), name: "policy") }
        if let revoked { try revocations.add(revoked, name: "revoked") }
    }

    func rules(_ sealed: SealedBundle, allowUnsigned: Bool = false, at now: Int64 = Times.now()) -> [String] {
        judge(sealed, allowUnsigned: allowUnsigned, at: now).refused.map(\.rule)
    }
}

/// The rule of the refusal that `body` throws, or nil.
func refusedRule(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch let refusal as Refusal {
        return refusal.rule
    } catch {
        return "not a refusal: \(error)"
    }
}
