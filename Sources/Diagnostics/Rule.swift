/// The catalogue of rules by which a patch is refused: each has a name that never changes and a way out.
///
/// Some bear the name of a trap (Documentation/traps.md), so that a refusal can be looked up there.
public enum Rule: String, CaseIterable, Sendable {
    // Sources and compile commands.
    case diffDoesNotApply = "diff-does-not-apply"
    case unreadSource = "unread-source"
    case sourceAndGenerator = "source-and-generator"
    case noCompileCommand = "no-compile-command"
    case compileFailed = "compile-failed"
    case packageSource = "package-source"

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
    case initialiserHasRun = "initialiser-has-run"
    case readOnlyData = "read-only-data"
    case meaning = "meaning-without-layout"
    case changedSignature = "changed-signature"
    case changedConstant = "changed-constant-escapes"
    case vanishedFunction = "vanished-function"
    case newThreadLocal = "new-thread-local"
    case neverReturns = "never-returns"
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

    /// The usual way out, in one line; a refusal may give a better one.
    public var remedy: String { explanation.remedy }

    /// An engineer may know better (`--allow RULE=SUBJECT`), wherever the rule is raised.
    public var isDecidable: Bool { explanation.decision != nil }
}
