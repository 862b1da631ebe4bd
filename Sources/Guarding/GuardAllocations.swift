import CodeModel
import Comparing
import ElfFormat
import MachineCode
import Matching
import ObjectFiles

/// A size that grows in an allocation, and that another changed function relies on: what was allocated before the switch has
/// room for the old one. Whatever spelled it, literals too, the code shows it (trap literal-allocation).
///
/// A type that gets another size is refused by itself (`type-layout`).
func guardAllocations(_ target: GuardedTarget, constants: [ConstantChange], debug: DebugFacts) -> [Finding] {
    let functions = target.units.flatMap { unit in
        unit.changes.functions.keys.sorted().compactMap { ChangedFunction($0, in: unit) }
    }
    // Few functions allocate, and hardly any allocates more: the rest is decoded only then.
    let grown = functions.indices.filter { functions[$0].allocates }.map {
        (index: $0, changes: ChangedNumbers(functions[$0]).grownAllocations)
    }.filter { !$0.changes.isEmpty }
    guard !grown.isEmpty else { return [] }
    let sizes = debug.changedSizes
    let numbers = functions.map(ChangedNumbers.init)
    return grown.flatMap { index, changes in
        changes.compactMap { change -> Finding? in
            // A constant with a name is asked about by its name.
            let isNamed = constants.contains {
                $0.finding != nil && $0.old == String(change.old) && $0.new == String(change.new)
            }
            let user = functions.indices.first { $0 != index && numbers[$0].relies(on: change.new) }
            guard !isNamed, sizes[change.new]?.contains(change.old) != true, let user else { return nil }
            return Finding(
                subject: "\(functions[index].name) (\(functions[index].unit.name))",
                why:
                    "it allocates by \(change.new) instead of \(change.old), and \(functions[user].name) relies on the same"
                    + " number; what was allocated before has the old size")
        }
    }
}

extension DebugFacts {
    /// By the new size of a type in bytes: sizes that it may have had, under its name or under that of a type that is gone.
    fileprivate var changedSizes: [Int64: Set<Int64>] {
        var sizes: [Int64: Set<Int64>] = [:]
        for pair in pairs {
            guard let original = pair.original, let new = pair.new else { continue }
            let gone = original.types.filter { new.types[$0.key] == nil }.map { Int64(clamping: $0.value.size) }
            for (key, type) in new.types {
                let before = original.types[key].map { [Int64(clamping: $0.size)] } ?? gone
                sizes[Int64(clamping: type.size), default: []].formUnion(before)
            }
        }
        return sizes
    }
}

/// A function that changes, on both sides.
private struct ChangedFunction {
    let unit: MatchedUnit
    let original: EntityIndex
    let new: EntityIndex

    init?(_ function: EntityIndex, in unit: MatchedUnit) {
        guard let original = unit.correlation.originalOf[function] else { return nil }
        (self.unit, self.original, new) = (unit, original, function)
    }

    var name: String { unit.new.entities[new].name }

    /// Its new code may call what allocates.
    var allocates: Bool {
        let view = unit.new
        return ([new] + view.coldHalves[name, default: []]).map { view.entities[$0] }.contains { part in
            view.relocations(section: part.section, from: part.offset, to: part.end).contains {
                view.allocates($0, in: part.section)
            }
        }
    }
}

/// The numbers in the code of a changed function, as they were and as they are.
private struct ChangedNumbers {
    private let before: NumberedCode
    private let after: NumberedCode

    init(_ function: ChangedFunction) {
        before = NumberedCode(function.unit.original, function.original)
        after = NumberedCode(function.unit.new, function.new)
    }

    /// Arguments of allocating calls that are new, each with a lesser one that is gone.
    var grownAllocations: [(old: Int64, new: Int64)] {
        let gone = before.allocated.subtracting(after.allocated).sorted()
        return after.allocated.subtracting(before.allocated).sorted().compactMap { new in
            gone.last { $0 > 0 && $0 < new }.map { ($0, new) }
        }
    }

    /// Its code has the number, the last one below it, or a count of words of that size, and had not.
    func relies(on number: Int64) -> Bool {
        let forms = [number, number - 1] + [2, 4, 8, 16].filter { number % $0 == 0 }.map { number / $0 }
        return forms.contains { $0 > 1 && after.numbers.contains($0) && !before.numbers.contains($0) }
    }
}

/// What a function's code says in numbers.
private struct NumberedCode {
    /// Immediate values and distances of addresses.
    private(set) var numbers: Set<Int64> = []
    /// Those that are an argument of a call that allocates.
    private(set) var allocated: Set<Int64> = []

    init(_ view: ObjectView, _ function: EntityIndex) {
        let flow = FunctionFlow(view, of: function)
        var arguments: [Register: Int64] = [:]
        for place in flow.order {
            guard let node = flow.nodes[place] else { continue }
            let instruction = node.instruction
            let isTailCall = instruction.kind == .jump && !node.relocations.isEmpty
            if instruction.kind == .call || isTailCall {
                if let call = node.relocations.first, view.allocates(call, in: place.section) {
                    allocated.formUnion(arguments.values)
                }
                arguments = [:]
                continue
            }
            for register in instruction.registersWritten.registers { arguments[register] = nil }
            guard node.relocations.isEmpty, instruction.target == nil else { continue }
            let found = instruction.numbers
            numbers.formUnion(found)
            if instruction.operation == .mov, let register = instruction.explicitOperands.first?.register?.register,
                RegisterSet.arguments(first: 6).contains(register),
                let number = instruction.explicitOperands.last?.immediate
            {
                arguments[register] = number
            }
        }
        numbers.formUnion(allocated)
    }
}

extension Instruction {
    /// None for what makes room on the stack or reads there.
    fileprivate var numbers: [Int64] {
        if explicitOperands.first?.register?.register == .rsp { return [] }
        return explicitOperands.compactMap { operand in
            if let memory = operand.memory {
                return memory.registers.contains(.rsp) || memory.displacement == 0 ? nil : memory.displacement
            }
            return operand.immediate
        }
    }
}

extension ObjectView {
    fileprivate func allocates(_ call: Relocation, in section: SectionIndex) -> Bool {
        let name: String
        switch referent(of: call, in: file.sections[section]) {
        case .undefined(let symbol, _): name = symbol
        case .entity(let number, _): name = entities[number].name
        default: return false
        }
        // `operator new`, and what containers of C++ make room by.
        let marks = ["alloc", "_Znw", "_Zna", "memalign", "mmap", "sbrk", "6resize", "7reserve", "_new"]
        return marks.contains { name.contains($0) }
    }
}
