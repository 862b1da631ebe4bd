import CodeModel
import Comparing
import Diagnostics
import MachineCode
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// Follows every reference from the changed functions outward: what the target has is bound, what it lacks travels.
///
/// A reference to a replaced function is bound to the target's entry, from wherever it comes: so `&f` stays one value,
/// and the switch decides for every call. No global the target defines gets into the module.
///
/// - Throws: `Refusals` for functions that don't match the target, entries that take no jump, and symbols that nothing
///   defines.
package func close(_ units: [MatchedUnit], target: TargetImage) throws -> ModulePlan {
    var closure = Closure(units: units, target: target)
    closure.refuseMoved()
    closure.addReplacedFunctions()
    closure.refuseMovedInstances()
    closure.addInitializers()
    closure.run()
    if !closure.refusals.isEmpty { throw Refusals(closure.refusals + closure.undecided) }
    return closure.plan()
}

/// The state of `close`: what is replaced is in CloseReplaced.swift.
struct Closure {
    let units: [MatchedUnit]
    let target: TargetImage
    let resolver: SymbolResolver
    var sides: [[UnitSide]]
    var functions: [FunctionPlan] = []
    /// By unit: symbols of its new object.
    var initializers: [Int: [SymbolIndex]] = [:]
    var refusals: [Refusal] = []
    /// What a decision lets pass: the target's copy then stands for the new one.
    var undecided: [Refusal] = []
    /// New global definitions by name: unit and entity of its new object.
    let newGlobals: [String: (unit: Int, entity: EntityIndex)]
    /// Global definitions that were local to their unit.
    let opened: [String: (unit: Int, entity: EntityIndex)]
    /// Names that functions of the original that change refer to.
    let usedByChanged: [String: Set<String>]
    var work: [Work] = []
    var seenFunctions: Set<UInt64> = []

    struct Work {
        var unit: Int
        var side: Int
        var section: SectionIndex
    }

    init(units: [MatchedUnit], target: TargetImage) {
        self.units = units
        self.target = target
        resolver = SymbolResolver(target: target, originals: units.map(\.original.file))
        sides = units.map { [UnitSide(view: $0.new), UnitSide(view: $0.original)] }
        var globals: [String: (unit: Int, entity: EntityIndex)] = [:]
        var opened: [String: (unit: Int, entity: EntityIndex)] = [:]
        for (index, unit) in units.enumerated() {
            for (number, entity) in unit.new.entities.enumerated() where entity.isGlobal {
                if let original = unit.correlation.originalOf[number] {
                    if unit.original.entities[original].isGlobal { continue }
                    for name in entity.names { opened[name] = (index, number) }
                } else {
                    for name in entity.names where globals[name] == nil { globals[name] = (index, number) }
                }
            }
        }
        newGlobals = globals
        self.opened = opened
        usedByChanged = units.reduce(into: [:]) { $1.addUses(to: &$0) }
    }

    // MARK: what travels

    mutating func travel(_ entity: EntityIndex, of unit: Int, side: Int) {
        let view = sides[unit][side].view
        guard sides[unit][side].entities.insert(entity).inserted else { return }
        let described = view.entities[entity]
        if described.kind == .function {
            for half in view.coldHalves[described.name, default: []] { travel(half, of: unit, side: side) }
        }
        let neighbours = view.entitiesInSection[described.section, default: []]
        if neighbours.count > 1, !view.mayBeCopied(entity), !mayShare(neighbours, entity, of: unit, side: side) {
            refusals.append(
                Refusal(
                    .ambiguousSymbol, subject: "\(described.name) (\(units[unit].name))",
                    why:
                        "it shares the section \(view.file.sections[described.section].name) with other definitions, so it can't be taken alone",
                    remedy: "compile it to a section of its own"))
        }
        travelSection(described.section, of: unit, side: side)
    }

    mutating func travelSection(_ section: SectionIndex, of unit: Int, side: Int) {
        guard sides[unit][side].sections.insert(section).inserted else { return }
        work.append(Work(unit: unit, side: side, section: section))
    }

