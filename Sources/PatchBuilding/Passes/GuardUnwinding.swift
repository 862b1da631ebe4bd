import Diagnostics
import ObjectFiles

/// C++ units, and functions that handle exceptions or clean up behind them, are not let through yet: their modules have
/// unwind data and lists of initialisers, but a lambda whose captures change is not seen in the layouts of types.
func guardUnwinding(_ unit: ComparedUnit, _ plan: UnitPlan) -> [Refusal] {
    var why: String?
    for (view, sections) in [(unit.new, plan.newSections), (unit.original, plan.originalSections)] {
        let hasTables = sections.contains { section in
            (view.frames.bySection[section] ?? []).contains { view.frames.descriptions[$0].table != nil }
        }
        let isCPlusPlus = unit.isCPlusPlus || view.file.symbols.contains { $0.name.hasPrefix("_Z") }
        if hasTables { why = "its functions handle exceptions or clean up behind them" }
        if isCPlusPlus { why = why ?? "it is C++" }
    }
    if !plan.initializers.isEmpty { why = "it has a new object whose constructor must run" }
    return why.map { [Refusal(.cplusplus, subject: unit.name, why: "\($0), which is not supported yet")] } ?? []
}
