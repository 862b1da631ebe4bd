import CodeModel
import Comparing
import FoundationEssentials
import Matching
import ObjectFiles
import SourceChanges

/// A variable of the source that the compiler has on one side only: where nothing in a unit writes a static variable, it goes by
/// its initial value, and where nothing reads it, nothing is stored. The process knows of no such thing (trap folded-state).
func guardFoldedState(_ unit: MatchedUnit) -> [Finding] {
    guard !unit.changes.functions.isEmpty else { return [] }
    let pairs = unit.correlation
    let gone = unit.original.entities.indices.filter { unit.original.entities[$0].isState && pairs.newOf[$0] == nil }
    let fresh = unit.new.entities.indices.filter { unit.new.entities[$0].isState && pairs.originalOf[$0] == nil }
    let frozen = pairs.newOf.filter { unit.original.entities[$0].isState && !unit.new.entities[$1].isState }.map(
        \.value)
    guard !(gone + fresh + frozen).isEmpty else { return [] }
    let (before, after) = (
        Declarations(unit.original, isCPlusPlus: unit.isCPlusPlus),
        Declarations(unit.new, isCPlusPlus: unit.isCPlusPlus)
    )
    let left = gone.compactMap { before.variable(at: $0) }.filter(after.leavesOut).map {
        finding(
            $0, unit,
            "the compiler has left it out of the new code, where nothing writes it any more, or nothing reads it:"
                + " new code goes by its initial value, whatever the process has stored in it",
            remedy: "restart, or give it __attribute__((used)) in the fix, so that the compiler leaves it in")
    }
    let constant = frozen.compactMap { after.variable(at: $0) }.filter { !$0.isConstant }.map {
        finding(
            $0, unit,
            "nothing in the new code writes it any more, so that the compiler takes it for a constant,"
                + " whatever the process has stored in it",
            remedy: "restart, or give it __attribute__((used)) in the fix, so that the compiler leaves it a variable")
    }
    let missing = fresh.compactMap { after.variable(at: $0) }.filter { before.leavesOut($0) && before.mayWrite($0) }.map
    {
        finding(
            $0, unit,
            "the compiler has left it out of the old code, where nothing read it: new code starts with its initial"
                + " value, and what the old code would have stored is not there",
            remedy: "restart, or have the new code set it up where it uses it, as a new variable")
    }
    return left + constant + missing
}

private func finding(_ variable: DeclaredVariable, _ unit: MatchedUnit, _ why: String, remedy: String) -> Finding {
    Finding(subject: "\(variable.name) (\(unit.name))", why: why, remedy: remedy)
}

extension Entity {
    fileprivate var isState: Bool { isWritable && kind == .data }
}

/// What one object's source defines.
private struct Declarations {
    private struct Name: Hashable {
        var function: String
        var name: String
    }

    private let view: ObjectView
    private let isCPlusPlus: Bool
    private let all: [DeclaredVariable]
    private let placed: Set<Name>
    private let unplaced: Set<Name>

    init(_ view: ObjectView, isCPlusPlus: Bool) {
        self.view = view
        self.isCPlusPlus = isCPlusPlus
        all = (try? DebugInfo.declaredVariables(path: view.file.path)) ?? []
        placed = Set(all.filter(\.isStatic).map { Name(function: $0.function, name: $0.name) })
        unplaced = Set(all.filter { !$0.isStatic }.map { Name(function: $0.function, name: $0.name) })
    }

    func variable(at number: EntityIndex) -> DeclaredVariable? {
        let entity = view.entities[number]
        return all.first { $0.variable?.section == entity.section && $0.variable?.offset == entity.offset }
    }

    /// The source gives the variable a value, as far as its text tells; else the process has the initial one, as new code does.
    func mayWrite(_ variable: DeclaredVariable) -> Bool {
        let own = all.filter { $0.name == variable.name && $0.function == variable.function }.compactMap(\.line)
        guard let file = own.first?.file, let files = try? DebugInfo.sourceFiles(path: view.file.path),
            files.contains(file)
        else { return true }
        return files.contains { path in
            guard !path.hasPrefix("/usr/"), !path.hasSuffix(">"), path != "???" else { return false }
            guard let text = FileManager.default.contents(atPath: path) else { return true }
            let lines = own.filter { $0.file == path }.map(\.number)
            return mayBeWritten(variable.name, in: [UInt8](text), declaredOn: Set(lines), hasReferences: isCPlusPlus)
        }
    }

    /// The source has the variable, and the object does not.
    func leavesOut(_ variable: DeclaredVariable) -> Bool {
        let name = Name(function: variable.function, name: variable.name)
        return unplaced.contains(name) && !placed.contains(name)
    }
}