    mutating func run() {
        while let item = work.popLast() {
            let section = sides[item.unit][item.side].view.file.sections[item.section]
            for index in section.relocations.indices { follow(index, in: item) }
            if section.isExecutable {
                followFilledIn(of: item)
                followFrames(of: item)
            }
        }
        for index in units.indices { addNewFunctions(of: index) }
    }

    mutating func follow(_ index: Int, in item: Work) {
        let view = sides[item.unit][item.side].view
        let section = view.file.sections[item.section]
        let relocation = section.relocations[index]
        switch view.referent(of: relocation, in: section) {
        case .undefined(let name, _): followUndefined(name, relocation, item)
        case .entity(let entity, _) where view.file.sections[view.entities[entity].section].isReferenceWord:
            travelSection(view.entities[entity].section, of: item.unit, side: item.side)
            refer(relocation.symbol, .here, item)
        case .entity(let entity, let delta): followEntity(entity, delta, index, item)
        case .anonymous(let other, _, _):
            travelSection(other, of: item.unit, side: item.side)
            refer(relocation.symbol, .here, item)
        case .absolute:
            refuse(.relocationType, view.file.symbols[relocation.symbol].name, item, "it is an absolute symbol")
        }
    }

    private mutating func followUndefined(_ name: String, _ relocation: Relocation, _ item: Work) {
        if item.side == 0, let definition = newGlobals[name], !isOld(name, definition) {
            travel(definition.entity, of: definition.unit, side: 0)
            return refer(relocation.symbol, .otherUnit(name: name), item)
        }
        if item.side == 0, let definition = opened[name] {
            let matched = units[definition.unit].matched
            let (view, entity) = (units[definition.unit].new, units[definition.unit].new.entities[definition.entity])
            let symbol = entity.symbols.first { view.file.symbols[$0].name == name } ?? entity.symbols[0]
            switch resolver.bind(
                entity, view.file.symbols[symbol],
                names: namesInTarget(definition.entity, of: definition.unit, side: 0), addresses: matched.addresses,
                type: relocation.type)
            {
            case .success(let binding): return refer(relocation.symbol, .outside(binding), item)
            case .failure(let refusal): return refuse(refusal)
            }
        }
        let view = sides[item.unit][item.side].view
        if isNewCommon(relocation.symbol, item) { return refer(relocation.symbol, .here, item) }
        let isWeak = view.file.symbols[relocation.symbol].binding == .weak
        switch resolver.resolve(name, type: relocation.type, isWeak: isWeak, in: units[item.unit].matched) {
        case .success(let binding) where item.side == 0 && isRemoved(binding, name, item.unit):
            refuseRemoved(name, item)
        case .success(let binding): refer(relocation.symbol, .outside(binding), item)
        case .failure(let refusal): refuse(refusal)
        }
    }

    private func isOld(_ name: String, _ definition: (unit: Int, entity: EntityIndex)) -> Bool {
        let entity = units[definition.unit].new.entities[definition.entity]
        return entity.isVague && isKnown(name, kind: entity.kind)
            && (entity.kind != .function || formerOwners(of: name).isEmpty)
    }

    /// A common symbol (`-fcommon`) that the target lacks, and no other unit of the patch mentions.
    private func isNewCommon(_ symbol: SymbolIndex, _ item: Work) -> Bool {
        let common = sides[item.unit][item.side].view.file.symbols[symbol]
        guard common.place == .common, item.side == 0, target.definitions(of: common.name).isEmpty,
            target.guessed[common.name] == nil, target.imports[common.name] == nil
        else { return false }
        return units.indices.allSatisfy { index in
            index == item.unit || !units[index].new.file.symbols.contains { $0.name == common.name }
        }
    }

