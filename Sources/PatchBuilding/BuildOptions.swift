import Diagnostics
import Guarding
import PatchFormat
import Recompiling
import Targets

/// What `patchbuild build` is asked for.
package struct BuildOptions: Sendable {
    package var input: PatchInput
    package var targets: [TargetFiles]
    package var output: String
    package var id: String?
    package var cves: [String] = []
    /// Paths of bundles.
    package var requires: [String] = []
    package var supersedes: [String] = []
    /// `RULE=SUBJECT` decisions.
    package var allowed: [AllowedRule] = []
    /// A command that each compile command is given to.
    package var launcher: [String] = []
    /// RFC 3339; from `SOURCE_DATE_EPOCH`.
    package var created: String?
    /// RFC 3339: livepatch does not apply the bundle any more after it.
    package var expires: String?
    /// What a reviewer should know besides, such as where the diffs come from.
    package var remarks: [String] = []
    /// A bundle with a lower one than was applied on a host is refused there.
    package var sequence = 0

    package init(input: PatchInput, targets: [TargetFiles], output: String) {
        self.input = input
        self.targets = targets
        self.output = output
    }
}

extension BuildOptions {
    /// The id given, else the output file's name without its ending.
    package var bundleID: String {
        if let id { return id }
        let name = output.split(separator: "/").last.map(String.init) ?? output
        return name.hasSuffix(".lpatch") ? String(name.dropLast(7)) : name
    }
}
