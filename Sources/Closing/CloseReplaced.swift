import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// The functions that a patch replaces: each one proved to be what the target has, with an entry that takes a jump.
extension Closure {
    mutating func addReplacedFunctions() {
        for (index, unit) in units.enumerated() {
            let changed = unit.changes.functions.sorted {
                unit.new.entities[$0.key].name < unit.new.entities[$1.key].name
            }
            for (entity, reason) in changed { replace(entity, of: index, because: reason) }
        }
    }

    private mutating func replace(_ new: EntityIndex, of index: Int, because reason: String) {
        let unit = units[index]
        guard let original = unit.correlation.originalOf[new] else { return }
        let (entity, old) = (unit.new.entities[new], unit.original.entities[original])
        guard unit.matched.matched.contains(old.name), let address = unit.matched.addresses[old.name] else {
            if old.isVague, isElsewhere(old, index) { return }
            if isDropped(original, unit) { return }
            let why = unit.matched.mismatches[old.name] ?? "the target has no function of that name"
            refusals.append(
                Refusal(
                    .unmatchedFunction, subject: "\(old.name) (\(unit.name))",
                    why: "compiled again it is not what the target has: \(why)\(unit.matched.likelyCause)"))
            return
        }
        // The same code under two units (PIC and not, two programs of one build) is one function of the target.
        guard seenFunctions.insert(address).inserted else { return }
        guard let described = describe(old, at: address, in: unit) else { return }
        let parts = [new] + unit.new.coldHalves[entity.name, default: []]
        let oldParts = [original] + unit.original.coldHalves[old.name, default: []]
        checkAliases(old, entity, unit)
        for part in parts { travel(part, of: index, side: 0) }
        let isBare = described.entry.kind == .bare
        if isBare { for part in oldParts { travel(part, of: index, side: 1) } }
        functions.append(
            FunctionPlan(
                description: PatchedFunction(
                    name: unit.new.ownName(of: entity), object: unit.name, change: .changed, reason: reason,
                    original: described),
                unit: index, newSymbols: parts.map { unit.new.entities[$0].symbols[0] },
                oldSymbols: isBare ? oldParts.map { unit.original.entities[$0].symbols[0] } : []))
    }

    /// The target has kept another unit's copy of a function of vague linkage, which is replaced by that unit's; or none,
    /// since every call of it is inlined.
    private func isElsewhere(_ old: Entity, _ index: Int) -> Bool {
        let isNamed = old.names.contains {
            !target.definitions(of: $0).isEmpty || target.guessed[$0] != nil || target.imports[$0] != nil
        }
        if !isNamed, target.namesLocals || !target.mayHold(old, of: units[index].original) { return true }
        return units.indices.contains { other in
            guard other != index, units[other].matched.matched.contains(old.name),
                let number = units[other].new.entityNamed[old.name]
            else { return false }
            return units[other].changes.functions[number] != nil
        }
    }

    /// All names of an address must stay together (trap aliases).
    private mutating func checkAliases(_ old: Entity, _ new: Entity, _ unit: MatchedUnit) {
        // A clone's only name may have another number now.
        guard old.names.count > 1 else { return }
        let lost = old.names.filter { name in
            !new.names.contains(name) && unit.new.entityNamed[name] != nil
        }
        guard let name = lost.first else { return }
        refusals.append(
            Refusal(
                .aliases, subject: name,
                why: "it shares an address with \(old.name) in the target, but no longer does in the new object"))
    }

