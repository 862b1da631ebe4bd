import CodeModel
import Comparing
import Diagnostics
import ObjectFiles
import Targets

/// The units that the change adds and that new code of `found` needs, or that such a unit needs in turn. No target has
/// anything of them, so that what refers to them is all that tells where they belong.
///
/// - Throws: `Refusals` ambiguous-symbol where a source is compiled in several ways and nothing tells which one is meant.
func newUnits(_ changed: [ComparedUnit], neededBy found: [MatchedUnit]) throws -> [MatchedUnit] {
    let variants = Dictionary(grouping: changed.filter(\.unit.isNew), by: \.unit.source)
    var needed: [MatchedUnit] = []
    var open = variants.keys.sorted()
    if open.isEmpty { return [] }
    var users = found.map { (name: $0.name, needs: $0.new.undefinedNames) }
    while true {
        let next = open.compactMap { source in
            users.first { user in
                (variants[source] ?? []).contains { !$0.globals.isDisjoint(with: user.needs) }
            }.map { (source: source, user: $0) }
        }
        if next.isEmpty { return needed }
        for (source, user) in next {
            let unit = MatchedUnit(try variant(of: variants[source] ?? [], for: user.name), UnitMatch())
            needed.append(unit)
            users.append((unit.name, unit.new.undefinedNames))
        }
        open.removeAll { source in next.contains { $0.source == source } }
    }
}

/// The one whose object lies beside the user's: `.libs` or not, `program-` or not.
private func variant(of variants: [ComparedUnit], for user: String) throws -> ComparedUnit {
    func likeness(_ item: ComparedUnit) -> Int { zip(item.unit.name.utf8, user.utf8).prefix { $0 == $1 }.count }
    let ranked = variants.sorted { likeness($0) > likeness($1) }
    guard ranked.count > 1, likeness(ranked[0]) == likeness(ranked[1]) else { return ranked[0] }
    throw Refusals(
        .ambiguousSymbol, subject: ranked[0].unit.source,
        why: "the fix adds it and it is compiled in several ways (\(ranked.map(\.unit.name).joined(separator: ", ")));"
            + " nothing tells which one \(user) needs")
}

/// A unit that the change adds and that no changed code needs may be linked into a target all the same, and have an effect
/// there that no patch has.
///
/// - Throws: `Refusals` where it would.
package func requireNoEffect(ofNew changed: [ComparedUnit], in held: [(target: TargetImage, units: [MatchedUnit])])
    throws
{
    let refusals = changed.filter(\.unit.isNew).flatMap { item in
        held.filter { !$0.units.contains { $0.name == item.unit.name } }.compactMap { target, _ in
            item.effect(in: target).map { why in
                Refusal(
                    .noCompileCommand, subject: item.unit.name,
                    why: "the fix adds it, nothing tells that \(target.name) is linked without it, and \(why)",
                    remedy: "restart, or leave it out of the new tree's record if \(target.name) is linked without it")
            }
        }
    }
    if !refusals.isEmpty { throw Refusals(refusals) }
}

extension ComparedUnit {
    /// Names that other units can mean.
    fileprivate var globals: Set<String> {
        Set(unit.new.entities.filter { $0.isGlobal && !$0.isVague }.flatMap(\.names))
    }

    /// What linking it in would do to code that does not change.
    fileprivate func effect(in target: TargetImage) -> String? {
        let names = globals.sorted()
        let strong = names.contains { name in
            target.globalDefinitions(of: name).contains { $0.binding == .global }
        }
        // Two definitions of one name make no program.
        if strong { return nil }
        if !constructors(unit.new).isEmpty { return "it has constructors or destructors" }
        if let name = names.first(where: { target.imports[$0] != nil || !target.globalDefinitions(of: $0).isEmpty }) {
            return "it defines \(name), which the target has from elsewhere"
        }
        return changes.lists ? "it has data in a section that other code reads as a whole" : nil
    }
}

extension ObjectView {
    /// What the object refers to and does not define.
    fileprivate var undefinedNames: Set<String> {
        Set(file.symbols.filter { $0.sectionIndex == nil && $0.place == .undefined }.map(\.name))
    }
}
