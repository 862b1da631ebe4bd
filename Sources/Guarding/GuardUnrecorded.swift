import Diagnostics
import FoundationEssentials
import Glibc
import ObjectFiles
import Recompiling
import SourceChanges
import Targets
import Toolchain

/// Units of a target that no recorded command compiles: each keeps its copy of what a touched header defines.
///
/// A file of C in which only bodies of functions change is judged by the target's debug information: whose code holds a copy,
/// inlined or out of line. Any other change (a macro, a type) leaves no trace, so that there no such unit may be.
struct UnrecordedUnits {
    private let target: LoadedTarget
    private let change: SourceChange
    private let headers: [ChangedFile]
    /// Units that the debug information names.
    private let described: [DebugUnit]
    /// Files that only the symbol table names.
    private let named: [String]
    /// Last components of recorded sources that are gone again, and of what has no file.
    private let lost: Set<String>

    /// Nil where the change touches no header, or where the record tells how the target was made, so that all its units are known.
    init?(of target: LoadedTarget, sources: CompiledInput) {
        guard let change = sources.change, !sources.touchedHeaders.isEmpty,
            !isRecorded(target.image.symbolFile.path, sources.recordedFiles)
        else { return nil }
        let mapped = Set(sources.mappedSources.map(components))
        // A source that is gone again can't have been compiled.
        let gone = sources.recordedSources.filter { access($0, F_OK) != 0 }
        let known = Set(sources.recordedSources).subtracting(gone)
        let recorded = Set(known.map { tail(of: $0) })
        described = (target.debugInfo?.units ?? []).filter { unit in
            !recorded.contains(tail(of: unit.path)) && !mapped.contains(components(unit.path))
        }
        named = unrecordedNames(target, recorded: known)
        headers = change.files.filter { sources.touchedHeaders.contains($0.path) }
        lost = Set(gone.map(baseName)).union(["<stdin>", "-"])
        self.target = target
        self.change = change
    }

    /// Of functions that a touched header defines.
    func copies() -> [Finding] {
        described.flatMap { unit in headers.flatMap { copiesOf($0, in: unit) } }
    }

    /// Units that may read a touched header, and leave no trace of it.
    func readers() throws -> [Finding] {
        let free = headers.filter { definitions(of: $0) == nil }
        let bodies = headers.filter { definitions(of: $0) != nil }
        // Templates, and what the compiler has computed away, leave no trace; nor does anything without debug information.
        let untold = described.filter(\.isCPlusPlus).map(\.name) + named
        let names = described.map(\.name) + named
        let image = target.image.name
        return try unrecorded(free, names, change, image)
            + unrecorded(free.isEmpty ? bodies : [], untold, change, image)
            + (free.isEmpty ? untold : names).filter { lost.contains(baseName($0)) }.map { name in
                Finding(
                    subject: name,
                    why: "\(image) holds it, and its source is not there any more to tell whether it reads"
                        + " \(headers[0].path), which changes")
            }
    }
}

/// One source compiled several times into one object's name, one after the other, leaves one command in the record: the
/// others' units of the target would stay as they are.
func guardRepeated(_ target: LoadedTarget, sources: CompiledInput) -> [Finding] {
    func counts(_ paths: [String]) -> [String: Int] { Dictionary(paths.map { (tail(of: $0), 1) }, uniquingKeysWith: +) }
    let linked = counts((target.debugInfo?.units ?? []).map(\.path))
    let recorded = counts(sources.recordedSources)
    return Set(sources.units.map(\.source)).sorted().compactMap { source in
        let name = tail(of: source)
        guard let units = linked[name], let commands = recorded[name], units > commands else { return nil }
        return Finding(
            subject: source,
            why: "\(target.image.name) holds \(units) units of it, and \(commands) of their commands are recorded",
            remedy: "have the build give each object a name of its own")
    }
}

extension DebugUnit {
    /// Of its source, as the compiler called it.
    fileprivate var path: String { name.hasPrefix("/") ? name : compilationDirectory + "/" + name }
}

/// The functions of a touched file whose definitions change; nil where more than that changes.
private func definitions(of file: ChangedFile) -> Set<String>? {
    guard let original = file.original, let new = file.new else { return nil }
    return changedDefinitions(original: original, new: new)
}

private func copiesOf(_ header: ChangedFile, in unit: DebugUnit) -> [Finding] {
    let changed = definitions(of: header)
    let text = String(decoding: (header.original ?? []) + [10] + (header.new ?? []), as: UTF8.self)
    func isOf(_ name: String, _ file: String?) -> Bool {
        guard let changed else { return file.map { isSame($0, header.path) } ?? true && defines(name, in: text) }
        return changed.contains(name) && (file.map { isSame($0, header.path) } ?? true)
    }
    let inlined = unit.inlined.filter { isOf($0.function, $0.declaredIn) }.map { copy in
        Finding(
            subject: "\(copy.function) in \(copy.container) (\(unit.name))",
            why:
                "\(header.path) changes, \(unit.name) holds an inlined copy of its function, and no recorded command compiles that unit again"
        )
    }
    let whole = unit.functions.filter { $0.declaredIn != nil && isOf($0.name, $0.declaredIn) }.map { function in
        Finding(
            subject: "\(function.name) (\(unit.name))",
            why:
                "\(header.path) changes, \(unit.name) has a copy of its function, and no recorded command compiles that unit again"
        )
    }
    return inlined + whole
}

/// Files that the symbol table names as sources, that no recorded command compiles and no debug information describes.
private func unrecordedNames(_ target: LoadedTarget, recorded: Set<String>) -> [String] {
    let known = Set(recorded.map(baseName)).union((target.debugInfo?.units ?? []).map { baseName($0.name) })
    return Set(target.image.sourceFiles.values).filter { !known.contains(baseName($0)) }.sorted()
}

/// Units of the target, found in the tree by their names. Nobody knows what they read.
private func unrecorded(_ touched: [ChangedFile], _ names: [String], _ change: SourceChange, _ target: String) throws
    -> [Finding]
{
    guard let first = touched.first, !names.isEmpty else { return [] }
    let tree = try files(below: change.root)
    return names.filter { name in tree.contains { isSame(name, $0) } }.map { name in
        Finding(
            subject: name,
            why: "\(target) holds it and it may read \(first.path), which changes, but no recorded command compiles it"
        )
    }
}

/// Whether a file that the compiler named is the one at `path` in the tree: prefix maps change what stands before.
private func isSame(_ named: String, _ path: String) -> Bool {
    let (a, b) = (components(named), components(path))
    return !b.isEmpty && a.suffix(b.count) == b || (a.count < b.count && !a.isEmpty && b.suffix(a.count) == a)
}

private func components(_ path: String) -> [Substring] {
    var parts: [Substring] = []
    for part in path.split(separator: "/") where part != "." {
        if part == "..", !parts.isEmpty, parts.last != ".." { parts.removeLast() } else { parts.append(part) }
    }
    return parts
}

/// The last two components: prefix maps change what stands before them.
private func tail(of path: String) -> String { components(path).suffix(2).joined(separator: "/") }

/// The text has the name followed by an argument list.
private func defines(_ name: String, in text: String) -> Bool {
    var rest = text[...]
    while let range = rest.firstRange(of: name) {
        let before = range.lowerBound == rest.startIndex ? " " : rest[rest.index(before: range.lowerBound)]
        let after = rest[range.upperBound...].drop { $0 == " " }.first
        if after == "(", !(before.isLetter || before.isNumber || before == "_") { return true }
        rest = rest[range.upperBound...]
    }
    return false
}
