import Diagnostics
import MachineCode
import PatchFormat
import Targets

/// Describes a function of the target as the applier needs it: ranges, digest, and how its entry takes a jump.
///
/// - Parameters:
///   - names: all that the original object has for it, the definition's own first.
///   - aborts: ends of its ranges at which nobody returns, nor unwinds from: the last call ends the process.
/// - Returns: nil when the ranges are not in the file; a refusal by `entry-none` when no jump fits.
func describeOriginal(
    range: AddressRange, cold: [AddressRange], names: [String], aborts: Set<UInt64>, target: TargetImage, coupled: Bool
) -> Result<OriginalFunction, Refusal>? {
    guard let code = target.code.function(range, coldRanges: cold) else { return nil }
    let analysis = analyzeEntry(code)
    guard let entry = entry(analysis) else {
        return .failure(
            Refusal(
                .entryNone, subject: names[0],
                why: "its entry can't take a jump: \(analysis.reasons.joined(separator: "; "))"))
    }
    var range = range
    var bytes = code.main.bytes
    if analysis.overwritesPadding, range.size < UInt64(Entry.jumpLength) {
        // The jump's bytes are the function's, so that they are checked and saved as such.
        let missing = Int(UInt64(Entry.jumpLength) - range.size)
        guard code.after.count >= missing else { return nil }
        bytes += code.after.prefix(missing)
        range.size = UInt64(Entry.jumpLength)
    }
    let shown = target.symbolFile.symbols.filter {
        $0.kind == .function && $0.value == range.address && $0.sectionIndex != nil
    }.map { VersionedName($0) }
    let aliases = shown.map(\.base).filter { $0 != names[0] }
    if let stranger = shown.first(where: { !$0.isShown(of: names) })?.base {
        return .failure(
            Refusal(
                .aliases, subject: names[0],
                why: "\(stranger), of another unit, shares its address in the target (identical code folding)"))
    }
    return .success(
        OriginalFunction(
            range: range, coldRanges: cold, digest: Digest.sha256(bytes + code.coldParts.flatMap(\.bytes)),
            entry: entry, endsWithCall: !analysis.callEnds.isSubset(of: aborts),
            abiCoupled: coupled || analysis.loopsToEntry, aliases: Set(aliases).sorted()))
}

private func entry(_ analysis: EntryAnalysis) -> Entry? {
    switch analysis.kind {
    case .padded: Entry(kind: .padded, jumpOffset: analysis.jumpOffset, resumeOffset: analysis.resumeOffset)
    case .bare: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0)
    case .none: nil
    }
}
