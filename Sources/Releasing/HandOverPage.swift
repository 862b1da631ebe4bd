import PatchFormat

/// The page of instructions beside a bundle, with its real names, and the list of its signers.
struct HandOverPage {
    var bundle: Bundle
    var signers: [HandedSigner]

    var bundleName: String { "\(bundle.manifest.id).lpatch" }

    /// For a shell.
    private var file: String { shellQuoted(bundleName) }
    private var id: String { shellQuoted(bundle.manifest.id) }

    var text: String {
        [head, origin, apply, confirm, takeBack, statuses].map { $0.joined(separator: "\n") }.joined(separator: "\n\n")
            + "\n"
    }

    private var head: [String] {
        let manifest = bundle.manifest
        let title = "How to apply the live patch \(manifest.id)"
        var lines = [title, String(repeating: "=", count: title.utf8.count), ""]
        if !manifest.cves.isEmpty { lines.append("Fixes:    \(manifest.cves.joined(separator: ", "))") }
        lines += manifest.targets.enumerated().map { index, target in
            "\(index == 0 ? "Patches:" : "        ")  \(target.file), build-id \(target.buildID)"
        }
        if let expires = manifest.expires { lines.append("Expires:  \(expires)") }
        lines += manifest.requires.map { "Requires: the patch \($0.id), applied before this one" }
        lines.append("Manifest: sha256 \(bundle.manifestDigest)")
        return lines + [
            "",
            "livepatch, in this directory, is one file that needs nothing else of the machine but /proc. Run it here, as root.",
            "It puts the patch into running programs; nothing is restarted, and nothing on the disk changes. A program that is",
            "started later runs the code on the disk: apply the patch again, until the package is updated.",
        ]
    }

    private var origin: [String] {
        let places = [
            "What this machine believes stands in /etc/livepatch, in files that only root can write:", "",
            "    allowed_signers   who may sign, with which key; a line is `NAME ssh-ed25519 AAAA...`",
            "    policy            how many of them must have signed, and of which groups",
            "    revoked           keys and bundles that are not believed any more", "",
            "livepatch checks the signatures by these files before it believes anything in the bundle. To see what it finds:",
            "", "    ./livepatch trust \(file)",
        ]
        guard !signers.isEmpty else {
            return [
                "1. Check where it comes from", "",
                "This bundle is NOT signed. livepatch refuses it unless --allow-unsigned is added to the command, and this",
                "machine's policy permits that. Ask for a signed bundle.", "",
            ] + places
        }
        return [
            "1. Check where it comes from", "",
            "SIGNERS has the fingerprints of the keys that signed. Compare them with those that your release engineers gave you,",
            "by another way than this archive.", "",
        ] + places
    }

    private var apply: [String] {
        [
            "2. Apply it", "",
            "    ./livepatch apply \(file) --all\(unsignedOption)         every process that it is for",
            "    ./livepatch apply \(file) --pid PID\(unsignedOption)     one process", "",
            "Busy (exit status 3) means that a thread is inside the code that is replaced, or that the process is being traced.",
            "Nothing has changed, and the message names the thread and the function. livepatch has tried for ten seconds by then:",
            "run the command again, or let it try longer with --timeout SECONDS.",
        ]
    }

    private var unsignedOption: String { signers.isEmpty ? " --allow-unsigned" : "" }

    private var confirm: [String] {
        [
            "3. Confirm it", "",
            "    ./livepatch status \(id)     which processes have it, and whether it is active",
            "    ./livepatch verify \(id)     compares every byte in memory with what must be there",
        ]
    }

    private var takeBack: [String] {
        [
            "4. Take it back, at any time", "",
            "    ./livepatch revert \(id) --all", "",
            "The old code runs again, and every byte of the program's code is as it was.",
        ]
    }

    private var statuses: [String] {
        [
            "Exit status", "",
            "    0   done",
            "    1   refused, nothing changed; the message has the reason and the way out, `./livepatch help RULE` more of both",
            "    2   wrong usage",
            "    3   busy, nothing changed: try again",
            "    4   failed midway; `./livepatch status` says what is left, and the next command completes it or takes it back",
            "",
            "Killing livepatch, or the machine's losing this terminal, harms no program: it runs the old code or the new.",
        ]
    }

    var signersText: String {
        var lines = [
            "# Who signed \(bundleName) (manifest sha256 \(bundle.manifestDigest)).",
            "# Each signature holds over this bundle. Whether these keys may vouch for it, /etc/livepatch of the machine says.",
        ]
        if signers.isEmpty { lines.append("# Nobody has signed.") }
        lines += signers.map { "\($0.name)  \($0.key)\($0.certificate.map { "  \($0)" } ?? "")" }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// One word for a POSIX shell.
func shellQuoted(_ word: String) -> String {
    let isPlain = word.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
            || "+,-./:=@_%".utf8.contains($0)
    }
    if isPlain, !word.isEmpty { return word }
    return "'" + word.map { $0 == "'" ? "'\\''" : String($0) }.joined() + "'"
}
