import Diagnostics
import Guarding
import PatchBuilding
import PatchFormat
import Recompiling

/// A bundle that a rebuild gave again, byte for byte.
package struct Reproduction: Encodable, Sendable {
    package var bundle: String
    package var id: String
    package var manifestDigest: String
    /// All but the manifest.
    package var members: [String]
}

/// Builds the patch again from what it is said to be made of, and compares the manifest's bytes and every member's.
/// Signatures are left aside: they are not of the build.
///
/// - Parameters:
///   - path: of the bundle, for messages.
///   - options: input, targets, and the bundles that it builds on. What the bundle was asked to be (id, CVEs, decisions,
///     times) is taken from its manifest.
/// - Throws: `Refusals` of rule not-reproduced, with all differing inputs or else the first difference of what was made;
///   `UsageError` where a bundle that the manifest refers to is not given; `Failure`.
package func reproduce(_ bundle: Bundle, path: String, options: BuildOptions) async throws -> Reproduction {
    let request = try request(bundle.manifest, options)
    let built: Bundle
    do {
        built = try Bundle.parse(try await buildBundle(request).bytes, name: "the rebuild")
    } catch let refusals as Refusals {
        throw await notRebuilt(bundle, path, request, refusals.refusals)
    } catch let refusal as Refusal {
        throw await notRebuilt(bundle, path, request, [refusal])
    }
    let refusals = try differences(bundle, rebuilt: built, path: path)
    guard refusals.isEmpty else { throw Refusals(refusals) }
    return Reproduction(
        bundle: path, id: bundle.manifest.id, manifestDigest: bundle.manifestDigest,
        members: bundle.manifest.members.map(\.name))
}

extension Reproduction {
    package var text: String {
        """
        \(bundle): reproduced
        the rebuild gave the same manifest (sha256 \(manifestDigest))
        and the same \(members.count == 1 ? "member" : "\(members.count) members"), byte for byte: \(members.joined(separator: ", "))
        """
    }
}

/// The options of the build that made the bundle, as far as its manifest tells.
private func request(_ manifest: Manifest, _ options: BuildOptions) throws -> BuildOptions {
    var request = options
    request.id = manifest.id
    request.cves = manifest.cves
    request.sequence = manifest.sequence
    request.created = manifest.created
    request.expires = manifest.expires
    request.allowed = try manifest.decisions.map(allowed)
    request.requires = try inOrder(manifest.requires, given: options.requires, option: "--requires")
    request.supersedes = try inOrder(manifest.supersedes, given: options.supersedes, option: "--supersedes")
    return request
}

/// A decision names its subject as the refusal did.
private func allowed(_ decision: Decision) throws -> AllowedRule {
    let argument = "\(decision.rule)=\(decision.subject)"
    do { return try AllowedRule(argument) } catch {
        throw Refusal(
            .notReproduced, subject: argument, why: "the bundle records a decision that this patchbuild does not know",
            remedy: "rebuild with the patchbuild that made the bundle")
    }
}

/// The paths of the bundles that the manifest refers to, in its order.
private func inOrder(_ references: [PatchReference], given: [String], option: String) throws -> [String] {
    let bundles = try given.map { (path: $0, reference: try Bundle.read(path: $0).reference) }
    let paths = try references.map { reference in
        guard let found = bundles.first(where: { $0.reference == reference }) else {
            let other = bundles.contains { $0.reference.id == reference.id } ? "; the one given is another" : ""
            throw UsageError(
                "give \(option) FILE: the bundle refers to \(reference.id) with the manifest sha256"
                    + " \(reference.manifestDigest)\(other)")
        }
        return found.path
    }
    if let strange = bundles.first(where: { !references.contains($0.reference) }) {
        throw UsageError("\(option) \(strange.path): the bundle does not refer to it")
    }
    return paths
}

