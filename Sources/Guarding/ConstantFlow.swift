import CodeModel
import ElfFormat
import MachineCode
import ObjectFiles

/// Follows the address of a constant through a function, along every path.
///
/// An address that only ever serves to load through it, as `lea table(%rip), %rcx` and then `mov (%rcx,%rdi,4), %eax`, does not
/// get out: position-independent code can index a table in no other way. Whatever is not known to be harmless lets it out.
/// Trap changed-constant-escapes.
struct ConstantFlow {
    private let view: ObjectView
    private let function: EntityIndex
    private let flow: FunctionFlow
    private let callees: CalledFunctions
    /// nil where they can't be told.
    private let tableTargets: Set<FunctionFlow.Place>?

    init(_ view: ObjectView, of function: EntityIndex, _ callees: CalledFunctions) {
        self.view = view
        self.function = function
        self.callees = callees
        flow = FunctionFlow(view, of: function)
        tableTargets = flow.jumpTableTargets()
    }

    /// The instruction that has the relocation only loads what it names, and so does all that gets the address from it.
    func onlyLoads(_ relocation: Relocation, in section: SectionIndex) -> Bool {
        guard relocation.type.isDirect,
            let place = flow.place(holding: relocation.offset, in: section), let node = flow.nodes[place]
        else { return false }
        let field = Int(relocation.offset - place.offset)
        switch memoryUse(in: [node.instruction], fieldOffset: field, fieldSize: relocation.type.fieldSize) {
        case .load: return true
        case .address:
            guard let holder = node.instruction.addressHolder else { return false }
            return staysWithin(from: node, RegisterSet(holder))
        default: return false
        }
    }

    private typealias Step = (place: FunctionFlow.Place, holders: RegisterSet)

    private func staysWithin(from node: FunctionFlow.Node, _ first: RegisterSet) -> Bool {
        // What may hold the address before each instruction.
        var before: [FunctionFlow.Place: RegisterSet] = [:]
        var work: [Step] = node.next.map { ($0, first) }
        while let (place, holders) = work.popLast() {
            if holders.isEmpty || before[place]?.isSuperset(of: holders) == true { continue }
            let all = before[place, default: []].union(holders)
            before[place] = all
            guard let node = flow.nodes[place], let next = steps(from: node, at: place, all) else { return false }
            work += next
        }
        return true
    }

    /// Where control goes with which holders; nil where the address may get out.
    private func steps(from node: FunctionFlow.Node, at place: FunctionFlow.Place, _ holders: RegisterSet) -> [Step]? {
        let instruction = node.instruction
        var after: RegisterSet? = holders
        switch instruction.kind {
        case .trap: return []
        case .invalid, .systemCall: return nil
        // In the registers of the result it is out. In others it is dead, or they were restored and hold it no more.
        case .ret: return holders.isDisjoint(with: callees.result(of: function)) ? [] : nil
        case .call:
            guard holders.isDisjoint(with: arguments(of: node).union(instruction.registersRead)) else { return nil }
            // GCC knows what a function of the unit leaves alone (-fipa-ra).
            if flow.callee(at: place) != nil { after = holders.intersection(.preserved) }
        case .jump where node.isOpen:
            guard let tableTargets, flow.isTableJump(at: place), holders.isDisjoint(with: instruction.registersRead)
            else { return nil }
            return tableTargets.map { ($0, holders) }
        case .jump where node.next.isEmpty, .conditionalJump where node.next.count == 1:
            // To another function, in the place of a call.
            guard holders.isDisjoint(with: arguments(of: node)) else { return nil }
        case .nop, .endbr64, .jump, .conditionalJump: break
        case .other: after = instruction.holdersAfter(holders)
        }
        return after.map { after in node.next.map { ($0, after) } }
    }

    private func arguments(of node: FunctionFlow.Node) -> RegisterSet {
        node.relocations.last.flatMap { callees.arguments(of: $0) } ?? .arguments
    }
}
