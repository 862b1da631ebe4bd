import CodeModel
import Diagnostics
import ObjectFiles
import Targets

/// Where the definitions of one unit lie in the target, proved by its bytes.
package struct UnitMatch: Sendable {
    /// By symbol name of the unit: its address in the target (thread-locals: offset in the TLS segment).
    package var addresses: [String: UInt64] = [:]
    /// By function name: its size, `.cold` halves under their own names.
    package var sizes: [String: UInt64] = [:]
    /// By name: the offset of a thread-local that the unit's code reaches, and does not define.
    package var threadOffsets: [String: UInt64] = [:]
    /// What the unit's code reaches through a slot or a PLT entry: the slot's name, by the unit's name for it.
    package var imports: [String: String] = [:]
    /// Functions whose bytes are those of the target once relocations are resolved.
    package var matched: Set<String> = []
    /// Functions that the target has under that name, with other bytes, and the first difference.
    package var mismatches: [String: String] = [:]
    /// Of those, functions with the right bytes where only their neighbours say that they lie.
    package var unproved: Set<String> = []
    /// Definitions that the link left out of the target (`--gc-sections`).
    package var dropped: Set<String> = []
    /// What the differences say of their cause, in words; empty when nothing can be told.
    package var likelyCause = ""

    package init() {}
}

/// Finds a unit's object, made by the recorded command alone, in the target.
///
/// A section of an object is placed as one piece, so that every function of it votes for the place. Each is then
/// compared byte by byte; the fields of relocations tell the addresses of data and of same-named statics. Linker
/// relaxations of a closed list are undone (trap linker-relaxations); nothing else may differ.
///
/// - Parameter original: the same unit with each datum in a section of its own, so that a reference to the end of one is
///   not taken for one to the next; nil when there is none.
/// - Returns: nil when the target has no function of the unit under its name.
package func match(_ plain: ObjectView, in target: TargetImage, original: ObjectView? = nil) -> UnitMatch? {
    var matcher = Matcher(plain: plain, target: target)
    matcher.placeCode()
    guard !matcher.places.isEmpty else { return nil }
    matcher.dropUnproved()
    if target.translated != nil { matcher.addExact(original) }
    matcher.placeData()
    matcher.matchHandlers()
    return matcher.result()
}

struct Matcher {
    let plain: ObjectView
    let target: TargetImage
    /// By section index: the address in the target of the section's first byte.
    var places: [SectionIndex: UInt64] = [:]
    var verified: [EntityIndex: [FieldReading]] = [:]
    var mismatches: [EntityIndex: Mismatch] = [:]
    /// By entity: its address, where it does not lie in one piece with its section.
    var moved: [EntityIndex: UInt64] = [:]
    /// Functions whose bytes are right at a place that nothing proves.
    var unproved: Set<EntityIndex> = []
    /// Sections of which the target has several equal copies: their places.
    var undecided: [SectionIndex: [Trial]] = [:]
    /// What the object's `FILE` symbols say; empty where the target has none of that name.
    private let sources: Set<String>

    init(plain: ObjectView, target: TargetImage) {
        self.plain = plain
        self.target = target
        let own = Set(plain.file.symbols.filter { $0.kind == .file && !$0.name.isEmpty }.map(\.name))
        sources = own.intersection(target.sourceFiles.values)
    }

    func definitions(of entity: Entity, guesses: Bool = false) -> [Symbol] {
        entity.names.flatMap { name in
            sources.isEmpty
                ? target.definitions(of: name) + (guesses ? target.guessed[name] ?? [] : [])
                : target.definitions(of: name, isLocal: !entity.isGlobal, sources: sources, guesses: guesses)
        }
    }

    /// A section compared at one place.
    struct Trial {
        var place: UInt64
        var good: [EntityIndex: [FieldReading]] = [:]
        var bad: [EntityIndex: Mismatch] = [:]
    }

    func verify(_ index: EntityIndex, at address: UInt64) -> Result<[FieldReading], Mismatch> {
        let entity = plain.entities[index]
        guard let expected = plain.bytes(section: entity.section, from: entity.offset, to: entity.end),
            let found = target.bytes(at: address, size: entity.size)
        else { return .failure(.other("it lies outside of the target's code")) }
        let relocations = plain.relocations(section: entity.section, from: entity.offset, to: entity.end)
        var comparison = MaskedComparison(
            expected: Array(expected), found: Array(found), base: address, isFixed: target.isFixed)
        for relocation in relocations {
            comparison.read(relocation, at: Int(relocation.offset - entity.offset))
        }
        if target.translated != nil, comparison.firstDifference() != nil {
            for (relocation, at) in plain.impliedRelocations(of: index) { comparison.read(relocation, at: at) }
        }
        if let at = comparison.firstDifference() {
            return .failure(.bytes(Array(expected), Array(found), at: at, address: address))
        }
        return .success(comparison.readings)
    }
}
