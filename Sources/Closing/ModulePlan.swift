import Diagnostics
import ObjectFiles
import PatchFormat

/// What the module for one target must hold: the value that `close` hands to `extract`.
package struct ModulePlan: Sendable {
    package var file: String
    package var buildID: String
    package var units: [UnitPlan]
    /// Replaced and new functions, in the order they get in the manifest. `newRanges`, `oldRanges`, `stub` and
    /// `oldSlot` are filled in after the link.
    package var functions: [FunctionPlan]
    /// By offset in the target's TLS segment: its own TLS descriptor, which a library's code may use. nil: the target is
    /// the program, whose thread-locals lie at a fixed distance from the thread pointer.
    package var threadDescriptors: [UInt64: UInt64]?
    /// Something may be thrown, or unwound, through the module's functions.
    package var needsUnwindData: Bool
    /// What only an engineer's decision lets pass.
    package var undecided: [Refusal]

    init(
        file: String, buildID: String, units: [UnitPlan], functions: [FunctionPlan], needsUnwindData: Bool = false,
        undecided: [Refusal] = []
    ) {
        self.file = file
        self.buildID = buildID
        self.units = units
        self.functions = functions
        self.needsUnwindData = needsUnwindData
        self.undecided = undecided
    }
}

extension ModulePlan {
    /// No function is replaced, and nothing travels or runs.
    package var isEmpty: Bool {
        functions.isEmpty && units.allSatisfy { $0.newSections.isEmpty && $0.initializers.isEmpty }
    }
}

/// One function of the module, as symbols of its unit's objects.
package struct FunctionPlan: Sendable {
    package var description: PatchedFunction
    /// Index into `ModulePlan.units`.
    package var unit: Int
    /// Symbol indices in the unit's new object: the function, then its `.cold` halves.
    package var newSymbols: [SymbolIndex]
    /// The same in the unit's original object; empty unless the entry is bare.
    package var oldSymbols: [SymbolIndex]
}

/// What travels of one unit, and what everything it refers to stands for.
package struct UnitPlan: Sendable {
    /// The object's path as in the recorded command, for messages and the manifest.
    package var name: String
    /// Compiled with `-ffunction-sections -fdata-sections`.
    package var original: ObjectFile
    package var new: ObjectFile
    /// Section indices of `new` that travel: changed and new functions, new data, literals, jump tables.
    package var newSections: Set<SectionIndex>
    /// Section indices of `original` that travel: copies of the original bodies, and their literals and jump tables.
    package var originalSections: Set<SectionIndex>
    /// By symbol index of `new` (or `original`): what a relocation in a travelling section against it stands for.
    /// Every symbol that such a relocation names is in it.
    package var newReferences: [SymbolIndex: Reference]
    package var originalReferences: [SymbolIndex: Reference]
    /// Symbol indices of `new`: functions that initialise what is new in the module, in the order they run.
    package var initializers: [SymbolIndex]

    init(
        name: String, original: ObjectFile, new: ObjectFile, newSections: Set<SectionIndex> = [],
        originalSections: Set<SectionIndex> = [], newReferences: [SymbolIndex: Reference] = [:],
        originalReferences: [SymbolIndex: Reference] = [:], initializers: [SymbolIndex] = []
    ) {
        self.name = name
        self.original = original
        self.new = new
        self.newSections = newSections
        self.originalSections = originalSections
        self.newReferences = newReferences
        self.originalReferences = originalReferences
        self.initializers = initializers
    }
}

/// What a symbol that travelling code refers to stands for.
package enum Reference: Sendable, Hashable {
    /// It lies in a section of the same object that travels too.
    case here
    /// A new function or data object that another unit's travelling section defines, under this global name.
    case otherUnit(name: String)
    /// Everything else: the target, a library, a thread-local. Kinds `.target`, `.slot`, `.imported`, `.threadLocal`.
    /// For a section symbol of a section that does not travel, the binding stands for the section's first byte.
    case outside(Binding)
}

/// The linked module and what only its link could tell.
package struct LinkedModule: Sendable {
    package var bytes: [UInt8]
    /// The plan's functions, with their places in the module.
    package var functions: [PatchedFunction]
    package var bindings: [Binding]
    package var layout: ModuleLayout

    package init(bytes: [UInt8], functions: [PatchedFunction], bindings: [Binding], layout: ModuleLayout) {
        self.bytes = bytes
        self.functions = functions
        self.bindings = bindings
        self.layout = layout
    }
}
