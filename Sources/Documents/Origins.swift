import PatchFormat

extension Bundle {
    /// SHA-256 of the file without signatures, as `patchbuild build` wrote it.
    func unsignedDigest() throws -> String { Digest.sha256(try write(signatures: [:])) }
}

/// A file that was given as a target; bundles of older versions don't tell its digest.
struct KnownTarget {
    var file: String
    var buildID: String
    var digest: String?
}

extension Manifest {
    var targetInputs: [KnownTarget] {
        if let inputs = provenance.targets {
            return inputs.map { KnownTarget(file: $0.file, buildID: $0.buildID, digest: $0.digest) }
        }
        return targets.map { KnownTarget(file: $0.file, buildID: $0.buildID, digest: nil) }
    }
}

extension Provenance {
    /// `patchbuild 0.1.0` as two words.
    var builderVersion: (name: String, version: String)? {
        guard let words = builder?.split(separator: " ", maxSplits: 1).map(String.init), words.count == 2 else {
            return nil
        }
        return (words[0], words[1])
    }
}
