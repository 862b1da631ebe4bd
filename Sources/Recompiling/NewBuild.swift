import Diagnostics
import FoundationEssentials
import SourceChanges

/// The recorded build of a tree with the change in it, seen at the original's place: by which commands the sources are
/// compiled that the change adds, and what becomes of build scripts that it touches.
struct NewBuild {
    /// Those that compile sources which the original tree lacks.
    let units: [CompileUnit]
    /// Why the other units may be compiled in another way than before; nil: each is compiled by the same command.
    let difference: String?

    /// Why a touched file that compilers don't read has no effect.
    static let same = "by the new tree's record, all that the original has is compiled as before"

    /// - Parameters:
    ///   - recorded: what the new tree's record holds.
    ///   - newRoot: where that tree is, symbolic links resolved.
    init(_ recorded: CompileDatabase, newRoot: String, database: CompileDatabase, change: SourceChange) {
        let moved = recorded.units.compactMap { $0.moved(from: newRoot, to: change.root) }
        let added = Set(change.files.filter { $0.original == nil }.map { change.path(of: $0) })
        units = moved.filter { added.contains($0.file) }.map { unit in
            var unit = unit
            unit.isNew = true
            return unit
        }
        difference = Self.difference(database.units, moved.filter { !added.contains($0.file) }, change.root)
    }

    /// The record beside the new tree; nil where there is none.
    /// - Throws: `Refusal` bad-input where it is no compile database.
    static func read(newRoot: String, database: CompileDatabase, change: SourceChange) throws -> NewBuild? {
        let path = newRoot + "/compile_commands.json"
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        return NewBuild(try .read(path), newRoot: newRoot, database: database, change: change)
    }

    private static func difference(_ old: [CompileUnit], _ new: [CompileUnit], _ root: String) -> String? {
        let known = Dictionary(new.map { ($0.place, $0) }, uniquingKeysWith: { $1 })
        let places = Set(old.map(\.place))
        for unit in old {
            guard let other = known[unit.place] else {
                return "the new tree's record has no command for \(unit.name(relativeTo: root))"
            }
            if other != unit { return "it compiles \(unit.name(relativeTo: root)) by another command" }
        }
        return new.first { !places.contains($0.place) }.map {
            "it compiles \($0.name(relativeTo: root)), which the original's record does not"
        }
    }
}

extension CompileUnit {
    /// The same command in a tree elsewhere; nil where it does not run in `old`.
    fileprivate func moved(from old: String, to new: String) -> CompileUnit? {
        guard (directory + "/").hasPrefix(old + "/") else { return nil }
        func move(_ text: String) -> String { replacingPath(old, by: new, in: text) }
        return CompileUnit(
            directory: move(directory), file: move(file), arguments: arguments.map(move), output: move(output))
    }
}
