/// Rules about who vouches for a bundle.
let explanationsOfTrust: [(rule: Rule, text: RuleExplanation)] = [
    (
        .unsigned,
        RuleExplanation(
            "Nobody vouches for the bundle's origin. It becomes code of the process.",
            example: "livepatch apply fix.lpatch --pid 1234              // a bundle without a signature",
            remedy: "have it signed with `patchbuild sign`, or pass --allow-unsigned if you trust the file's origin",
            wayOut:
                "Have it signed: `patchbuild sign fix.lpatch --key KEY`. Or check where the file comes from and pass --allow-unsigned. A file /etc/livepatch/policy permits that only where it says `allow-unsigned yes`."
        )
    ),
    (
        .untrustedSignature,
        RuleExplanation(
            "A signature in the bundle is damaged, was made over another bundle or for another purpose, or is of a kind that is not known here. Whoever signed did not sign these bytes.",
            example: "a signature copied from another bundle; one made with ssh-keygen -n git",
            remedy:
                "fetch the bundle again, or sign it again with `patchbuild sign`, which leaves out what does not hold",
            wayOut:
                "Fetch the bundle again from where it was signed. If it came so from there, `patchbuild sign` leaves out what does not hold."
        )
    ),
    (
        .policyUnmet,
        RuleExplanation(
            "Too few of those whom this host trusts have signed the bundle. Distinct principals count: two keys of one person are one principal, and so is one key that stands under two names.",
            example: """
                require 2 security                      // /etc/livepatch/policy
                group security alice@example.org,bob@example.org
                livepatch apply fix.lpatch --pid 1234   // only alice has signed
                """,
            remedy: "have the missing signers sign it; `livepatch trust FIX.lpatch` says who has signed",
            wayOut:
                "`livepatch trust FIX.lpatch` (or `patchbuild verify`) says who has signed and what is missing. Have the others sign; their keys belong into /etc/livepatch/allowed_signers."
        )
    ),
    (
        .revoked,
        RuleExplanation(
            "The bundle has been withdrawn, or a signer's key or certificate has been revoked. What it vouches for can't be trusted any more.",
            example: "bundle sha256:5f…                       // a line of /etc/livepatch/revoked",
            remedy: "fetch the bundle that replaces this one; reverting is always possible",
            wayOut:
                "Fetch the bundle that replaces it, signed by a key that stands. Deactivating, unloading and reverting are never refused by this rule."
        )
    ),
    (
        .expired,
        RuleExplanation(
            "The bundle's time is over: the manifest says when it expires, or the policy how old it may be. Somebody may have kept newer bundles from this host.",
            example: "patchbuild build … --expires 2026-01-31; longest-age 90d in /etc/livepatch/policy",
            remedy: "fetch a newer bundle; reverting is always possible",
            wayOut: "Fetch a newer bundle; check this host's clock. Reverting is never refused by this rule.")
    ),
    (
        .rollback,
        RuleExplanation(
            "A bundle of this id with a higher sequence has been applied on this host to the same build of the program. The older one may lack what the newer one fixes.",
            example: "sequence 7 of fix-openssl, where /var/lib/livepatch/sequences has 8",
            remedy: "apply the newer bundle, or pass --allow-rollback where the policy allows it",
            wayOut:
                "Apply the newer bundle. Or pass --allow-rollback; a file /etc/livepatch/policy permits that only where it says `allow-rollback yes`. Reverting is never refused by this rule."
        )
    ),
    (
        .untrustedConfiguration,
        RuleExplanation(
            "A file below /etc/livepatch or /var/lib/livepatch can't be believed: others than root could have written it, it can't be read, or a line of it is not understood. What is not understood is never passed over.",
            example: "chmod g+w /etc/livepatch; a key type in allowed_signers that is not supported",
            remedy: "correct the file as the reason says; `livepatch trust` shows what is read",
            wayOut:
                "The message names the file and the line. Files, and each directory from / on, belong to root and are not writable by group or others. `livepatch trust` says when all is well."
        )
    ),
    (
        .unsuitableKey,
        RuleExplanation(
            "The key is of a kind that bundles are not signed with. Ed25519 and ECDSA P-256 are, both also on hardware (sk), and certificates of these.",
            example: "patchbuild sign fix.lpatch --key ~/.ssh/id_rsa",
            remedy: "make a key with `ssh-keygen -t ed25519`, or -t ecdsa, ed25519-sk, ecdsa-sk",
            wayOut: "Make a key: `ssh-keygen -t ed25519 -f KEY`.")
    ),
    (
        .signingFailed,
        RuleExplanation(
            "ssh-keygen made no signature, or one that does not hold. The bundle is left as it was.",
            example: "a wrong passphrase; a public key whose private half no agent holds",
            remedy: "correct what ssh-keygen's message says, and sign again",
            wayOut: "ssh-keygen's own message stands in the reason. Correct that, and sign again.")
    ),
]
