import Diagnostics
import ObjectFiles

/// Where the definitions of one unit lie in the target, proved by its bytes.
public struct MatchedUnit: Sendable {
    /// By symbol name of the unit: its address in the target (thread-locals: offset in the TLS segment).
    public var addresses: [String: UInt64] = [:]
    /// By function name: its size, `.cold` halves under their own names.
    public var sizes: [String: UInt64] = [:]
    /// What the unit's code reaches through a slot or a PLT entry: the slot's name, by the unit's name for it.
    public var imports: [String: String] = [:]
    /// Functions whose bytes are those of the target once relocations are resolved.
    public var matched: Set<String> = []
    /// Functions that the target has under that name, with other bytes, and the first difference.
    public var mismatches: [String: String] = [:]
    /// Of those, functions with the right bytes where only their neighbours say that they lie.
    public var unproved: Set<String> = []
    /// What the differences say of their cause, in words; empty when nothing can be told.
    public var likelyCause = ""

    public init() {}
}

/// Finds a unit's object, made by the recorded command alone, in the target.
///
/// A section of an object is placed as one piece, so that every function of it votes for the place. Each is then
/// compared byte by byte; the fields of relocations tell the addresses of data and of same-named statics. Linker
/// relaxations of a closed list are undone (trap linker-relaxations); nothing else may differ.
///
/// - Returns: nil when the target has no function of the unit under its name.
public func match(_ plain: ObjectView, in target: TargetImage) -> MatchedUnit? {
    var matcher = Matcher(plain: plain, target: target)
    matcher.placeCode()
    guard !matcher.places.isEmpty else { return nil }
    matcher.dropUnproved()
    matcher.placeData()
    matcher.matchHandlers()
    return matcher.result()
}

private struct Matcher {
    let plain: ObjectView
    let target: TargetImage
    /// By section index: the address in the target of the section's first byte.
    var places: [Int: UInt64] = [:]
    var verified: [Int: [FieldReading]] = [:]
    var mismatches: [Int: Mismatch] = [:]
    /// By entity: its address, where it does not lie in one piece with its section.
    var moved: [Int: UInt64] = [:]
    /// Functions whose bytes are right at a place that nothing proves.
    private var unproved: Set<Int> = []
    /// Sections of which the target has several equal copies: their places.
    private var undecided: [Int: [Trial]] = [:]
    /// What the object's `FILE` symbols say; empty where the target has none of that name.
    private let sources: Set<String>

    init(plain: ObjectView, target: TargetImage) {
        self.plain = plain
        self.target = target
        let own = Set(plain.file.symbols.filter { $0.kind == .file && !$0.name.isEmpty }.map(\.name))
        sources = own.intersection(target.sourceFiles.values)
    }

    private func definitions(of entity: Entity, guesses: Bool = false) -> [Symbol] {
        entity.names.flatMap { name in
            sources.isEmpty
                ? target.definitions(of: name) + (guesses ? target.guessed[name] ?? [] : [])
                : target.definitions(of: name, isLocal: !entity.isGlobal, sources: sources, guesses: guesses)
        }
    }

    mutating func placeCode() {
        for (section, entities) in plain.entitiesInSection.sorted(by: { $0.key < $1.key }) {
            guard plain.file.sections[section].isExecutable else { continue }
            var votes: [UInt64: Int] = [:]
            for index in entities {
                let entity = plain.entities[index]
                let places = Set(definitions(of: entity, guesses: true).map { $0.value &- entity.offset })
                for place in places { votes[place, default: 0] += 1 }
            }
            let candidates = votes.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(64)
            place(section, entities, candidates.map { ($0.key, $0.value) })
        }
        decide()
    }

    /// A section compared at one place.
    private struct Trial {
        var place: UInt64
        var good: [Int: [FieldReading]] = [:]
        var bad: [Int: Mismatch] = [:]
    }

