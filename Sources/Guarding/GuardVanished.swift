import CodeModel
import Comparing
import Diagnostics
import MachineCode
import Matching
import ObjectFiles
import Targets

/// A function that is gone (or renamed) stays in the process. Whoever has its address goes on calling it, as it was.
func guardVanished(_ unit: MatchedUnit) -> [Finding] {
    let view = unit.original
    let gone = Set(
        view.entities.indices.filter { number in
            let entity = view.entities[number]
            return entity.kind == .function && entity.coldParent == nil && unit.correlation.newOf[number] == nil
        })
    guard !gone.isEmpty else { return [] }
    var findings: [Finding] = []
    for section in view.file.sections where section.isExecutable {
        for relocation in section.relocations {
            guard case .entity(let number, let delta) = view.referent(of: relocation, in: section),
                gone.contains(number),
                delta == (relocation.type.isPCRelative ? -4 : 0), !relocation.isBranch(in: section)
            else { continue }
            let user = view.entity(section: section.index, offset: Int64(relocation.offset))
            findings.append(
                Finding(
                    subject: "\(view.entities[number].name) (\(unit.name))",
                    why:
                        "it is gone, but \(user.map { view.entities[$0].name } ?? "code") has given its address away: the process may go on calling it"
                ))
        }
    }
    return findings
}

/// A global that is gone, and that code of the target which does not change still uses. The link of the fix leads that
/// code to another definition: a weak one, or a library's. In the process it goes on with the old one.
func guardVanishedGlobals(_ units: [MatchedUnit], in target: TargetImage) -> [Finding] {
    let gone = units.flatMap { unit in unit.vanishedGlobals(among: units) }
    guard !gone.isEmpty else { return [] }
    let users = UserSearch(gone: gone, leaving: units.flatMap(\.leavingCode), target: target).users()
    return gone.indices.compactMap { index in
        users[index].map { user in
            Finding(
                subject: "\(gone[index].name) (\(gone[index].unit))",
                why: "it is gone, but \(user) of the target, which does not change, uses it and would go on with it",
                remedy: "restart, or keep the definition and give it the new behaviour")
        }
    }
}

private struct VanishedGlobal {
    var name: String
    var unit: String
    var range: Range<UInt64>
}

extension MatchedUnit {
    fileprivate func vanishedGlobals(among units: [MatchedUnit]) -> [VanishedGlobal] {
        original.entities.indices.compactMap { number in
            let entity = original.entities[number]
            guard entity.isGlobal, !(entity.isVague && isCPlusPlus), entity.kind != .threadLocal,
                entity.coldParent == nil,
                correlation.newOf[number] == nil, let address = matched.addresses[entity.name],
                !units.contains(where: { $0.new.entityNamed[entity.name] != nil })
            else { return nil }
            return VanishedGlobal(name: entity.name, unit: name, range: address..<address &+ max(1, entity.size))
        }
    }

    /// Where the target has the functions that are replaced, or gone.
    fileprivate var leavingCode: [Range<UInt64>] {
        original.entities.indices.compactMap { number in
            let entity = original.entities[number]
            guard entity.kind == .function, let address = matched.addresses[entity.name],
                let size = matched.sizes[entity.name]
            else { return nil }
            let stays = correlation.newOf[number].map { changes.functions[new.functionOwning($0)] == nil } ?? false
            return stays ? nil : address..<address &+ size
        }
    }
}

/// Looks through all code and pointers of the target.
private struct UserSearch {
    let gone: [VanishedGlobal]
    /// Code that nobody enters any more once the patch is active.
    let leaving: [Range<UInt64>]
    let target: TargetImage
    /// By address: slots of what is gone.
    private let slots: [UInt64: Int]

    init(gone: [VanishedGlobal], leaving: [Range<UInt64>], target: TargetImage) {
        self.gone = gone
        self.leaving = leaving
        self.target = target
        slots = Dictionary(
            gone.indices.flatMap { index in
                target.slotNames.filter { $0.value == gone[index].name }.map { ($0.key, index) }
            }, uniquingKeysWith: { first, _ in first })
    }

    /// By index of what is gone: who uses it.
    func users() -> [Int: String] {
        var found: [Int: String] = [:]
        let symbols = target.code.symbols
        target.code.forEachPiece { section, low, code in
            if section.name.hasPrefix(".plt") || leaving.contains(where: { $0.contains(low) }) { return }
            forEachInstruction(code, at: low) { instruction in
                guard let place = instruction.target ?? instruction.ripRelativeTarget, let index = index(of: place)
                else { return }
                found[index] = found[index] ?? symbols.last { $0.address <= low }?.name ?? "code"
            }
        }
        for (place, value) in target.relativeValueAt where !gone.contains(where: { $0.range.contains(place) }) {
            if let index = gone.firstIndex(where: { $0.range.lowerBound == value }) {
                found[index] = found[index] ?? "a pointer"
            }
        }
        return found
    }

    private func index(of place: UInt64) -> Int? {
        if let index = gone.firstIndex(where: { $0.range.contains(place) }) { return index }
        if slots.isEmpty { return nil }
        return slots[place] ?? target.slotOfPLTEntry(at: place).flatMap { slots[$0] }
    }
}

/// Names of what an object has the address of, as a value in code or data.
struct TakenAddresses {
    /// Its own functions.
    fileprivate(set) var functions: Set<String> = []
    /// What it lacks.
    fileprivate(set) var others: Set<String> = []
}

extension ObjectView {
    /// What the unit stores or hands on.
    var takenAddresses: TakenAddresses {
        var taken = TakenAddresses()
        for section in file.sections where section.isAllocated && section.name != ".eh_frame" {
            for relocation in section.relocations where !section.isExecutable || !relocation.isBranch(in: section) {
                switch referent(of: relocation, in: section) {
                case .entity(let number, let delta)
                where entities[number].kind == .function && delta == (relocation.type.isPCRelative ? -4 : 0):
                    taken.functions.formUnion(entities[number].names)
                case .undefined(let name, _): taken.others.insert(name)
                default: break
                }
            }
        }
        for (number, entity) in entities.enumerated() where entity.kind == .function {
            for (_, other) in filledInAddresses(of: number) { taken.functions.formUnion(entities[other].names) }
        }
        return taken
    }
}
