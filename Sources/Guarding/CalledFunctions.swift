import CodeModel
import ElfFormat
import MachineCode
import Matching
import ObjectFiles

/// In which registers the functions of an object, and those that it calls, may take arguments.
final class CalledFunctions {
    private let view: ObjectView
    /// Read when the first of them is asked for. Where there are none, anything may be an argument.
    private lazy var prototypes = (try? DebugInfo.prototypes(path: view.file.path)) ?? [:]

    init(_ view: ObjectView) { self.view = view }

    /// nil where anything may be an argument. Of local functions a compiler may change what they take.
    func arguments(of call: Relocation) -> RegisterSet? {
        let symbol = view.file.symbols[call.symbol]
        guard symbol.binding != .local, let prototype = prototypes[symbol.name] else { return nil }
        return .arguments(first: prototype.arguments)
    }

    /// The registers that hold the function's result at its end.
    func result(of function: EntityIndex) -> RegisterSet {
        let names = view.entities[function].names
        let mayReturnPair = names.lazy.compactMap { self.prototypes[$0] }.first?.mayReturnPair ?? true
        return mayReturnPair ? .pairOfResults : .result
    }
}

/// Of both objects of a unit.
struct UnitCallees {
    let original: CalledFunctions
    let new: CalledFunctions

    init(_ unit: MatchedUnit) { (original, new) = (CalledFunctions(unit.original), CalledFunctions(unit.new)) }
}