/// A file that can't be read says nothing of the bundle; any other refusal does: what made it was not refused.
private func notRebuilt(
    _ bundle: Bundle, _ path: String, _ options: BuildOptions, _ refusals: [Refusal]
) async -> Refusals {
    if refusals.allSatisfy({ $0.rule == Rule.badInput.rawValue }) { return Refusals(refusals) }
    let provenance = bundle.manifest.provenance
    let count = refusals.count
    var why = "the rebuild is refused, by the \(count == 1 ? "finding" : "\(count) findings") below"
    if !provenance.compilers.isEmpty {
        why += "; the bundle was compiled by \(provenance.compilers.joined(separator: " and "))"
        let here = await compilerNames(options.input)
        if !here.isEmpty { why += "; the recorded commands run \(here.joined(separator: " and ")) here" }
    }
    let remedy =
        "give the source, the diffs and the targets that the bundle was made of, and use its compiler; where the target holds"
        + " paths of its source (__FILE__), the tree must lie at the path at which the target was built"
    return Refusals([Refusal(.notReproduced, subject: path, why: why, remedy: remedy)] + refusals)
}

/// What differs: first what went into the build and explains the rest, then what came out. Nothing but signatures is left
/// aside.
func differences(_ bundle: Bundle, rebuilt: Bundle, path: String) throws -> [Refusal] {
    let causes = try originRefusals(bundle.manifestBytes, rebuilt: rebuilt.manifestBytes, subject: path)
    var found = memberRefusals(bundle, rebuilt: rebuilt, path: path)
    if let made = try manifestRefusal(bundle.manifestBytes, rebuilt: rebuilt.manifestBytes, subject: path) {
        found.insert(made, at: 0)
    }
    if found.isEmpty, causes.isEmpty, bundle.manifestBytes != rebuilt.manifestBytes {
        // The same members and values: another order of keys, other white space.
        let what = "the same values are written otherwise"
        found = [
            Refusal(
                .notReproduced, subject: "\(path), manifest.json",
                why: byteDifference(bundle.manifestBytes, rebuilt.manifestBytes, of: what, at: 0))
        ]
    }
    guard !causes.isEmpty else { return found }
    return causes
        + found.map { refusal in
            var refusal = refusal
            refusal.remedy = "it may follow from what is named first; rebuild with that as it was"
            return refusal
        }
}

/// Members that are missing, and those that differ.
private func memberRefusals(_ bundle: Bundle, rebuilt: Bundle, path: String) -> [Refusal] {
    var refusals: [Refusal] = []
    let (theirs, ours) = (bundle.manifest.members.map(\.name), rebuilt.manifest.members.map(\.name))
    if theirs != ours {
        let why = "the bundle holds \(theirs.joined(separator: ", ")); the rebuild \(ours.joined(separator: ", "))"
        refusals.append(Refusal(.notReproduced, subject: "\(path): its members", why: why))
    }
    for target in bundle.manifest.targets {
        guard let (theirs, ours) = pair(bundle.modules[target.module], rebuilt.modules[target.module]), theirs != ours
        else { continue }
        refusals.append(
            Refusal(
                .notReproduced, subject: "\(path), \(target.module) for \(target.file)",
                why: moduleDifference(theirs, rebuilt: ours, target: target)))
    }
    if let (theirs, ours) = pair(bundle.review, rebuilt.review), theirs != ours {
        refusals.append(
            Refusal(.notReproduced, subject: "\(path), review.json", why: reviewDifference(theirs, rebuilt: ours)))
    }
    return refusals
}

/// Both, where both bundles have it.
private func pair(_ one: [UInt8]?, _ other: [UInt8]?) -> ([UInt8], [UInt8])? {
    guard let one, let other else { return nil }
    return (one, other)
}

private func reviewDifference(_ bundle: [UInt8], rebuilt: [UInt8]) -> String {
    guard let theirs = try? JSONValue(bundle), let ours = try? JSONValue(rebuilt),
        let difference = JSONDifference(theirs, ours, at: "")
    else { return byteDifference(bundle, rebuilt, of: "the file", at: 0) }
    return "\(difference.path): the bundle has \(difference.values.first), the rebuild \(difference.values.second)"
}