    private func trial(_ entities: [Int], at place: UInt64) -> Trial {
        var trial = Trial(place: place)
        for index in entities {
            switch verify(index, at: place &+ plain.entities[index].offset) {
            case .success(let readings): trial.good[index] = readings
            case .failure(let mismatch): trial.bad[index] = mismatch
            }
        }
        return trial
    }

    /// Takes the candidate at which most functions have the right bytes; of several at which all have, others decide.
    private mutating func place(_ section: Int, _ entities: [Int], _ candidates: [(place: UInt64, votes: Int)]) {
        var best: Trial?
        var perfect: [Trial] = []
        for candidate in candidates {
            // At the right place every function has its name.
            if !perfect.isEmpty, candidate.votes < (candidates.first?.votes ?? 0) { break }
            let trial = trial(entities, at: candidate.place)
            if trial.bad.isEmpty { perfect.append(trial) }
            if best.map({ trial.good.count > $0.good.count }) ?? true { best = trial }
        }
        if perfect.count > 1 { undecided[section] = perfect } else if let best { take(best, section) }
    }

    private mutating func take(_ trial: Trial, _ section: Int) {
        places[section] = trial.place
        verified.merge(trial.good) { old, _ in old }
        for (index, mismatch) in trial.bad where !findElsewhere(index) {
            mismatches[index] = mismatches[index] ?? mismatch
        }
    }

    /// In another link's target a function of another size may lie before it, so that the section is in pieces.
    private mutating func findElsewhere(_ index: Int) -> Bool {
        guard target.translated != nil else { return false }
        for address in Set(definitions(of: plain.entities[index]).map(\.value)) {
            guard case .success(let readings) = verify(index, at: address) else { continue }
            verified[index] = readings
            moved[index] = address
            return true
        }
        return false
    }

    /// Equal copies (a static function of a header, in each unit a section of its own) are told apart by what functions
    /// with a known place call; never by guessing, since each may have static data of its own.
    private mutating func decide() {
        var isProgress = true
        while isProgress, !undecided.isEmpty {
            isProgress = false
            let named = Dictionary(
                grouping: verified.values.joined().compactMap { sectionPlace($0) }, by: \.0
            ).mapValues { Set($0.map(\.1)) }
            for (section, trials) in undecided {
                let fitting = trials.filter { named[section]?.contains($0.place) == true }
                guard fitting.count == 1 else { continue }
                take(fitting[0], section)
                undecided[section] = nil
                isProgress = true
            }
        }
        for (section, trials) in undecided {
            for index in plain.entitiesInSection[section, default: []] {
                mismatches[index] = .other(
                    "the target has \(trials.count) equal functions of its name, and nothing tells which is this unit's"
                )
            }
        }
    }

