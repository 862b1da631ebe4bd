import Diagnostics
import FoundationEssentials
import ObjectFiles
import SourceChanges

/// The three objects of one unit, read and indexed.
public struct LoadedUnit: Sendable {
    /// The object's path as in the recorded command.
    public var name: String
    /// The source file, for telling variants of one source apart.
    public var source: String
    public var isCPlusPlus: Bool
    public var plain: ObjectView
    public var original: ObjectView
    public var new: ObjectView
    /// The source lines whose numbers `original` and `new` share, where their debug information can be compared by line.
    public var keptLines: KeptLines?
    /// The change adds it: the first two objects are empty.
    public var isNew: Bool

    public init(
        name: String, source: String, isCPlusPlus: Bool, plain: ObjectView, original: ObjectView, new: ObjectView,
        keptLines: KeptLines? = nil, isNew: Bool = false
    ) {
        self.name = name
        self.source = source
        self.isCPlusPlus = isCPlusPlus
        self.plain = plain
        self.original = original
        self.new = new
        self.keptLines = keptLines
        self.isNew = isNew
    }
}

/// A unit's objects as files.
public struct UnitObjects: Sendable {
    public var name: String
    public var source: String
    public var isCPlusPlus: Bool
    public var plainObject: String
    public var originalObject: String
    public var newObject: String
    public var keptLines: KeptLines?
    public var isNew = false
}

/// Reads all objects.
///
/// - Throws: `Refusals` with `bad-input` or `lto-object`.
func loadUnits(_ units: [UnitObjects]) throws -> [LoadedUnit] {
    var refusals: [Refusal] = []
    let loaded: [LoadedUnit] = try units.map { unit in
        let plain = try readObject(unit.plainObject, name: unit.name)
        refusals += guardLTO(plain, name: unit.name)
        let isSame = unit.originalObject == unit.plainObject
        return LoadedUnit(
            name: unit.name, source: unit.source, isCPlusPlus: unit.isCPlusPlus, plain: ObjectView(plain),
            original: ObjectView(isSame ? plain : try readObject(unit.originalObject, name: unit.name)),
            new: ObjectView(try readObject(unit.newObject, name: unit.name)), keptLines: unit.keptLines,
            isNew: unit.isNew)
    }
    if !refusals.isEmpty { throw Refusals(refusals) }
    return loaded
}

private func readObject(_ path: String, name: String) throws -> ObjectFile {
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

/// What differs between the original and the new object of a unit, whatever target it is in.
public struct ChangedUnit: Sendable {
    public var unit: LoadedUnit
    public var correlation: Correlation
    public var changes: ChangeSet

    public init(_ unit: LoadedUnit) {
        self.unit = unit
        correlation = correlate(unit.original, unit.new)
        changes = compare(unit.original, unit.new, correlation)
        correlation.settleAssumed(unit, changes)
    }

    /// It has global definitions that the original lacks, which changed code of other units may use.
    var addsGlobals: Bool {
        unit.new.entities.indices.contains { unit.new.entities[$0].isGlobal && correlation.originalOf[$0] == nil }
    }
}
