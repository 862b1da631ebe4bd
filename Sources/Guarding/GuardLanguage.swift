import Closing
import CodeModel
import Comparing
import Diagnostics
import ElfFormat
import Matching
import ObjectFiles

/// What runs before `main`, or when a thread starts, has run.
func guardConstructors(_ unit: MatchedUnit, _ plan: UnitPlan) -> [Finding] {
    let (old, new) = (constructors(unit.original), constructors(unit.new))
    let isOfModule = old.isEmpty && plan.initializers.count == new.count
    if !areSame(old, new), !isOfModule {
        return [
            Finding(
                subject: unit.name,
                why:
                    "its list of constructors or destructors changes: \(old.map(\.text)) became \(new.map(\.text))")
        ]
    }
    let runners = Set(old.map(\.name))
    let early = unit.original.onlyReached(from: runners, or: unit.original.fieldsOfInitializers())
    return unit.changes.functions.keys.sorted().compactMap { number in
        let entity = unit.new.entities[number]
        let isRunner = entity.names.contains { runners.contains($0) || isOfThreads($0) }
        guard isRunner || unit.correlation.originalOf[number].map({ early.contains($0) }) == true else { return nil }
        return Finding(
            subject: "\(entity.name) (\(unit.name))",
            why: isRunner
                ? "the function is a constructor, and has run already"
                : "only a constructor or an initialiser of a static variable calls the function, and it has run")
    }
}

/// Initialises the thread-locals of a thread, at their first use.
private func isOfThreads(_ name: String) -> Bool { name.hasPrefix("_ZTH") || stem(name) == "__tls_init" }

extension ObjectView {
    /// Functions of the unit's own that nothing refers to but these functions, these fields, or such functions.
    fileprivate func onlyReached(from names: Set<String>, or fields: Set<FunctionFlow.Place>) -> Set<EntityIndex> {
        guard !names.isEmpty || !fields.isEmpty else { return [] }
        var users: [EntityIndex: Set<EntityIndex>] = [:]
        for section in file.sections where section.isAllocated && section.name != ".eh_frame" {
            for relocation in section.relocations {
                guard case .entity(let used, _) = referent(of: relocation, in: section),
                    entities[used].kind == .function
                else { continue }
                if fields.contains(FunctionFlow.Place(section: section.index, offset: relocation.offset)) {
                    users[functionOwning(used), default: []].formUnion([])
                    continue
                }
                let user = entity(section: section.index, offset: Int64(relocation.offset)).map(functionOwning)
                users[functionOwning(used), default: []].insert(user ?? -1)
            }
        }
        var reached = Set(entities.indices.filter { !names.isDisjoint(with: entities[$0].names) })
        let runners = reached
        while true {
            let more = users.filter { used, by in
                !reached.contains(used) && isOwn(used) && by.isSubset(of: reached.union([used]))
            }
            if more.isEmpty { return reached.subtracting(runners) }
            reached.formUnion(more.keys)
        }
    }

    /// No other unit calls it, or only from a copy of the same code: a lambda.
    private func isOwn(_ number: EntityIndex) -> Bool {
        !entities[number].isGlobal || (entities[number].isVague && namesLambda(entities[number].name))
    }
}

/// Lambdas and local classes are called by numbers, in the order they stand in the source. Where one comes or goes, objects
/// that the process has made of one could be given the code of another.
func guardNumbers(_ unit: MatchedUnit) -> [Finding] {
    unit.changes.uncertain.map { number in
        Finding(
            subject: "\(unit.new.entities[number].name) (\(unit.name))",
            why: "lambdas or local classes come or go in its function, and nothing tells which is which",
            remedy: "put new ones behind the others in the fix")
    }
}

/// A coroutine that waits goes on where it stopped: by a number that means something in its own code only.
func guardCoroutines(_ unit: MatchedUnit) -> [Finding] {
    let parts = [".actor", ".destroy", ".cleanup"]
    return unit.changes.functions.keys.map { unit.new.entities[$0].name }.sorted().filter { name in
        parts.contains { stem(name).hasSuffix($0) }
    }.map { name in
        Finding(
            subject: "\(name) (\(unit.name))",
            why: "it is a coroutine, and those that wait in the process would go on at places of the old code",
            remedy: "restart")
    }
}
