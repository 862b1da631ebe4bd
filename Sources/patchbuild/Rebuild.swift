import ArgumentParser
import Diagnostics
import FoundationEssentials
import Glibc
import PatchBuilding
import PatchFormat
import Reproducing

/// The part of `verify` that builds a bundle again.
struct Rebuild: ParsableArguments {
    @Flag(help: "Build the bundle again from its source and diffs, and compare every byte; signatures are left aside.")
    var rebuild = false
    @OptionGroup(title: "What to rebuild from (id, CVEs, decisions and times are taken from the bundle)")
    var input: BuildInput

    /// - Throws: `UsageError` where the options don't make sense together.
    func validate() throws {
        guard rebuild || input.isEmpty else {
            throw ValidationError("--source, --target and their like need --rebuild")
        }
    }

    /// - Returns: nil unless `--rebuild` is given.
    /// - Throws: `Refusals` of rule not-reproduced.
    func run(_ bundle: Bundle, path: String) async throws -> Reproduction? {
        guard rebuild else { return nil }
        let options = try input.options(output: path)
        try setSourceDate(bundle.manifest.created)
        return try await reproduce(bundle, path: path, options: options)
    }

    /// The compiler reads the date from the environment, as it did when the bundle was built.
    private func setSourceDate(_ created: String?) throws {
        guard let created else {
            unsetenv("SOURCE_DATE_EPOCH")
            return
        }
        guard let date = try? Date(created, strategy: .iso8601) else {
            throw Refusal(.badBundle, subject: "created", why: "\(created) is no time")
        }
        setenv("SOURCE_DATE_EPOCH", "\(Int(date.timeIntervalSince1970))", 1)
    }
}
