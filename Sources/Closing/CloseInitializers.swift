import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// What runs without being called, and what may leave functions without returning.
extension Closure {
    /// A unit that had no initialisers and has some now: where they touch nothing but what is new in the module, they
    /// travel and run when it is loaded. Any others are the guard's matter.
    mutating func addInitializers() {
        for (index, unit) in units.enumerated() {
            let found = constructors(unit.new)
            guard constructors(unit.original).isEmpty, !found.isEmpty else { continue }
            let entities = found.compactMap { unit.new.entityNamed[$0.name] }
            guard entities.count == found.count, entities.allSatisfy({ isOwnInitializer($0, of: unit) }) else {
                continue
            }
            for number in entities { travel(number, of: index, side: 0) }
            initializers[index] = entities.map { unit.new.entities[$0].symbols[0] }
        }
    }

    /// The compiler's own function for dynamic initialisation, which refers to no variable and calls no function that the
    /// process has for itself: what it does is seen by new code alone.
    private func isOwnInitializer(_ number: EntityIndex, of unit: MatchedUnit) -> Bool {
        guard unit.new.entities[number].name.hasPrefix("_GLOBAL__sub_I_") else { return false }
        var reached: Set<EntityIndex> = [number]
        var work = [number]
        while let next = work.popLast() {
            let parts = [next] + unit.new.coldHalves[unit.new.entities[next].name, default: []]
            for entity in parts.map({ unit.new.entities[$0] }) {
                let section = unit.new.file.sections[entity.section]
                for relocation in unit.new.relocations(section: entity.section, from: entity.offset, to: entity.end) {
                    switch unit.new.referent(of: relocation, in: section) {
                    case .undefined(let name, _):
                        if name != "__dso_handle", !isOfLibrary(name) { return false }
                    case .entity(let other, _):
                        let referred = unit.new.entities[other]
                        if unit.correlation.originalOf[other] != nil || isKnown(referred.name, kind: referred.kind) {
                            let isHarmless = referred.kind == .function ? referred.isVague : !referred.isWritable
                            if !isHarmless || referred.kind == .threadLocal { return false }
                        } else if referred.kind == .function, reached.insert(other).inserted {
                            work.append(other)
                        }
                    case .anonymous: continue
                    case .absolute: return false
                    }
                }
            }
        }
        return true
    }

    private func isOfLibrary(_ name: String) -> Bool {
        target.globalDefinitions(of: name).isEmpty && newGlobals[name] == nil
    }

    /// Unwind data makes loading the patch depend on the process's unwinder, so it is left out where nothing can be thrown
    /// through the patched functions: in C programs without any sign of exceptions or cleanups. A library is called by
    /// whoever loads it, and calls back.
    var needsUnwindData: Bool {
        for (index, unit) in units.enumerated() {
            for (side, view) in [unit.new, unit.original].enumerated() {
                let code = sides[index][side].sections.filter { view.file.sections[$0].isExecutable }
                if code.isEmpty { continue }
                let usesTables = code.contains { section in
                    (view.frames.bySection[section] ?? []).contains { view.frames.fdes[$0].lsda != nil }
                }
                if usesTables || !target.isExecutable || target.hasExceptions { return true }
                if unit.isCPlusPlus || view.file.symbols.contains(where: { $0.name.hasPrefix("_Z") }) { return true }
            }
        }
        return false
    }
}

extension TargetImage {
    /// It has code that throws, or that cleans up behind what is thrown.
    var hasExceptions: Bool {
        ["__gxx_personality_v0", "__gcc_personality_v0", "_Unwind_Resume", "__cxa_throw"].contains {
            imports[$0] != nil
        } || !definitions(of: "__gxx_personality_v0").isEmpty
    }
}
