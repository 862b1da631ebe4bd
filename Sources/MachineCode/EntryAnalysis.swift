/// A range of machine code: a function's main part, or a `.cold` half.
public struct CodePart: Sendable, Hashable {
    public var address: UInt64
    public var bytes: [UInt8]
    public init(address: UInt64, bytes: [UInt8]) {
        self.address = address
        self.bytes = bytes
    }
    public var end: UInt64 { address &+ UInt64(bytes.count) }
}

/// A symbol of the file, of whatever type: where it starts, and how many bytes it claims (0: unknown).
public struct SymbolSpan: Sendable, Hashable {
    public var name: String
    public var address: UInt64
    public var size: UInt64
    public init(name: String, address: UInt64, size: UInt64) {
        self.name = name
        self.address = address
        self.size = size
    }
}

/// All that says whether a function's entry takes a jump. Addresses are of one space: the file's, or section offsets.
public struct FunctionCode: Sendable {
    /// The function from its first byte, as long as its symbol says.
    public var main: CodePart
    public var coldParts: [CodePart]
    /// The bytes just before the function's first; at least 5, where there are any.
    public var before: [UInt8]
    /// The bytes just behind the function's last; at least 20, where there are any.
    public var after: [UInt8]
    /// Every symbol that starts in the 10 bytes from the function's first, aliases and the function's own included.
    public var symbols: [SymbolSpan]
    /// Addresses that code is known to be entered at: jump tables, relocations, branches of other functions.
    public var knownTargets: [UInt64]

    public init(
        main: CodePart, coldParts: [CodePart] = [], before: [UInt8] = [], after: [UInt8] = [],
        symbols: [SymbolSpan] = [], knownTargets: [UInt64] = []
    ) {
        self.main = main
        self.coldParts = coldParts
        self.before = before
        self.after = after
        self.symbols = symbols
        self.knownTargets = knownTargets
    }
}

/// How a function's entry takes a 5-byte `jmp rel32` (Documentation/architecture.md, Entries).
public struct EntryAnalysis: Sendable, Hashable {
    public enum Kind: String, Sendable, Codable {
        /// The jump lies in nops; the original body goes on behind them.
        case padded
        /// The jump overwrites real instructions.
        case bare
        case none
    }

    public var kind: Kind
    /// Bytes from the function's first byte to the jump.
    public var jumpOffset = 0
    /// Bytes from the function's first byte to where the original body goes on behind a pad; 0 unless padded.
    public var resumeOffset = 0
    /// Bytes of nops at the entry, or behind its `endbr64`.
    public var padLength = 0
    /// For `none`: what stands in the way. For `bare`: why a pad that is there can't be used.
    public var reasons: [String] = []
    /// The ends of the function and of its cold halves that are ends of calls: a return address may equal them (trap
    /// noreturn-end).
    public var callEnds: Set<UInt64> = []
    public var endsWithCall: Bool { !callEnds.isEmpty }
    /// A jump inside the function goes to its first byte, or to the jump: with a call in progress the loop would enter
    /// the new code, so that only stack consistency is safe (trap loop-to-entry).
    public var loopsToEntry = false
    /// The function is shorter than the jump, which reaches into the padding behind it.
    public var overwritesPadding = false
    /// Bytes that are no instruction: not every branch may have been seen.
    public var hasUndecodableBytes = false

    public init(kind: Kind) { self.kind = kind }
}

/// Bytes of `jmp rel32`.
let jumpLength: UInt64 = 5
/// A write that crosses a page may be done by half when the writer dies (trap killed-between-entries).
let pageSize: UInt64 = 4096

/// Decides how the entry of `function` takes a jump: in a pad, over its first bytes, or not at all.
///
/// Traps data-in-entry, shorter-alias, loop-to-entry, noreturn-end, killed-between-entries.
public func analyzeEntry(_ function: FunctionCode) -> EntryAnalysis {
    let facts = CodeFacts(function)
    var analysis = EntryAnalysis(kind: .none)
    analysis.hasUndecodableBytes = facts.hasUndecodableBytes
    analysis.callEnds = facts.callEnds
    analysis.padLength = facts.pad.reduce(0) { $0 + $1.length }

    let padReasons = placeInPad(facts, &analysis)
    if analysis.kind == .none {
        let bareReasons = placeBare(facts, &analysis)
        analysis.reasons = analysis.kind == .bare ? padReasons : padReasons + bareReasons
    }
    let loopEnd = function.main.address &+ UInt64(analysis.jumpOffset)
    analysis.loopsToEntry = facts.innerJumpTargets.contains { $0 >= function.main.address && $0 <= loopEnd }
    return analysis
}

/// Sets `analysis` to `padded` if 5 bytes of the pad can hold the jump; else says why the pad that is there can't.
private func placeInPad(_ facts: CodeFacts, _ analysis: inout EntryAnalysis) -> [String] {
    guard analysis.padLength >= Int(jumpLength), let first = facts.pad.first, let last = facts.pad.last else {
        guard analysis.padLength >= 2, facts.nopsBefore >= Int(jumpLength) else { return [] }
        return ["its pad lies before the entry, and a jump there would need a second jump to it"]
    }
    var reasons: [String] = []
    // A longer pad may hold the jump where its beginning can't: further on, from nop to nop.
    for nop in facts.pad where nop.address &+ jumpLength <= last.end {
        let found = facts.obstacles(at: nop.address)
        if found.isEmpty {
            let resume = facts.pad.map(\.end).first { $0 >= nop.address &+ jumpLength } ?? last.end
            guard resume < facts.function.main.end else { return ["the function is nothing but nops"] }
            analysis.kind = .padded
            analysis.jumpOffset = Int(nop.address &- facts.function.main.address)
            analysis.resumeOffset = Int(resume &- facts.function.main.address)
            return []
        }
        if nop == first { reasons = found.map { "pad: " + $0 } }
    }
    return reasons
}

/// Sets `analysis` to `bare` if the first 5 bytes can be overwritten; else says all that is in the way.
private func placeBare(_ facts: CodeFacts, _ analysis: inout EntryAnalysis) -> [String] {
    let start = facts.function.main.address
    let room = facts.roomForJump()
    var reasons = room.reasons + facts.obstacles(at: start) + facts.stopsInside(start)
    if facts.hasUndecodableBytes { reasons.append("it holds bytes that are no instruction, so branches may be missed") }
    if facts.fallsThrough && !facts.instructions.isEmpty {
        reasons.append("it runs on into what follows it, which a copy could not")
    }
    guard reasons.isEmpty else { return reasons }
    analysis.kind = .bare
    analysis.overwritesPadding = room.usesPadding
    return []
}
