import Diagnostics
import PatchFormat

/// What a manifest says of where its bundle comes from, each with what it means when a rebuild says otherwise.
private struct Cause {
    /// The member of `provenance`.
    var key: String
    /// What differs.
    var what: String
    var remedy: String

    static let all: [Cause] = [
        Cause(
            key: "builder", what: "another patchbuild made the bundle",
            remedy: "rebuild with the patchbuild that the bundle names"),
        Cause(
            key: "diffDigests", what: "the diffs are not those that the bundle was made of, or in another order",
            remedy: "give every diff of the fix, byte for byte, in its order"),
        Cause(
            key: "sourceDigest", what: "the files that the diffs touch are not what they were",
            remedy: "give the very source that the target was built from"),
        Cause(key: "objects", what: "the objects are other ones", remedy: "give the pairs of objects in their order"),
        Cause(
            key: "targets", what: "the target files are other ones, or given in another order",
            remedy: "give the same --target and --symbols files, under their names and in their order"),
        Cause(
            key: "compilers", what: "another compiler, or other options",
            remedy: "install the compiler that the bundle names, and record the build with it"),
        Cause(
            key: "linker", what: "another linker",
            remedy: "install the binutils that the bundle names"),
        Cause(
            key: "commands", what: "other compile commands were recorded",
            remedy: "record the build as it was recorded for the bundle: the same configuration, and the same command"),
    ]
}

/// Differences of two manifests as refusals: every one of their origins, which are the likely causes; without any, the first
/// of what was made.
func manifestRefusals(_ bundle: [UInt8], rebuilt: [UInt8], subject: String) throws -> [Refusal] {
    let (theirs, ours) = (try JSONValue(bundle), try JSONValue(rebuilt))
    func refusal(_ difference: JSONDifference, _ what: String, remedy: String) -> Refusal {
        Refusal(
            .notReproduced, subject: "\(subject), manifest.json: \(difference.path)",
            why: "\(what): the bundle has \(difference.values.first), the rebuild \(difference.values.second)",
            remedy: remedy)
    }
    let causes = Cause.all.compactMap { cause in
        JSONDifference(
            theirs["provenance"]?[cause.key], ours["provenance"]?[cause.key], at: "provenance.\(cause.key)"
        ).map { refusal($0, cause.what, remedy: cause.remedy) }
    }
    // The digests of members follow from the members, which are compared by themselves.
    let made = JSONDifference(theirs, ours, at: "", leavingOut: ["members", "provenance"]).map {
        refusal($0, "what was made differs", remedy: Rule.notReproduced.remedy)
    }
    if !causes.isEmpty { return causes + (made.map { [$0] } ?? []) }
    let rest = JSONDifference(theirs["provenance"], ours["provenance"], at: "provenance").map {
        refusal($0, "the origin differs", remedy: Rule.notReproduced.remedy)
    }
    return [rest ?? made].compactMap(\.self)
}
