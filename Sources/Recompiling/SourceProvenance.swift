import Diagnostics
import FoundationEssentials
import PatchFormat
import SourceChanges
import Toolchain

/// Where a patch that is made from sources comes from. No path of this machine is in it: trees at two places give the
/// same text.
func provenance(of change: SourceChange, units: [CompileUnit], root: String) -> Provenance {
    func digest(_ contents: [(path: String, bytes: [UInt8]?)]) -> String {
        let lines = contents.map { "\(Digest.sha256($0.bytes ?? []))  \($0.path)\n" }
        return Digest.sha256(Array(lines.joined().utf8))
    }
    var provenance = Provenance()
    provenance.sourceDigest = digest(change.files.map { ($0.path, $0.original) })
    provenance.diffDigests =
        change.diffs.isEmpty
        ? [digest(change.files.map { ($0.path, $0.new) })] : change.diffs.map { Digest.sha256($0.bytes) }
    provenance.commands = units.map { $0.portableCommand(root: root) }
    return provenance
}

/// The same of a patch that is made from objects.
/// - Throws: `Refusal` bad-input where one can't be read.
func provenance(of pairs: [ObjectPair], names: [String]) throws -> Provenance {
    var provenance = Provenance()
    provenance.objects = try zip(pairs, names).map { pair, name in
        ObjectInput(name: name, originalDigest: try fileDigest(pair.original), newDigest: try fileDigest(pair.new))
    }
    return provenance
}

package func fileDigest(_ path: String) throws -> String {
    guard let bytes = FileManager.default.contents(atPath: path) else {
        throw Refusal(.badInput, subject: path, why: "it can't be read")
    }
    return Digest.sha256(bytes)
}

/// The compilers of this machine that the recorded commands run, as they call themselves: for telling why a build comes out
/// otherwise than elsewhere. Empty where that can't be told.
package func compilerNames(_ input: PatchInput) async -> [String] {
    let record: String
    switch input {
    case .objects: return []
    case .diffs(let source, let commands, _), .newSource(let source, let commands, _):
        record = commands ?? source + "/compile_commands.json"
    }
    guard let database = try? CompileDatabase.read(record) else { return [] }
    let jobs = Set(database.units.map(\.compiler)).sorted().map {
        Job($0, ["--version"], environment: compilerEnvironment)
    }
    var names: [String] = []
    for job in jobs {
        guard let result = try? await run(job), let line = result.outputText.split(whereSeparator: \.isNewline).first
        else { continue }
        names.append("\(job.executable) (\(line))")
    }
    return names
}
