import Diagnostics
import Disassembly
import PatchFormat

/// Describes a function of the target as the applier needs it: ranges, digest, and how its entry takes a jump.
///
/// - Returns: nil when the ranges are not in the file; a refusal by `entry-none` when no jump fits.
func describeOriginal(
    range: AddressRange, cold: [AddressRange], names: [String], target: TargetImage, coupled: Bool
) -> Result<OriginalFunction, Refusal>? {
    guard let main = part(range, target) else { return nil }
    let coldParts = cold.compactMap { part($0, target) }
    guard coldParts.count == cold.count else { return nil }
    let analysis = analyzeEntry(code(main, coldParts, target))
    guard let entry = entry(analysis) else {
        return .failure(
            Refusal(
                .entryNone, subject: names[0],
                why: "its entry can't take a jump: \(analysis.reasons.joined(separator: "; "))"))
    }
    let aliases = target.symbolFile.symbols.filter {
        $0.kind == .function && $0.value == range.address && $0.sectionIndex != nil
    }.map { TargetImage.unversioned($0.name) }.filter { $0 != names[0] }
    if let stranger = aliases.first(where: { !names.contains($0) }) {
        return .failure(
            Refusal(
                .aliases, subject: names[0],
                why: "\(stranger), of another unit, shares its address in the target (identical code folding)"))
    }
    return .success(
        OriginalFunction(
            range: range, coldRanges: cold, digest: Digest.sha256(main.bytes + coldParts.flatMap(\.bytes)),
            entry: entry, endsWithCall: analysis.endsWithCall,
            abiCoupled: coupled || analysis.loopsToEntry, aliases: Set(aliases).sorted()))
}

private func part(_ range: AddressRange, _ target: TargetImage) -> CodePart? {
    target.bytes(at: range.address, size: range.size).map { CodePart(address: range.address, bytes: Array($0)) }
}

private func code(_ main: CodePart, _ coldParts: [CodePart], _ target: TargetImage) -> FunctionCode {
    let nearby = target.symbolFile.symbols.filter { symbol in
        symbol.sectionIndex != nil && symbol.kind != .section && symbol.kind != .threadLocal
            && symbol.value >= main.address && symbol.value < main.address &+ 10
    }
    return FunctionCode(
        main: main, coldParts: coldParts,
        before: target.bytes(at: main.address &- 16, size: 16).map(Array.init) ?? [],
        after: after(main, target),
        symbols: nearby.map { SymbolSpan(name: $0.name, address: $0.value, size: $0.size) })
}

/// As many of the next 20 bytes as the file holds.
private func after(_ main: CodePart, _ target: TargetImage) -> [UInt8] {
    for count in stride(from: UInt64(20), to: 0, by: -1) {
        if let bytes = target.bytes(at: main.end, size: count) { return Array(bytes) }
    }
    return []
}

private func entry(_ analysis: EntryAnalysis) -> Entry? {
    switch analysis.kind {
    case .padded: Entry(kind: .padded, jumpOffset: analysis.jumpOffset, resumeOffset: analysis.resumeOffset)
    case .bare: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0)
    case .none: nil
    }
}
