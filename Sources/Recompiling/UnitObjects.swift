import SourceChanges

/// A unit's objects as files.
package struct UnitObjects: Sendable {
    package var name: String
    package var source: String
    package var isCPlusPlus: Bool
    package var plainObject: String
    package var originalObject: String
    package var newObject: String
    package var keptLines: KeptLines?
    package var isAssembler = false
    package var isNew = false
    package var variant: [String] = []

    package init(
        name: String, source: String, isCPlusPlus: Bool, plainObject: String, originalObject: String, newObject: String,
        keptLines: KeptLines? = nil, isAssembler: Bool = false, isNew: Bool = false, variant: [String] = []
    ) {
        self.name = name
        self.source = source
        self.isCPlusPlus = isCPlusPlus
        self.plainObject = plainObject
        self.originalObject = originalObject
        self.newObject = newObject
        self.keptLines = keptLines
        self.isAssembler = isAssembler
        self.isNew = isNew
        self.variant = variant
    }
}
