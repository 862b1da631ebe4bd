import Diagnostics
import Glibc
import Toolchain

/// Installs what a source package needs to be built, unless all of it is there.
///
/// - Throws: `Refusal` package-source where only root can do it, or where the archive does not have it.
func requireBuildDependencies(of tree: SourceTree, source: SourceVersion, apt: PrivateApt, say: Say) async throws {
    let check = try await run(job("dpkg-checkbuilddeps", [], in: tree.path))
    if check.status == 0 { return }
    let missing = unmetDependencies(check.errorText)
    let command = apt.buildDependencies(of: source)
    guard let asRoot = try await rootCommand() else {
        throw Refusal(
            .packageSource, subject: source.source,
            why: "packages are missing that it needs to be built, and only root can install them: \(missing)",
            remedy: "let root run: " + command.map(shellQuoted).joined(separator: " "))
    }
    say("installing what \(source.source) needs to be built: \(missing)")
    let words = asRoot + command
    let result = try await run(job(words[0], Array(words.dropFirst()), title: "apt-get build-dep \(source.source)"))
    guard result.status != 0 else { return }
    throw Refusal(
        .packageSource, subject: source.source,
        why: "what it needs to be built can't be installed: \(reason(result))",
        remedy: "install it by hand, then try again: " + missing)
}

/// What dpkg-checkbuilddeps lists: `… Unmet build dependencies: debhelper (>= 13) libx-dev:any`.
func unmetDependencies(_ text: String) -> String {
    text.firstRange(of: "dependencies:").map { trimmed(text[$0.upperBound...]) } ?? trimmed(text)
}

/// apt's own words for what went wrong.
private func reason(_ result: JobResult) -> String {
    let lines = (result.outputText + result.errorText).split(separator: "\n")
    let errors = lines.filter { $0.hasPrefix("E: ") || $0.contains("Depends:") }
    return (errors.isEmpty ? lines.suffix(4) : errors.prefix(6)).joined(separator: "\n")
}

/// What to put before a command so that root runs it, without asking anybody; nil where this user can't.
private func rootCommand() async throws -> [String]? {
    if geteuid() == 0 { return [] }
    guard findProgram("sudo") != nil, try await run(job("sudo", ["-n", "true"])).status == 0 else { return nil }
    return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
}