    private func verify(_ index: Int, at address: UInt64) -> Result<[FieldReading], Mismatch> {
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

    /// In another link's target equal bytes alone prove nothing where a neighbour's place was only guessed from.
    mutating func dropUnproved() {
        for index in verified.keys {
            guard
                let address = moved[index]
                    ?? places[plain.entities[index].section].map({ $0 &+ plain.entities[index].offset }),
                !isProved(address, of: index)
            else { continue }
            verified[index] = nil
            moved[index] = nil
            unproved.insert(index)
            mismatches[index] = .other(
                "its code is where its neighbours lead to, but nothing in the target proves that it is this function")
        }
    }

    /// The very file's symbols are proved; another link's are where the name is known at that address. What the symbol
    /// table doesn't name can't be asked.
    private func isProved(_ address: UInt64, of index: Int) -> Bool {
        guard target.translated != nil else { return true }
        let entity = plain.entities[index]
        return definitions(of: entity, guesses: true).isEmpty
            || definitions(of: entity).contains { $0.value == address }
    }

    /// Data sections by what verified code says of them; then every function must agree.
    mutating func placeData() {
        var votes: [Int: [UInt64: Int]] = [:]
        for reading in verified.values.joined() {
            guard let (section, place) = sectionPlace(reading), places[section] == nil else { continue }
            votes[section, default: [:]][place, default: 0] += 1
        }
        for (section, candidates) in votes {
            if candidates.count > 1, target.translated != nil {
                placePieces(of: section)
            } else {
                places[section] = candidates.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
            }
        }
        let strange = target.translated == nil ? strangeSections() : []
        let strangers = target.translated == nil ? [] : strangeEntities()
        for (index, readings) in verified {
            func isStrange(_ reading: FieldReading) -> Bool {
                if let referent = referent(reading), strangers.contains(referent) { return true }
                return sectionPlace(reading).map { strange.contains($0.0) } ?? !isSameLiteral(reading)
            }
            guard let bad = readings.first(where: { !agrees($0) || isStrange($0) }) else { continue }
            verified[index] = nil
            mismatches[index] = .other("it refers to another \(described(bad))")
        }
    }

    /// A function is its code and its handlers.
    mutating func matchHandlers() {
        let handlers = HandlerMatch(plain: plain, target: target)
        for index in verified.keys {
            let entity = plain.entities[index]
            guard let address = moved[index] ?? places[entity.section].map({ $0 &+ entity.offset }),
                let difference = handlers.difference(of: index, at: address)
            else { continue }
            verified[index] = nil
            mismatches[index] = .other(difference)
        }
    }

    private func described(_ reading: FieldReading) -> String {
        if let referent = referent(reading) { return plain.entities[referent].name }
        let name = plain.file.symbols[reading.relocation.symbol].name
        return name.isEmpty ? "datum" : name
    }

    private func strangeSections() -> Set<Int> {
        Set(places.filter { !isSameData($0.key, at: $0.value) }.keys)
    }

    /// Of another link's target, each datum has to be the same one; its neighbours need not.
    private func strangeEntities() -> Set<Int> {
        Set(
            plain.entities.indices.filter { index in
                let entity = plain.entities[index]
                let address = moved[index] ?? places[entity.section].map { $0 &+ entity.offset }
                guard entity.kind == .data, let place = address else { return false }
                return !isSameData(entity.section, at: place, from: entity.offset, size: entity.size)
            })
    }

    /// A section of which parts are shifted against each other: each datum lies where all references to it say.
    private mutating func placePieces(of section: Int) {
        var votes: [Int: Set<UInt64>] = [:]
        for reading in verified.values.joined() {
            guard let (held, place) = sectionPlace(reading), held == section, let index = referent(reading) else {
                continue
            }
            votes[index, default: []].insert(place &+ plain.entities[index].offset)
        }
        for (index, addresses) in votes where addresses.count == 1 { moved[index] = addresses.first }
    }

    /// The definition of the unit that a field refers to.
    private func referent(_ reading: FieldReading) -> Int? {
        if let known = plain.entityOfSymbol[reading.relocation.symbol] { return known }
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard let section = symbol.sectionIndex, symbol.kind == .section else { return nil }
        // The field counts from the instruction's end, mostly 4 bytes on.
        let bias: Int64 = reading.relocation.type.isPCRelative ? 4 : 0
        let offset = Int64(bitPattern: symbol.value) &+ reading.relocation.addend &+ bias
        return plain.entity(section: section, offset: offset)
    }

    /// The section a direct reference names and the place it implies; literals may be merged, so they imply nothing.
    private func sectionPlace(_ reading: FieldReading) -> (Int, UInt64)? {
        guard let symbolAddress = reading.symbolAddress else { return nil }
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard let section = symbol.sectionIndex, !plain.file.sections[section].isMergeable,
            !plain.file.sections[section].isThreadLocal, target.slotOfPLTEntry(at: symbolAddress) == nil,
            !mayBeOverridden(symbol)
        else { return nil }
        return (section, symbolAddress &- symbol.value)
    }

    /// The linker takes one of all weak definitions, or the strong one, and leaves the others where they are, unused. Of
    /// COMDAT groups it leaves one only.
    private func mayBeOverridden(_ symbol: Symbol) -> Bool {
        guard symbol.binding == .weak, let section = symbol.sectionIndex else { return false }
        return plain.file.sections[section].comdat == nil
    }

    /// Where another unit's definition lies that the linker took for this weak one.
    private func overriding(_ index: Int) -> UInt64? {
        let entity = plain.entities[index]
        guard entity.symbols.allSatisfy({ mayBeOverridden(plain.file.symbols[$0]) }) else { return nil }
        let taken = Set(
            entity.names.flatMap { target.definitions(of: $0) }.filter { $0.binding != .local }.map(\.value))
        guard taken.count == 1, let address = taken.first else { return nil }
        let own = moved[index] ?? places[entity.section].map { $0 &+ entity.offset }
        return own == address ? nil : address
    }

    /// Tables and initial values are part of what a match proves: the section's bytes, relocated fields aside; or a part
    /// of them.
    private func isSameData(_ index: Int, at place: UInt64, from first: UInt64 = 0, size: UInt64? = nil) -> Bool {
        let section = plain.file.sections[index]
        let size = size ?? section.size
        guard !section.isExecutable, !section.isNoBits, !section.isThreadLocal, size > 0,
            let held = plain.bytes(section: index, from: first, to: first &+ size),
            let found = target.bytes(at: place, size: size).map(Array.init), found.count == held.count
        else { return true }
        var expected = Array(held)
        for relocation in plain.relocations(section: index, from: first, to: first &+ size) {
            let start = Int(truncatingIfNeeded: relocation.offset - first)
            guard start >= 0, start < expected.count else { continue }
            let end = min(expected.count, start + relocation.type.fieldSize)
            expected.replaceSubrange(start..<end, with: found[start..<end])
        }
        return expected == found
    }

    /// A literal may lie anywhere in the target, but has to be the same one.
    private func isSameLiteral(_ reading: FieldReading) -> Bool {
        guard let base = reading.symbolAddress, reading.relocation.type == .pc32 else { return true }
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard let index = symbol.sectionIndex else { return true }
        let section = plain.file.sections[index]
        // The assembler may leave the label's name (`.LC0`) or count from the section.
        let distance = symbol.kind == .section ? reading.relocation.addend &+ 4 : 0
        let offset = Int64(bitPattern: symbol.value) &+ distance
        guard section.isMergeable, section.relocations.isEmpty, plain.isLiteralStart(section, offset) else {
            return true
        }
        let literal = Array(plain.literal(section, from: Int(offset)))
        if section.isStrings, isOfBuild(literal) { return true }
        guard let found = target.bytes(at: base &+ UInt64(bitPattern: distance), size: UInt64(literal.count)) else {
            return true
        }
        return found.elementsEqual(literal)
    }

    /// Paths (`__FILE__`), `__DATE__` and `__TIME__` say where and when the target was built: no other source.
    private func isOfBuild(_ text: [UInt8]) -> Bool {
        let isTime = text.count == 9 && text[2] == 58 && text[5] == 58
        let isDate = text.count == 12 && text[3] == 32 && text[6] == 32
        return isTime || isDate || text.contains(47)
    }

    private func agrees(_ reading: FieldReading) -> Bool {
        let symbol = plain.file.symbols[reading.relocation.symbol]
        // A slot's own name is the proof, whether the field names the slot or, for what is defined elsewhere or may be
        // preempted, a PLT entry of the linker's making. A slot without a name is relocated to the target's definition.
        if let slot = reading.slot ?? reading.symbolAddress.flatMap({ target.slotOfPLTEntry(at: $0) }) {
            guard let name = target.slotNames[slot] else { return true }
            return [name, "__real_" + name].contains(symbol.name) || name == "__wrap_" + symbol.name
        }
        if let (section, place) = sectionPlace(reading) {
            if let index = referent(reading), let address = moved[index] {
                return place &+ plain.entities[index].offset == address
            }
            return places[section] == place
        }
        guard let address = reading.symbolAddress, !symbol.isDefined || mayBeOverridden(symbol),
            symbol.kind != .threadLocal
        else { return true }
        let definitions = target.definitions(of: symbol.name)
        return definitions.isEmpty || isDestination(address, of: symbol.name)
    }

    private func isMeant(_ address: UInt64, by symbol: Symbol) -> Bool {
        if !target.definitions(of: symbol.name).isEmpty { return isDestination(address, of: symbol.name) }
        // What no file defines is at address 0.
        return symbol.binding != .weak && target.isLoaded(address)
    }

    /// `ld --wrap=f` leads what calls `f` to `__wrap_f`, and what calls `__real_f` to `f`.
    private func isDestination(_ address: UInt64, of name: String) -> Bool {
        var names = [name, "__wrap_" + name]
        if name.hasPrefix("__real_") { names.append(String(name.dropFirst(7))) }
        return names.contains { target.definitions(of: $0).contains { $0.value == address } }
    }

    func result() -> MatchedUnit {
        var unit = MatchedUnit()
        for (index, entity) in plain.entities.enumerated() {
            if let other = overriding(index) {
                for name in entity.names { unit.addresses[name] = other }
                continue
            }
            // Whether this one was taken, or which other, is not proved.
            if entity.symbols.contains(where: { mayBeOverridden(plain.file.symbols[$0]) }),
                entity.names.contains(where: { target.isUnproved($0) })
            {
                continue
            }
            if verified[index] != nil { unit.matched.formUnion(entity.names) }
            if let mismatch = mismatches[index] {
                // Not in this target at all: a name that only others have.
                if definitions(of: entity, guesses: true).isEmpty { continue }
                for name in entity.names { unit.mismatches[name] = mismatch.text }
                if unproved.contains(index) { unit.unproved.formUnion(entity.names) }
            }
            guard let address = address(of: index) else { continue }
            for name in entity.names { unit.addresses[name] = address }
            if entity.kind == .function { for name in entity.names { unit.sizes[name] = entity.size } }
        }
        addUndefined(to: &unit)
        unit.likelyCause = likelyCause(
            mismatches.values, matched: verified.count, object: plain.file, target: target.file)
        return unit
    }

    /// What the code calls by a name that several files define, or that the link gave another meaning (`--wrap`,
    /// `--defsym`): the references themselves tell.
    private func addUndefined(to unit: inout MatchedUnit) {
        var contradicted: Set<String> = []
        for reading in verified.values.joined() {
            let symbol = plain.file.symbols[reading.relocation.symbol]
            guard !symbol.isDefined, symbol.kind != .threadLocal else { continue }
            var address: UInt64?
            if let slot = reading.slot ?? reading.symbolAddress.flatMap({ target.slotOfPLTEntry(at: $0) }) {
                if let name = target.slotNames[slot] {
                    unit.imports[symbol.name] = name
                } else {
                    // The PLT entry of an indirect function of the target's own.
                    address = reading.symbolAddress
                }
            } else if let direct = reading.symbolAddress, isMeant(direct, by: symbol) {
                address = direct
            }
            guard let address else { continue }
            if let known = unit.addresses[symbol.name], known != address { contradicted.insert(symbol.name) }
            unit.addresses[symbol.name] = address
        }
        // Where the symbol table knows the name, one reference may go through a PLT entry and another be direct.
        for name in contradicted where target.isUnproved(name) { unit.addresses[name] = nil }
    }

    private func address(of index: Int) -> UInt64? {
        let entity = plain.entities[index]
        // Another link's section may be in pieces though all references to it agree: they may all be to one piece.
        if let address = moved[index], isProved(address, of: index) { return address }
        if entity.kind != .threadLocal, let place = places[entity.section],
            isProved(place &+ entity.offset, of: index)
        {
            return place &+ entity.offset
        }
        // No code that was verified refers to it: only a name of its own can tell.
        let candidates = Set(definitions(of: entity, guesses: true).map(\.value))
        return candidates.count == 1 && !definitions(of: entity).isEmpty ? candidates.first : nil
    }
}
