import CodeModel
import Diagnostics
import FoundationEssentials
import ObjectFiles
import Recompiling
import SourceChanges

/// The three objects of one unit, read and indexed.
package struct LoadedUnit: Sendable {
    /// The object's path as in the recorded command.
    package var name: String
    /// The source file, for telling variants of one source apart.
    package var source: String
    package var isCPlusPlus: Bool
    package var plain: ObjectView
    package var original: ObjectView
    package var new: ObjectView
    /// The source lines whose numbers `original` and `new` share, where their debug information can be compared by line.
    package var keptLines: KeptLines?
    /// The change adds it: the first two objects are empty.
    package var isNew: Bool
    /// What of the command decides about the code's meaning: variants of one source that differ in it may be of different
    /// programs.
    package var variant: [String]
    /// The linked files that have it, by the record of the build; nil where that is not known.
    package var linkedInto: Set<LinkedFile>?

    init(
        name: String, source: String, isCPlusPlus: Bool, plain: ObjectView, original: ObjectView, new: ObjectView,
        keptLines: KeptLines? = nil, isNew: Bool = false, variant: [String] = [],
        linkedInto: Set<LinkedFile>? = nil
    ) {
        self.name = name
        self.source = source
        self.isCPlusPlus = isCPlusPlus
        self.plain = plain
        self.original = original
        self.new = new
        self.keptLines = keptLines
        self.isNew = isNew
        self.variant = variant
        self.linkedInto = linkedInto
    }
}

/// Reads all objects.
///
/// - Throws: `Refusals` with `bad-input` or `lto-object`.
package func loadUnits(_ units: [UnitObjects]) throws -> [LoadedUnit] {
    var refusals: [Refusal] = []
    let loaded: [LoadedUnit] = try units.map { unit in
        let plain = try readObject(unit.plainObject, name: unit.name)
        refusals += guardLTO(plain, name: unit.name)
        let isSame = unit.originalObject == unit.plainObject
        let original = isSame ? plain : try readObject(unit.originalObject, name: unit.name)
        refusals += guardRenaming(plain, original, name: unit.name)
        return LoadedUnit(
            name: unit.name, source: unit.source, isCPlusPlus: unit.isCPlusPlus, plain: ObjectView(plain),
            original: ObjectView(original), new: ObjectView(try readObject(unit.newObject, name: unit.name)),
            keptLines: unit.keptLines, isNew: unit.isNew, variant: unit.variant,
            linkedInto: unit.linkedInto)
    }
    if !refusals.isEmpty { throw Refusals(refusals) }
    return loaded
}

/// The build may have worked on the object after it was compiled (`objcopy --redefine-sym`): what new code calls by a name
/// would be another function than the one it has in the target.
private func guardRenaming(_ plain: ObjectFile, _ original: ObjectFile, name: String) -> [Refusal] {
    func names(_ file: ObjectFile) -> Set<String> {
        Set(file.symbols.filter { $0.binding != .local && $0.name != "_GLOBAL_OFFSET_TABLE_" }.map(\.name))
    }
    let (before, after) = (names(plain), names(original))
    guard let strange = before.symmetricDifference(after).min() else { return [] }
    return [
        Refusal(
            .unmatchedFunction, subject: "\(strange) (\(name))",
            why:
                "the object of the build tree and what the recorded command makes of the same source do not have the same names: the build has worked on the object (objcopy), and no command tells how",
            remedy: "have the compiler do it (-D, asm labels), or restart")
    ]
}

func readObject(_ path: String, name: String) throws -> ObjectFile {
    do {
        let file = try ObjectFile.read(path: path)
        guard file.kind == .relocatable else {
            throw Refusals(.badInput, subject: name, why: "\(path) is not a relocatable object")
        }
        return file
    } catch let error as ObjectFileError {
        if isBitcode(path) { throw Refusals([ltoRefusal(name)]) }
        throw Refusals(.badInput, subject: name, why: "\(error)")
    }
}

/// clang's `-flto` writes no ELF file at all.
private func isBitcode(_ path: String) -> Bool {
    FileManager.default.contents(atPath: path)?.starts(with: [0x42, 0x43, 0xc0, 0xde]) == true
}

/// An object made for link-time optimisation holds no machine code yet.
func guardLTO(_ object: ObjectFile, name: String) -> [Refusal] {
    object.hasLTO ? [ltoRefusal(name)] : []
}

func ltoRefusal(_ name: String) -> Refusal {
    Refusal(
        .ltoObject, subject: name,
        why: "the unit is compiled with -flto: its code is generated at the target's link, and can't be compared")
}
