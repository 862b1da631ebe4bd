import Closing
import CodeModel
import Diagnostics
import Guarding
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// Gathers, of each target that is patched, what it has to do with the others.
///
/// - Parameters:
///   - held: the patched targets, with the units of each.
///   - constants: every changed constant of the patch.
func groupMembers(
    _ held: [GuardedTarget], decisions: [Decision], debug: DebugFacts, constants: [ConstantChange]
) -> [GroupMember] {
    guard held.count > 1 else { return [] }
    var members = held.map { GroupMember($0, debug: debug) }
    let subjects = decisions.map { SharedSubject($0, constants: constants) } + constants.compactMap(SharedSubject.init)
    for subject in subjects {
        var concerned = held.indices.filter { subject.concerns(held[$0], debug) }
        // Where nothing tells, it concerns all of them.
        if concerned.isEmpty, subject.isDecision { concerned = Array(held.indices) }
        for index in concerned { members[index].subjects.insert(subject.name) }
    }
    return members
}

extension GroupMember {
    fileprivate init(_ held: GuardedTarget, debug: DebugFacts) {
        let image = held.target.image
        buildID = image.buildID
        isExecutable = image.isExecutable
        soname = NeededLibraries.soname(of: image.file) ?? image.name
        needed = Set(NeededLibraries.names(in: image.file))
        exports = Set(image.exports.keys)
        imports = Set(image.imports.keys)
        uses = Self.used(by: held.plan, image)
        let units = Set(held.units.map(\.name))
        let changed = debug.changedSignatureNames.filter { units.contains($0.unit) }
        broken = Set(changed.map(\.function)).intersection(exports)
        handsOnBroken = changed.contains(where: \.isHandedOn)
    }

    /// Names that travelling code takes from outside of the target.
    private static func used(by plan: ModulePlan, _ image: TargetImage) -> Set<String> {
        let references = plan.units.flatMap { $0.newReferences.values }
        return Set(
            references.compactMap { reference -> String? in
                guard case .outside(let binding) = reference else { return nil }
                let isOutside = binding.kind == .imported || image.imports[binding.symbol] != nil
                return isOutside && image.exports[binding.symbol] == nil ? binding.symbol : nil
            })
    }
}

/// A type, a constant or a variable that changes, and that several targets may know.
private struct SharedSubject {
    var name: String
    var isDecision: Bool
    /// Of a decision that speaks of one unit.
    private var unit: String?
    private var plain: String
    private var rule: String
    /// Of a constant: who uses it.
    private var functions: Set<String> = []

    init(_ decision: Decision, constants: [ConstantChange]) {
        var subject = decision.subject
        if subject.hasSuffix(")"), let open = subject.lastIndex(of: "(") {
            unit = String(subject[subject.index(after: open)...].dropLast())
            subject = String(subject[..<open].dropLast())
        }
        (plain, rule, isDecision) = (subject, decision.rule, true)
        name = "\(decision.rule) \(subject)"
        functions = Set(
            constants.filter { $0.name == decision.subject && decision.rule == Rule.meaning.rawValue }.flatMap(\.users))
    }

    /// A number with another value; texts are for readers.
    init?(_ constant: ConstantChange) {
        guard Int64(constant.old) != nil || Int64(constant.new) != nil else { return nil }
        (plain, rule, isDecision) = (constant.name, Rule.meaning.rawValue, false)
        name = "constant \(constant.name)"
        functions = Set(constant.users)
    }

    func concerns(_ target: GuardedTarget, _ debug: DebugFacts) -> Bool {
        if let unit, target.units.contains(where: { $0.name == unit }) { return true }
        let names = Set(target.units.map(\.name))
        if rule == Rule.typeLayout.rawValue { return !debug.units(changing: plain).isDisjoint(with: names) }
        if !functions.isEmpty { return !debug.units(defining: functions).isDisjoint(with: names) }
        return unit == nil && target.units.contains { $0.new.entityNamed[plain] != nil }
    }
}

extension ConstantChange {
    fileprivate var users: [String] { functions + allocating + relying }
}

extension DebugFacts {
    /// Units in which a type has another layout.
    fileprivate func units(changing type: String) -> Set<String> {
        Set(
            pairs.filter { pair in
                guard let original = pair.original, let new = pair.new else { return true }
                return layoutDifferences(original: original, new: new).contains { $0.subject == type }
            }.map(\.unit.name))
    }

    /// Units that have one of these functions, inlined or not.
    fileprivate func units(defining functions: Set<String>) -> Set<String> {
        Set(
            pairs.filter { pair in
                pair.new.map { $0.functions.contains { functions.contains($0.name) } } ?? true
                    || functions.contains { pair.unit.new.entityNamed[$0] != nil }
            }.map(\.unit.name))
    }
}
