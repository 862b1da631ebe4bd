import Diagnostics
import JSONCoding
import PatchFormat

extension Review {
    /// Instructions of all listings together: what a person could never read is left out.
    public static let maximumInstructions = 600_000
    /// Characters of one text: an instruction, a line of source.
    public static let maximumText = 240
    public static let maximumDiffBytes = 8 << 20

    /// The bytes of `review.json`.
    public func encoded() throws -> [UInt8] {
        try encodeJSON(self, .compact) + [0x0a]
    }

    /// Strict decoding: the shape, every index and every count.
    /// - Throws: `Refusal` of rule bad-bundle or format-version.
    public static func decode(_ bytes: [UInt8], of manifest: Manifest) throws -> Review {
        let text: JSONText
        do { text = try JSONText(bytes) } catch { throw Refusal(.badBundle, subject: name, why: "\(error)") }
        struct Version: Decodable { var formatVersion: String }
        let version = try value(Version.self, text).formatVersion
        guard version.hasPrefix("1."), version.utf8.count < 8 else {
            throw Refusal(.formatVersion, subject: name, why: "its format is not 1.x, the one this program knows")
        }
        let review = try value(Review.self, text)
        if let complaint = review.complaint(manifest) {
            throw Refusal(.badBundle, subject: name, why: complaint)
        }
        return review
    }

    private static let name = "review.json"

    private static func value<T: Decodable>(_ type: T.Type, _ text: JSONText) throws -> T {
        do { return try text.decode(type) } catch {
            throw Refusal(.badBundle, subject: name, why: "it has not the expected shape")
        }
    }

    /// What makes it no review of this manifest's patch; nil when all is well.
    private func complaint(_ manifest: Manifest) -> String? {
        guard targets.map(\.buildID) == manifest.targets.map(\.buildID) else {
            return "its targets are not the manifest's"
        }
        var instructions = 0
        for (target, described) in zip(targets, manifest.targets) {
            guard target.functions.map(\.name) == described.functions.map(\.name) else {
                return "its functions of \(described.file) are not the manifest's"
            }
            for function in target.functions {
                for listing in [function.original, function.new].compactMap(\.self) {
                    if let complaint = listing.complaint(files: files.count) { return "\(function.name): \(complaint)" }
                    instructions += listing.offsets.count
                }
                guard isCount(function.moreCallers), function.callers.allSatisfy({ isCount($0.sites) }) else {
                    return "\(function.name): a count is out of range"
                }
            }
            guard target.data.allSatisfy({ isCount($0.size) && isCount($0.originalSize ?? 0) }) else {
                return "a size is out of range"
            }
            let proof = target.proof
            guard [proof.units, proof.functions, proof.bytes].allSatisfy(isCount) else {
                return "a count is out of range"
            }
        }
        guard diffs.allSatisfy({ isCount($0.omittedLines) }) else { return "a count is out of range" }
        return instructions <= Self.maximumInstructions ? nil : "it has too many instructions"
    }
}

extension Listing {
    fileprivate func complaint(files: Int) -> String? {
        let count = offsets.count
        guard text.count == count, targets.count == count, lines.count == count else {
            return "columns differ in length"
        }
        guard parts.allSatisfy({ (0...count).contains($0) }), parts.count < 1000, parts.reduce(0, +) == count else {
            return "its parts don't add up"
        }
        guard isCount(size), offsets.allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
            return "an offset is out of range"
        }
        guard targets.allSatisfy({ (-1..<count).contains($0) }) else { return "a branch leads nowhere" }
        guard lines.allSatisfy({ (-1..<places.count).contains($0) }) else { return "a line is missing" }
        guard places.allSatisfy({ (0..<files).contains($0.file) && isCount($0.line) }) else {
            return "a file is missing"
        }
        return nil
    }
}

/// Small enough to be added up without a thought.
private func isCount(_ number: Int) -> Bool { (0...1 << 40).contains(number) }