    private mutating func followEntity(_ number: EntityIndex, _ delta: Int64, _ index: Int, _ item: Work) {
        let view = sides[item.unit][item.side].view
        let entity = view.entities[number]
        let section = view.file.sections[item.section]
        let relocation = section.relocations[index]
        if isInside(entity, delta, relocation, section) {
            let owner = entity.coldParent.flatMap { view.entityNamed[$0] } ?? number
            let isHere = sides[item.unit][item.side].entities.contains(owner)
            guard isHere else {
                return refuse(.relocationType, entity.name, item, "a place inside of it is referred to from elsewhere")
            }
            travel(number, of: item.unit, side: item.side)
            return refer(relocation.symbol, .here, item)
        }
        // By its own name from here on, so that a section's symbol stands for what is inside only. Assemblers put sections'
        // symbols in the place of local ones.
        let named =
            entity.symbols.contains(relocation.symbol)
            ? relocation.symbol
            : entity.symbols.first { view.file.symbols[$0].binding == .local } ?? entity.symbols[0]
        sides[item.unit][item.side].rename(relocation: index, in: item.section, to: named)
        if mustTravel(number, item) {
            let isNew = units[item.unit].correlation.originalOf[number] == nil
            if isNew, entity.isVague, followVague(entity, named, relocation, item) { return }
            travel(number, of: item.unit, side: item.side)
            return refer(named, .here, item)
        }
        switch unfit(number, item) {
        case .refused(let refusal): return refuse(refusal)
        case .undecided(let refusal): ask(refusal)
        case nil: break
        }
        switch resolver.bind(
            entity, view.file.symbols[named], names: namesInTarget(number, of: item.unit, side: item.side),
            addresses: units[item.unit].matched.addresses, type: relocation.type)
        {
        case .success(let binding): refer(named, .outside(binding), item)
        case .failure(let refusal): refuse(refusal)
        }
    }

    /// A function that takes its own address takes the target's, as everybody else does: so `&f` stays one value, also for what
    /// the process keeps after the patch is taken back (trap own-address).
    private mutating func followFilledIn(of item: Work) {
        let view = sides[item.unit][item.side].view
        for part in view.entitiesInSection[item.section, default: []] {
            for (field, number) in view.filledInAddresses(of: part) where !mustTravel(number, item) {
                let entity = view.entities[number]
                let named = entity.symbols.first { view.file.symbols[$0].binding == .local } ?? entity.symbols[0]
                sides[item.unit][item.side].file.sections[item.section].relocations.append(
                    Relocation(offset: field, type: .pc32, symbol: named, addend: -4))
                switch resolver.bind(
                    entity, view.file.symbols[named], names: namesInTarget(number, of: item.unit, side: item.side),
                    addresses: units[item.unit].matched.addresses, type: .pc32)
                {
                case .success(let binding): refer(named, .outside(binding), item)
                case .failure(let refusal): refuse(refusal)
                }
            }
        }
        sides[item.unit][item.side].file.sections[item.section].relocations.sort { $0.offset < $1.offset }
    }

    /// What the target calls a definition. The compiler numbers static locals and clones anew in each compilation, so that
    /// in the new object `counter.2` may be the target's `counter.1`, and the target's `counter.2` another variable.
    private func namesInTarget(_ number: EntityIndex, of unit: Int, side: Int) -> [String] {
        guard side == 0, let original = units[unit].correlation.originalOf[number] else {
            return sides[unit][side].view.entities[number].names
        }
        return units[unit].original.entities[original].names
    }

    private enum Obstacle {
        case refused(Refusal)
        case undecided(Refusal)
    }

    /// Why the target's copy of a definition can't stand for it.
    private func unfit(_ number: EntityIndex, _ item: Work) -> Obstacle? {
        let unit = units[item.unit]
        let view = sides[item.unit][item.side].view
        let entity = view.entities[number]
        // Of vague linkage, what the target has may be another unit's, and means the same.
        if entity.isVague, entity.kind == .function { return nil }
        if entity.kind == .function {
            let names = namesInTarget(number, of: item.unit, side: item.side)
            guard let why = names.compactMap({ unit.matched.mismatches[$0] }).first else { return nil }
            return .refused(
                Refusal(
                    .unmatchedFunction, subject: "\(entity.name) (\(unit.name))",
                    why: "new code calls it, and compiled again it is not what the target has: \(why)"))
        }
        guard item.side == 0, entity.kind == .data else { return nil }
        guard let inner = view.innerPlaces(of: number).first(where: { unit.changes.functions[$0] != nil }) else {
            return nil
        }
        return .undecided(
            Refusal(
                .changedConstant, subject: "\(entity.name) (\(unit.name))",
                why: "it is writable and holds places inside of \(view.entities[inner].name), which changes",
                remedy: "restart, or keep the function as it is"))
    }

