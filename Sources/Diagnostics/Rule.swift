/// The catalogue of rules by which a patch is refused: each has a name that never changes and a way out.
///
/// Names that stand in the design's list of traps are kept, so that a refusal can be looked up there.
public enum Rule: String, CaseIterable, Sendable {
    // Sources and compile commands.
    case diffDoesNotApply = "diff-does-not-apply"
    case unreadSource = "unread-source"
    case sourceAndGenerator = "source-and-generator"
    case noCompileCommand = "no-compile-command"
    case compileFailed = "compile-failed"

    // The target and its objects.
    case badInput = "bad-input"
    case stripped = "stripped"
    case unmatchedFunction = "unmatched-function"
    case unresolvedSymbol = "unresolved-symbol"
    case ltoObject = "lto-object"
    case nothingToPatch = "nothing-to-patch"

    // What the patch changes.
    case typeLayout = "type-layout"
    case dataInitialValue = "data-initial-value"
    case dataSize = "data-size"
    case lostState = "lost-state"
    case readOnlyData = "read-only-data"
    case meaning = "meaning-without-layout"
    case changedSignature = "changed-signature"
    case changedConstant = "changed-constant-escapes"
    case vanishedFunction = "vanished-function"
    case newThreadLocal = "new-thread-local"
    case inlinedCopy = "inlined-copy"
    case entryNone = "entry-none"
    case constructors = "constructors"
    case aliases = "aliases"
    case cplusplus = "cplusplus"
    case relocationType = "relocation-type"
    case pieLibraryData = "pie-library-data"
    case ambiguousSymbol = "ambiguous-symbol"

    // Bundles.
    case badBundle = "bad-bundle"
    case formatVersion = "format-version"
    case notReproduced = "not-reproduced"

    // Who vouches for a bundle.
    case unsigned = "unsigned"
    case untrustedSignature = "untrusted-signature"
    case policyUnmet = "policy-unmet"
    case revoked = "revoked"
    case expired = "expired"
    case rollback = "rollback"
    case untrustedConfiguration = "untrusted-configuration"
    case unsuitableKey = "unsuitable-key"
    case signingFailed = "signing-failed"

    // Processes.
    case noPermission = "no-permission"
    case noProcess = "no-process"
    case notMapped = "target-not-mapped"
    case wrongBuild = "wrong-build"
    case changedBytes = "changed-bytes"
    case notLoaded = "not-loaded"
    case patchState = "patch-state"
    case overlap = "patches-undo-each-other"
    case missingRequirement = "missing-requirement"
    case requiredByOthers = "required-by-others"
    case unboundSymbol = "binding-scope"
    case noHole = "no-near-hole"
    case foreignStacks = "foreign-stacks"
    case sharedMemory = "shared-memory-sibling"
    case unsupportedProcess = "unsupported-process"
    case hostileMemory = "hostile-registry"

    /// The usual way out; a refusal may give a better one.
    public var remedy: String {
        switch self {
        case .diffDoesNotApply: "give the diff against the very source the target was built from (it applies with -p1)"
        case .unreadSource: "rebuild a tree with the change and give it with --new-source"
        case .sourceAndGenerator: "rebuild a tree with the change and give it with --new-source"
        case .noCompileCommand: "record the whole build with `patchbuild record -- BUILD-COMMAND`"
        case .compileFailed: "read the compiler's message; the recorded command must still work in this tree"
        case .badInput: "check the file"
        case .stripped: "give --symbols: the unstripped ELF of the same build (a rebuild or a -dbgsym package)"
        case .unmatchedFunction: "use the compiler, flags and source that the target was built with"
        case .unresolvedSymbol: "record the whole build, so that the unit that defines the symbol is known"
        case .ltoObject: "build the target without -flto; machine code does not exist before its link"
        case .nothingToPatch: "nothing to do: the compiled code does not change"
        case .typeLayout:
            "restart, change the fix so that the layout stays, or record a decision with --allow type-layout=NAME"
        case .dataInitialValue:
            "restart, set the value from patched code, or have it written at the switch by --allow data-initial-value=NAME"
        case .dataSize: "restart, or keep the object's size in the fix"
        case .lostState:
            "keep the variable's name in the fix, or record a decision with --allow lost-state=NAME"
        case .readOnlyData: "restart, or give the fix a new variable under another name"
        case .meaning:
            "restart, or record the decision that no object made before the switch depends on it: --allow meaning-without-layout=NAME"
        case .changedSignature:
            "give every program and library that the change reaches, each with a --target of its own"
        case .changedConstant: "restart, or read the constant only in replaced functions"
        case .vanishedFunction:
            "keep a function of that name in the fix, or record a decision with --allow vanished-function=NAME"
        case .newThreadLocal: "keep the new state in an ordinary variable"
        case .inlinedCopy: "record the whole build, so that the function that holds the copy is recompiled too"
        case .entryNone: "patch the callers instead, or build the target with -fpatchable-function-entry"
        case .constructors: "restart: constructors of the target have run already"
        case .aliases: "give all names at the address the same new body"
        case .cplusplus: "restart, or leave the coroutine as it is"
        case .relocationType: "report the relocation type; it is not in the list that is known to be safe"
        case .pieLibraryData:
            "use the library's variable in a function that is compiled with -fPIC, or through a function call"
        case .ambiguousSymbol: "record the whole build, so that the symbol can be told apart by match"
        case .badBundle: "fetch the bundle again"
        case .unsigned: "have it signed with `patchbuild sign`, or pass --allow-unsigned if you trust the file's origin"
        case .untrustedSignature:
            "fetch the bundle again, or sign it again with `patchbuild sign`, which leaves out what does not hold"
        case .policyUnmet: "have the missing signers sign it; `livepatch trust FIX.lpatch` says who has signed"
        case .revoked: "fetch the bundle that replaces this one; reverting is always possible"
        case .expired: "fetch a newer bundle; reverting is always possible"
        case .rollback: "apply the newer bundle, or pass --allow-rollback where the policy allows it"
        case .untrustedConfiguration: "correct the file as the reason says; `livepatch trust` shows what is read"
        case .unsuitableKey: "make a key with `ssh-keygen -t ed25519`, or -t ecdsa, ed25519-sk, ecdsa-sk"
        case .signingFailed: "correct what ssh-keygen's message says, and sign again"
        case .formatVersion: "use the livepatch that belongs to the patchbuild that made the bundle"
        case .notReproduced:
            "don't sign it; ask who built it for its source, diffs, targets and tools, and rebuild with those"
        case .noPermission: "run as root or as the owner of the process, with CAP_SYS_PTRACE"
        case .noProcess: "check the process id"
        case .notMapped: "check that the bundle is for this program: `patchbuild show FIX.lpatch`"
        case .wrongBuild: "build the bundle for the build-id that runs"
        case .changedBytes: "take the other patch, breakpoint or uprobe off first"
        case .notLoaded: "load the bundle first"
        case .patchState: "see `livepatch status`"
        case .overlap:
            "build the second patch on the first: `patchbuild build --requires FIRST.lpatch` or `--supersedes`"
        case .missingRequirement: "apply the required patch first"
        case .requiredByOthers: "revert the patches that require it first"
        case .unboundSymbol: "the library must be loaded in the process"
        case .noHole: "no free memory within 2 GiB of the target; restart"
        case .foreignStacks: "use --consistency entry if a call in progress may finish in the old code"
        case .sharedMemory: "wait until the other process has exited or called exec"
        case .unsupportedProcess: "restart the process with the fixed program"
        case .hostileMemory: "restart the process"
        }
    }
}