    private mutating func describe(_ old: Entity, at address: UInt64, in unit: MatchedUnit) -> OriginalFunction? {
        let halves = unit.original.coldHalves[old.name, default: []]
        let cold: [AddressRange] = halves.compactMap { part in
            let name = unit.original.entities[part].name
            guard let start = unit.matched.addresses[name], let size = unit.matched.sizes[name] else { return nil }
            return AddressRange(address: start, size: size)
        }
        let range = AddressRange(address: address, size: unit.matched.sizes[old.name] ?? old.size)
        let aborts = zip([range] + cold, [old] + halves.map { unit.original.entities[$0] })
            .filter { unit.original.endsInStackCheck($1) }.map(\.0.end)
        guard cold.count == halves.count,
            let described = describeOriginal(
                range: range, cold: cold, names: [unit.original.ownName(of: old)] + old.names, aborts: Set(aborts),
                target: target, coupled: isCoupled(old, unit))
        else {
            refusals.append(
                Refusal(.unmatchedFunction, subject: old.name, why: "a part of it was not found in the target"))
            return nil
        }
        if case .failure(let refusal) = described {
            refusals.append(refusal)
            return nil
        }
        var function = try? described.get()
        function?.chosenAs = target.chosenAs(old.names, at: address)
        return function
    }

    /// A function whose callers in the original changed too, in whatever unit, may be called in another way, or by
    /// code that relies on registers it leaves alone (trap ipa-contract).
    private func isCoupled(_ old: Entity, _ unit: MatchedUnit) -> Bool {
        old.names.contains { name in
            let key = old.isGlobal ? name : "\(name) \(unit.name)"
            return !usedByChanged[key, default: []].subtracting(old.names).isEmpty
        }
    }

    /// A global that the target has, and that another unit defines now, or that became another name of something else:
    /// what refers to it in the target would go on with the old one.
    mutating func refuseMoved() {
        for unit in units {
            for (number, entity) in unit.new.entities.enumerated()
            where entity.isGlobal && !entity.isVague && unit.correlation.originalOf[number] == nil {
                // What is new under a library's name would stand for it in the whole program, had it been linked so.
                if let name = entity.names.first(where: { target.imports[$0] != nil }) {
                    refuse(
                        Refusal(
                            .ambiguousSymbol, subject: "\(name) (\(unit.name))",
                            why: "the target takes it from a library, and other code goes on using that one",
                            remedy: "give the new definition another name, or make it static"))
                    continue
                }
                let isKnown = { (name: String) in
                    target.isUnproved(name)
                        || target.globalDefinitions(of: name).contains { $0.binding != .local }
                }
                guard let name = entity.names.first(where: isKnown) else { continue }
                // The same variable, which gets an initial value now (rule data-initial-value).
                if unit.changes.initialValues.contains(number) { continue }
                refuse(
                    Refusal(
                        .ambiguousSymbol, subject: "\(name) (\(unit.name))",
                        why: "the target has a definition of it already, which other code goes on using",
                        remedy: "leave the definition where it was"))
            }
            for (number, entity) in unit.original.entities.enumerated()
            where entity.isGlobal && unit.correlation.newOf[number] == nil {
                guard let name = entity.names.first(where: { unit.new.entityNamed[$0] != nil }) else { continue }
                refuse(
                    Refusal(
                        .aliases, subject: "\(name) (\(unit.name))",
                        why: "it becomes another name of \(unit.new.entities[unit.new.entityNamed[name] ?? 0].name)"))
            }
        }
    }
}

extension MatchedUnit {
    /// Adds by name (with the unit's, for local ones) which functions that change refer to it in the original.
    func addUses(to uses: inout [String: Set<String>]) {
        for caller in changes.functions.keys {
            guard let number = correlation.originalOf[caller] else { continue }
            let entity = original.entities[number]
            let section = original.file.sections[entity.section]
            for relocation in original.relocations(section: entity.section, from: entity.offset, to: entity.end) {
                switch original.referent(of: relocation, in: section) {
                case .undefined(let callee, _): uses[callee, default: []].insert(entity.name)
                case .entity(let callee, _):
                    let callee = original.entities[callee]
                    for used in callee.names {
                        uses[callee.isGlobal ? used : "\(used) \(name)", default: []].insert(entity.name)
                    }
                default: break
                }
            }
        }
    }
}
