import Closing
import CodeModel
import Comparing
import Diagnostics
import ElfFormat
import MachineCode
import Matching
import ObjectFiles

/// A neighbour that is not what the target has was compiled otherwise there, and may hold an inlined copy of what changes
/// that the new object's does not show.
func guardMatch(_ unit: MatchedUnit) -> [Finding] {
    guard !unit.changes.functions.isEmpty else { return [] }
    let own = unit.matched.ownMismatches(in: unit.original)
    return own.sorted { $0.key < $1.key }.prefix(1).map { name, why in
        Finding(
            subject: "\(name) (\(unit.name))",
            why:
                "compiled again it is not what the target has: \(why) (\(own.count) functions of the unit differ); it may hold an inlined copy of what changes"
        )
    }
}

extension UnitMatch {
    /// Functions that differ; of vague linkage, the target may have kept another unit's.
    func ownMismatches(in view: ObjectView) -> [String: String] {
        mismatches.filter { name, _ in
            !unproved.contains(name) && view.entityNamed[name].map { !view.entities[$0].isVague } ?? true
        }
    }
}

/// The process has room for the size that the data had at its start (rule data-size).
func guardSizes(_ unit: MatchedUnit) -> [Finding] {
    let sizes = unit.changes.sizes.map { number in
        let entity = unit.new.entities[number]
        let old = unit.correlation.originalOf[number].map { unit.original.entities[$0].size } ?? 0
        return Finding(
            subject: "\(entity.name) (\(unit.name))",
            why: "its size changes from \(old) to \(entity.size) bytes, and "
                + (entity.size > old
                    ? "the process has room for the old one only"
                    : "code that stays as it is may go on using all of the old one"))
    }
    let commons = unit.changes.commonSizes.map { name in
        Finding(
            subject: "\(name) (\(unit.name))",
            why: "the size of this common symbol changes, and the process has room for the old one only")
    }
    return sizes + commons
}

/// Static variables of one name that nothing tells apart.
func guardNamesakes(_ unit: MatchedUnit) -> [Finding] {
    unit.correlation.ambiguous.map { name in
        Finding(
            subject: "\(name) (\(unit.name))",
            why: "several static variables of this name can't be told apart between original and new",
            remedy: "leave the lines that declare them as they are, or, where the fix adds one, give that another name")
    }
}

/// A changed constant is safe only where nothing but replaced functions of this unit read it, and never by address
/// (trap changed-constant-escapes).
func guardConstants(_ unit: MatchedUnit, _ callees: UnitCallees) -> [Finding] {
    guard !unit.changes.constants.isEmpty else { return [] }
    return unit.changes.constants.sorted().compactMap { number in
        let entity = unit.new.entities[number]
        guard let why = escape(of: number, unit, callees) else { return nil }
        return Finding(subject: "\(entity.name) (\(unit.name))", why: "the constant changes and \(why)")
    }
}

private func escape(of number: EntityIndex, _ unit: MatchedUnit, _ callees: UnitCallees) -> String? {
    let view = unit.new
    let constant = view.entities[number]
    if constant.isGlobal { return "other units may read it" }
    let name = view.file.sections[constant.section].name
    if !name.hasPrefix(".") { return "it is in the section \(name), which other code reads as a whole" }
    // Whether a table of labels gets out of its function is looked at with the function.
    if view.innerPlaces(of: number).contains(where: { unit.changes.functions[$0] != nil }) { return nil }
    // Old code may have given the address away, too.
    return addressTaken(of: number, in: view, callees.new)
        ?? unit.correlation.originalOf[number].flatMap { addressTaken(of: $0, in: unit.original, callees.original) }
}

/// Who may have stored a constant's address, or reads it in another way than by direct loads.
private func addressTaken(of number: EntityIndex, in view: ObjectView, _ callees: CalledFunctions) -> String? {
    var flows: [EntityIndex: ConstantFlow] = [:]
    for section in view.file.sections where section.isAllocated {
        let matching = section.relocations.filter { relocation in
            if case .entity(number, _) = view.referent(of: relocation, in: section) { return true }
            return false
        }
        guard !matching.isEmpty, section.name != ".eh_frame" else { continue }
        guard section.isExecutable else { return "\(section.name) holds its address" }
        for relocation in matching {
            guard let number = view.entity(section: section.index, offset: Int64(relocation.offset)),
                view.entities[number].kind == .function
            else { return "\(section.name) refers to it" }
            let function = view.functionOwning(number)
            let flow = flows[function] ?? ConstantFlow(view, of: function, callees)
            flows[function] = flow
            guard flow.onlyLoads(relocation, in: section.index) else {
                return
                    "\(view.entities[number].name) takes its address, which may have been stored where old code finds it"
            }
        }
    }
    return nil
}

/// What is new in a section that other code reads as a whole can't get into the target's.
func guardNewInSections(_ unit: MatchedUnit) -> [Finding] {
    unit.new.entities.indices.filter { number in
        unit.correlation.originalOf[number] == nil && unit.new.isListed(number)
    }.map { number in
        Finding(
            subject: "\(unit.new.entities[number].name) (\(unit.name))",
            why: "it is new in a section that other code reads as a whole, and can't get into the target's",
            remedy: "restart, or leave it out of the section")
    }
}

/// New thread-locals that new code uses.
func guardThreadLocals(_ unit: MatchedUnit, _ plan: UnitPlan) -> [Finding] {
    plan.newSections.sorted().flatMap { section in
        unit.new.entitiesInSection[section, default: []].compactMap { number in
            let entity = unit.new.entities[number]
            guard entity.kind == .threadLocal else { return nil }
            return Finding(
                subject: "\(entity.name) (\(unit.name))",
                why: "threads that run already have no room for a new thread-local variable")
        }
    }
}
