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
    private let walk: AddressWalk

    init(_ view: ObjectView, of function: EntityIndex, _ callees: CalledFunctions) {
        let flow = FunctionFlow(view, of: function)
        let tableTargets = flow.jumpTableTargets()
        walk = AddressWalk(
            flow: flow, function: function, callees: callees, followsLoads: false, forgetsAtCalls: true,
            openJump: { place, node, holders in
                let isTable = flow.isTableJump(at: place) && holders.isDisjoint(with: node.instruction.registersRead)
                return isTable ? tableTargets : nil
            })
    }

    /// The instruction that has the relocation only loads what it names, and so does all that gets the address from it.
    func onlyLoads(_ relocation: Relocation, in section: SectionIndex) -> Bool {
        guard relocation.type.isDirect,
            let place = walk.flow.place(holding: relocation.offset, in: section), let node = walk.flow.nodes[place]
        else { return false }
        let field = Int(relocation.offset - place.offset)
        switch memoryUse(in: [node.instruction], fieldOffset: field, fieldSize: relocation.type.fieldSize) {
        case .load: return true
        case .address:
            guard let holder = node.instruction.addressHolder else { return false }
            return walk.staysWithin(from: node, RegisterSet(holder))
        default: return false
        }
    }
}