    /// A jump table's entry, or a branch between a function's halves: not the function as such.
    private func isInside(_ entity: Entity, _ delta: Int64, _ relocation: Relocation, _ section: Section) -> Bool {
        guard entity.kind == .function else { return false }
        if entity.coldParent != nil { return true }
        if section.isExecutable { return relocation.type.isPCRelative ? delta != -4 : delta != 0 }
        return relocation.type.isPCRelative || delta != 0
    }

    /// New definitions and changed constants; of the original side, nothing that has an address of its own.
    private func mustTravel(_ number: EntityIndex, _ item: Work) -> Bool {
        if sides[item.unit][item.side].view.mayBeCopied(number) { return true }
        guard item.side == 0 else { return false }
        let unit = units[item.unit]
        if unit.changes.constants.contains(number) { return true }
        return isNew(number, unit)
    }

    /// The target has it neither under its name nor another: the fix brings it, or the link left it out.
    func isNew(_ number: EntityIndex, _ unit: MatchedUnit) -> Bool {
        unit.correlation.originalOf[number].map { isDropped($0, unit) } ?? true
    }

    /// The link left the original's static definition out, since nothing used it (`--gc-sections`).
    func isDropped(_ original: EntityIndex, _ unit: MatchedUnit) -> Bool {
        unit.original.entities[original].names.allSatisfy(unit.matched.dropped.contains)
    }

    mutating func refer(_ symbol: SymbolIndex, _ reference: Reference, _ item: Work) {
        sides[item.unit][item.side].references[symbol] = reference
    }

    mutating func refuse(_ rule: Rule, _ subject: String, _ item: Work, _ why: String) {
        refuse(Refusal(rule, subject: "\(subject) (\(units[item.unit].name))", why: why))
    }

    /// An engineer may know better.
    mutating func ask(_ refusal: Refusal) {
        if !undecided.contains(refusal) { undecided.append(refusal) }
    }

    mutating func refuse(_ refusal: Refusal) {
        if !refusals.contains(refusal) { refusals.append(refusal) }
    }

    private mutating func addNewFunctions(of index: Int) {
        let unit = units[index]
        for number in sides[index][0].entities.sorted() {
            let entity = unit.new.entities[number]
            guard entity.kind == .function, entity.coldParent == nil, isNew(number, unit) else { continue }
            let parts = [number] + unit.new.coldHalves[entity.name, default: []]
            functions.append(
                FunctionPlan(
                    description: PatchedFunction(
                        name: unit.new.ownName(of: entity), object: unit.name, change: .new,
                        reason: "the target has no such function"),
                    unit: index, newSymbols: parts.map { unit.new.entities[$0].symbols[0] }, oldSymbols: []))
        }
    }

    func plan() -> ModulePlan {
        let plans = units.indices.map { index in
            UnitPlan(
                name: units[index].name, original: sides[index][1].file, new: sides[index][0].file,
                newSections: sides[index][0].sections, originalSections: sides[index][1].sections,
                newReferences: sides[index][0].references, originalReferences: sides[index][1].references,
                initializers: initializers[index] ?? [])
        }
        var plan = ModulePlan(
            file: target.name, buildID: target.buildID, units: plans, functions: functions,
            needsUnwindData: needsUnwindData, undecided: undecided)
        if !target.isExecutable { plan.threadDescriptors = target.threadDescriptors }
        return plan
    }
}

/// The new or the original object of a unit, and what of it travels.
struct UnitSide {
    let view: ObjectView
    /// The view's file, with relocations renamed.
    var file: ObjectFile
    var sections: Set<SectionIndex> = []
    var entities: Set<EntityIndex> = []
    var references: [SymbolIndex: Reference] = [:]

    init(view: ObjectView) {
        self.view = view
        file = view.file
    }

    /// Names the same place by another symbol.
    mutating func rename(relocation index: Int, in section: SectionIndex, to symbol: SymbolIndex) {
        let relocation = file.sections[section].relocations[index]
        let raw = Int64(bitPattern: file.symbols[relocation.symbol].value) &+ relocation.addend
        file.sections[section].relocations[index].symbol = symbol
        file.sections[section].relocations[index].addend = raw &- Int64(bitPattern: file.symbols[symbol].value)
    }
}
