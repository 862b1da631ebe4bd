import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// Unwind data, and definitions of vague linkage: what C++ compilers emit into every object file that may need it, and of
/// which a process uses one.
extension Closure {
    /// Code travels with its unwind data: personality routines and tables of handlers.
    mutating func followFrames(of item: Work) {
        let view = sides[item.unit][item.side].view
        if let fault = view.frames.fault {
            return refuse(.badInput, view.file.sections[item.section].name, item, fault)
        }
        let frames = Work(unit: item.unit, side: item.side, section: view.frames.section)
        for number in view.frames.bySection[item.section] ?? [] {
            let fde = view.frames.fdes[number]
            for index in fde.relocations where index != fde.codeRelocation {
                follow(index, in: frames)
            }
            for index in view.frames.cies[fde.cie].relocations { follow(index, in: frames) }
        }
    }

    /// A destructor's thunks share its section. A thunk that travels along is never run, since nothing in the module refers to
    /// it; one that must travel goes on to its neighbour, which must travel too.
    func mayShare(_ neighbours: [EntityIndex], _ entity: EntityIndex, of unit: Int, side: Int) -> Bool {
        let view = sides[unit][side].view
        let item = units[unit]
        func isThunk(_ number: EntityIndex) -> Bool {
            ["_ZTh", "_ZTv", "_ZTc"].contains { view.entities[number].name.hasPrefix($0) }
        }
        func travels(_ number: EntityIndex) -> Bool {
            let fresh = side == 0 ? number : item.correlation.newOf[number]
            guard let fresh else { return false }
            return item.changes.functions[fresh] != nil || (side == 0 && item.correlation.originalOf[fresh] == nil)
        }
        guard neighbours.allSatisfy({ view.entities[$0].kind == .function }) else { return false }
        return neighbours.allSatisfy { $0 == entity || isThunk($0) || (isThunk(entity) && travels($0)) }
    }

    /// A definition of vague linkage that is new in its unit may be an old one of the process: the target's or a library's,
    /// which is bound. Of data (local statics, typeinfo, tables of virtual functions) there must never be a second one.
    ///
    /// - Returns: false when it must travel with its own unit.
    mutating func followVague(
        _ entity: Entity, _ symbol: SymbolIndex, _ relocation: Relocation, _ item: Work
    ) -> Bool {
        let known = entity.names.first { isKnown($0, kind: entity.kind) }
        let formerOwners = item.side == 0 ? formerOwners(of: entity.name) : []
        if let known, entity.kind != .function {
            let view = units[item.unit].new
            let isKept = formerOwners.allSatisfy { $0.view.holdsSame($0.entity, as: entity, of: view) }
            if !isKept { ask(changedWhereLost(known, entity, item)) }
        }
        if let name = known, entity.kind != .function || formerOwners.isEmpty {
            switch resolver.resolve(name, type: relocation.type, isWeak: false, in: units[item.unit].matched) {
            case .success(let binding): refer(symbol, .outside(binding), item)
            case .failure(let refusal): refuse(refusal)
            }
            return true
        }
        // Several units may bring the same new definition: the first one's serves all.
        guard let first = newGlobals[entity.name], first.unit != item.unit else { return false }
        travel(first.entity, of: first.unit, side: 0)
        refer(symbol, .otherUnit(name: entity.name), item)
        return true
    }

    /// Originals that have it, where no unit still has it in its new object: the target's copy is what it was before the
    /// fix, and nothing tells whether the new one is the same. A function then travels as a new one.
    func formerOwners(of name: String) -> [(view: ObjectView, entity: Entity)] {
        var found: [(view: ObjectView, entity: Entity)] = []
        for unit in units {
            guard let number = unit.original.entityNamed[name] else { continue }
            if let new = unit.new.entityNamed[name], unit.correlation.newOf[number] == new { return [] }
            found.append((unit.original, unit.original.entities[number]))
        }
        return found
    }

    private func changedWhereLost(_ name: String, _ entity: Entity, _ item: Work) -> Refusal {
        Refusal(
            entity.isWritable ? .dataInitialValue : .changedConstant, subject: "\(name) (\(units[item.unit].name))",
            why: "the unit that gave it to the target no longer has it, and here it has another content",
            remedy: "restart, or give the changed one another name")
    }

    /// The target defines or imports it, or, where a second one would do harm, a library that it needs has it.
    func isKnown(_ name: String, kind: Entity.Kind) -> Bool {
        !target.globalDefinitions(of: name).isEmpty || target.imports[name] != nil
            || (kind != .function && resolver.isInLibrary(name))
    }
}

extension TargetImage {
    /// How the target itself finds a function at `address`, where that may be another object's.
    func chosenAs(_ names: [String], at address: UInt64) -> ProcessSymbol? {
        guard !isExecutable, !isSymbolic else { return nil }
        let own = file.dynamicSymbols.first { symbol in
            symbol.isDefined && symbol.value == address && symbol.visibility == .default
                && VersionedName(symbol).isShown(of: names) && symbolicNames.contains(symbol.name)
        }
        return own.map { ProcessSymbol(name: $0.name, version: $0.version) }
    }
}
