import CodeModel
import MachineCode
import ObjectFiles

/// Follows the registers that hold an address, or one computed from it, through a function along every path. Whatever is not
/// known to be harmless lets the address out.
struct AddressWalk {
    let flow: FunctionFlow
    let function: EntityIndex
    let callees: CalledFunctions
    /// What is loaded through the address counts as made of it.
    let followsLoads: Bool
    /// Behind a call of what another unit defines, only registers that calls preserve hold anything. Of its own functions GCC
    /// knows what they leave alone (`-fipa-ra`).
    let forgetsAtCalls: Bool
    /// Where a jump through a table or a register leads, for a register that holds the address; nil where that is not known.
    let openJump:
        (_ place: FunctionFlow.Place, _ node: FunctionFlow.Node, _ holders: RegisterSet) -> Set<FunctionFlow.Place>?

    private typealias Step = (place: FunctionFlow.Place, holders: RegisterSet)

    /// - Parameter first: what holds the address behind the instruction.
    func staysWithin(from node: FunctionFlow.Node, _ first: RegisterSet) -> Bool {
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
            if forgetsAtCalls, flow.callee(at: place) != nil { after = holders.intersection(.preserved) }
        case .jump where node.isOpen: return openJump(place, node, holders)?.map { ($0, holders) }
        case .jump where node.next.isEmpty, .conditionalJump where node.next.count == 1:
            // To another function, in the place of a call.
            guard holders.isDisjoint(with: arguments(of: node)) else { return nil }
        case .nop, .endbr64, .jump, .conditionalJump: break
        case .other: after = instruction.holdersAfter(holders, followsLoads: followsLoads)
        }
        return after.map { after in node.next.map { ($0, after) } }
    }

    private func arguments(of node: FunctionFlow.Node) -> RegisterSet {
        node.relocations.last.flatMap { callees.arguments(of: $0) } ?? .arguments
    }
}
