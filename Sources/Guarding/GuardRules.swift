import Diagnostics

/// A row of the guard's table: a rule, and a check that looks for what breaks it.
///
/// What a rule means, its remedy, and whether an engineer may decide it stand in the catalogue of rules
/// (`Rule.explanation`). A rule may have several rows.
package struct GuardRule: Sendable {
    /// What a check looks at.
    enum Check: Sendable {
        /// One unit that changes, in one target.
        case unit(@Sendable (GuardedUnit) throws -> [Finding])
        /// One target with its units.
        case target(@Sendable (GuardedTarget) throws -> [Finding])
        /// All targets.
        case patch(@Sendable (GuardedPatch) throws -> [Finding])
    }

    package let rule: Rule
    let check: Check

    init(_ rule: Rule, _ check: Check) {
        self.rule = rule
        self.check = check
    }
}

/// Every check of the guard, in the order in which refusals are printed.
package let guardRules: [GuardRule] = [
    // Data that the process has made.
    GuardRule(.unmatchedFunction, .unit { guardMatch($0.unit) }),
    GuardRule(.dataSize, .unit { guardSizes($0.unit) }),
    GuardRule(.dataSize, .unit { guardAlignment($0.unit) }),
    GuardRule(.dataInitialValue, .unit { guardValues($0.unit, in: $0.target) }),
    GuardRule(.dataInitialValue, .unit { guardStatics($0.unit) }),
    GuardRule(.dataInitialValue, .target { guardValueCount($0) }),
    GuardRule(.ambiguousSymbol, .unit { guardNamesakes($0.unit) }),
    GuardRule(.lostState, .target { guardLostState($0.units) }),
    GuardRule(.lostState, .unit { guardFoldedState($0.unit) }),
    GuardRule(.readOnlyData, .unit { guardReadOnly($0.unit) }),
    GuardRule(.changedConstant, .unit { guardConstants($0.unit, $0.callees) }),
    GuardRule(.changedConstant, .unit { guardLabels($0.unit, $0.callees) }),
    GuardRule(.newThreadLocal, .unit { guardThreadLocals($0.unit, $0.plan) }),

    // What has run, or has been read, and will not be again.
    GuardRule(.constructors, .unit { guardConstructors($0.unit, $0.plan) }),
    GuardRule(.constructors, .unit { guardResolvers($0.unit) }),
    GuardRule(.constructors, .unit { guardNewInSections($0.unit) }),
    GuardRule(.constructors, .unit { guardSections($0.unit) }),

    GuardRule(.initialiserHasRun, .target { guardStartUp($0) }),

    // Names and addresses that other code has.
    GuardRule(.aliases, .unit { guardNames($0.unit) }),
    GuardRule(.vanishedFunction, .unit { guardVanished($0.unit) }),
    GuardRule(.vanishedFunction, .target { guardVanishedGlobals($0.units, in: $0.target.image) }),
    GuardRule(.ambiguousSymbol, .unit { guardNumbers($0.unit) }),
    GuardRule(.cplusplus, .unit { guardCoroutines($0.unit) }),

    GuardRule(.neverReturns, .patch { guardLeftOut($0) }),

    // What debug information and sources tell.
    GuardRule(.typeLayout, .patch { $0.debug.layoutFindings() }),
    GuardRule(.typeLayout, .patch { $0.debug.newTypeFindings($0.sources) }),
    GuardRule(.typeLayout, .patch { $0.debug.closureFindings() }),
    GuardRule(.typeLayout, .patch { $0.debug.renamedTypeFindings($0.sources) }),
    GuardRule(.changedSignature, .patch { $0.debug.signatureFindings(homeless: $0.homeless, exported: $0.exported) }),
    GuardRule(
        .changedSignature,
        .patch { $0.debug.callbackFindings(homeless: $0.homeless, exported: $0.exported, imported: $0.imported) }),
    GuardRule(.changedSignature, .patch { guardCallbacks($0) }),
    GuardRule(.meaning, .patch { guardMeaning($0.constants) }),
    GuardRule(
        .meaning,
        .patch { patch in patch.targets.flatMap { guardAllocations($0, constants: patch.constants, debug: patch.debug) }
        }),

    // Code of the target that was not compiled again.
    GuardRule(.unmatchedFunction, .target { guardCoverage($0.compared, held: $0.units, in: $0.target) }),
    GuardRule(.inlinedCopy, .target { $0.unrecorded?.copies() ?? [] }),
    GuardRule(.noCompileCommand, .target { try $0.unrecorded?.readers() ?? [] }),
    GuardRule(.noCompileCommand, .target { guardRepeated($0.target, sources: $0.sources) }),
]
