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

/// Every difference of what went into the build.
func originRefusals(_ bundle: [UInt8], rebuilt: [UInt8], subject: String) throws -> [Refusal] {
    let (theirs, ours) = (try JSONValue(bundle)["provenance"], try JSONValue(rebuilt)["provenance"])
    let known = Cause.all.compactMap { cause in
        JSONDifference(theirs?[cause.key], ours?[cause.key], at: "provenance.\(cause.key)").map {
            refusal($0, cause.what, subject, remedy: cause.remedy)
        }
    }
    guard known.isEmpty, let rest = JSONDifference(theirs, ours, at: "provenance") else { return known }
    return [refusal(rest, "the origin differs", subject, remedy: Rule.notReproduced.remedy)]
}

/// The first difference of what came out of it, members aside: those are compared by themselves.
func manifestRefusal(_ bundle: [UInt8], rebuilt: [UInt8], subject: String) throws -> Refusal? {
    let (theirs, ours) = (try JSONValue(bundle), try JSONValue(rebuilt))
    return JSONDifference(theirs, ours, at: "", leavingOut: ["members", "provenance"]).map {
        refusal($0, "what was made differs", subject, remedy: Rule.notReproduced.remedy)
    }
}

private func refusal(_ difference: JSONDifference, _ what: String, _ subject: String, remedy: String) -> Refusal {
    Refusal(
        .notReproduced, subject: "\(subject), manifest.json: \(difference.path)",
        why: "\(what): the bundle has \(difference.values.first), the rebuild \(difference.values.second)",
        remedy: remedy)
}
