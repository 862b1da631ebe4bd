import SourceChanges

/// A program or library that the recorded build left.
package struct LinkedFile: Hashable, Sendable {
    /// Absolute, symbolic links of its directories resolved.
    package var path: String
    /// SHA-256.
    package var digest: String

    package init(path: String, digest: String) {
        self.path = path
        self.digest = digest
    }
}

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
    /// The linked files that have it, by the record of the build; nil where that is not known.
    package var linkedInto: Set<LinkedFile>?

    package init(
        name: String, source: String, isCPlusPlus: Bool, plainObject: String, originalObject: String, newObject: String,
        keptLines: KeptLines? = nil, isAssembler: Bool = false, isNew: Bool = false, variant: [String] = [],
        linkedInto: Set<LinkedFile>? = nil
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
        self.linkedInto = linkedInto
    }
}
