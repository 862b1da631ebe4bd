/// A patched target, as far as it matters for what must switch together.
struct GroupMember {
    var buildID: String
    var isExecutable: Bool
    /// Its name as others need it (`DT_SONAME`, or the file's), and the names of what it needs itself.
    var soname: String
    var needed: Set<String> = []
    /// Names that other objects may use.
    var exports: Set<String> = []
    /// Of those, functions that can't be called any more as they were.
    var broken: Set<String> = []
    /// Names that it takes from other objects.
    var imports: Set<String> = []
    /// Names that its new code takes from other objects.
    var uses: Set<String> = []
    /// Types, constants and variables that the patch changes in it.
    var subjects: Set<String> = []
    /// It hands on the address of a function that can't be called any more as it was.
    var handsOnBroken = false
}

/// Which targets must be patched together, by build-id and in their order; nil for one group of all.
///
/// A process takes each group of which it maps every target, and is refused when it maps a target besides. So a group says
/// what must be there for a target's new code to be right:
///
/// - what its new code uses of another target: it was built against the new meaning of that, and a function that stays may
///   call one that changes. Old code gets along with both, as it does with an upgraded library;
/// - who shares a changed type, constant or variable with it;
/// - of who calls a function in a way that has become wrong: every library, since that may be mapped later, and one of
///   the programs, since a process has one. A library whose callers are programs has no group without one of them.
///
/// Two programs are never in one process, and so never in one group.
func groupTargets(_ members: [GroupMember]) -> [[String]]? {
    guard members.count > 1 else { return nil }
    let all = Set(members.indices)
    let needs = Needs(of: members)
    var groups: [Set<Int>] = []
    for index in members.indices {
        let found = needs.groups(of: index)
        for group in found.isEmpty ? [all] : found where !groups.contains(group) { groups.append(group) }
    }
    // More than a manifest may hold: nobody takes a part then.
    guard groups != [all], groups.count <= 64 else { return nil }
    return groups.map { $0.sorted().map { members[$0].buildID } }
}

/// What each target needs: of each set, at least one.
private struct Needs {
    private let members: [GroupMember]
    private var clauses: [Set<Set<Int>>]

    init(of members: [GroupMember]) {
        self.members = members
        clauses = members.map { _ in [] }
        for index in members.indices {
            for name in members[index].uses.sorted() { addProviders(of: name, for: index) }
            addCallers(of: index)
            for other in members.indices where other > index && shares(index, other) { couple(index, other) }
        }
    }

    /// Who has what `index` uses: the libraries that it names itself, or else every one; programs only where no library does.
    private mutating func addProviders(of name: String, for index: Int) {
        let providers = members.indices.filter { canMeet($0, index) && members[$0].exports.contains(name) }
        let libraries = providers.filter { !members[$0].isExecutable }
        let named = libraries.filter { members[index].needed.contains(members[$0].soname) }
        if libraries.isEmpty {
            if !providers.isEmpty { clauses[index].insert(Set(providers)) }
        } else {
            for library in named.isEmpty ? libraries : named { clauses[index].insert([library]) }
        }
    }

    /// A function that can't be called as before, and its callers.
    private mutating func addCallers(of index: Int) {
        let callers = members.indices.filter {
            canMeet($0, index) && !members[index].broken.isDisjoint(with: members[$0].imports)
        }
        for caller in callers { clauses[caller].insert([index]) }
        requireUsers(Set(callers), of: index)
    }

    private mutating func requireUsers(_ users: Set<Int>, of index: Int) {
        for user in users where !members[user].isExecutable { clauses[index].insert([user]) }
        let programs = users.filter { members[$0].isExecutable }
        if programs.count == users.count, !users.isEmpty { clauses[index].insert(programs) }
    }

    private func shares(_ first: Int, _ second: Int) -> Bool {
        let (one, other) = (members[first], members[second])
        guard canMeet(first, second) else { return false }
        if !one.subjects.isDisjoint(with: other.subjects) { return true }
        let areRelated =
            !one.imports.isDisjoint(with: other.exports) || !other.imports.isDisjoint(with: one.exports)
        return areRelated && (one.handsOnBroken || other.handsOnBroken)
    }

    /// Both, or neither; a library shares with several programs, of which a process has one.
    private mutating func couple(_ first: Int, _ second: Int) {
        for (one, other) in [(first, second), (second, first)] {
            if !members[other].isExecutable { clauses[one].insert([other]) }
        }
        for (library, program) in [(first, second), (second, first)] where members[program].isExecutable {
            let others = members.indices.filter { members[$0].isExecutable && shares($0, library) }
            clauses[library].insert(Set(others))
        }
    }

    private func canMeet(_ first: Int, _ second: Int) -> Bool {
        first != second && !(members[first].isExecutable && members[second].isExecutable)
    }

    // MARK: Groups

    /// The smallest sets with `index` in which everybody has what it needs; none when no process could be such.
    func groups(of index: Int) -> [Set<Int>] {
        let base = closure([index])
        if isComplete(base) { return [base] }
        let programs = members.indices.filter { members[$0].isExecutable }
        return programs.map { closure(base.union([$0])) }.filter(isComplete)
    }

    /// With all that has no alternative.
    private func closure(_ start: Set<Int>) -> Set<Int> {
        var (result, work) = (start, Array(start))
        while let member = work.popLast() {
            for clause in clauses[member] {
                guard clause.count == 1, let needed = clause.first, result.insert(needed).inserted else { continue }
                work.append(needed)
            }
        }
        return result
    }

    private func isComplete(_ group: Set<Int>) -> Bool {
        group.filter { members[$0].isExecutable }.count <= 1
            && group.allSatisfy { clauses[$0].allSatisfy { !$0.isDisjoint(with: group) } }
    }
}
