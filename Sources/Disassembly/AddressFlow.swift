/// What a function does in the end with the address that one of its relocated fields names.
///
/// As `memoryUse`, but an address that only ever serves to load through it, as `lea table(%rip), %rcx` and then
/// `mov (%rcx,%rdi,4), %eax`, counts as a `load`: position-independent code can index a table in no other way. Every
/// path from the instruction on is followed; whatever is not known to be harmless leaves it an `address`.
/// Trap changed-constant-escapes.
/// - Parameters:
///   - bytes: one function, from its first byte.
///   - fieldOffset: bytes from the first of `bytes`.
///   - relocatedFields: offsets of all relocated fields in `bytes`: a jump with one leaves the function.
///   - mayReturnPair: whether the function's result may be 9 to 16 bytes long, and so partly in rdx.
public func addressUse(
    of bytes: [UInt8], fieldOffset: Int, fieldSize: Int = 4, relocatedFields: Set<Int>, mayReturnPair: Bool = true
) -> MemoryUse {
    let instructions = disassemble(bytes, at: 0, operands: true)
    let use = memoryUse(of: bytes, instructions: instructions, fieldOffset: fieldOffset, fieldSize: fieldSize)
    guard use == .address,
        let start = instructions.firstIndex(where: { Int($0.end) > fieldOffset }),
        let register = destination(instructions[start])
    else { return use }
    let isWholeMove = instructions[start].takesAddress ? register.isWhole : isMoveOfAddress(instructions[start])
    guard isWholeMove, register.clears else { return .address }
    let flow = AddressFlow(
        instructions: instructions, relocatedFields: relocatedFields,
        returning: mayReturnPair ? Registers.pair : Registers.result)
    return flow.onlyLoads(from: start, register: register.family) ? .load : .address
}

/// Follows the registers that hold an address, or one computed from it, along every path.
private struct AddressFlow {
    var instructions: [Instruction]
    var relocatedFields: Set<Int>
    /// Bits of the registers that hold the function's result.
    var returning: UInt16

    /// Bits of the registers that may hold the address before each instruction; nil: not reached with any.
    func onlyLoads(from start: Int, register: Int) -> Bool {
        var before = [UInt16](repeating: 0, count: instructions.count)
        var work: [(index: Int, holders: UInt16)] = [(start + 1, 1 << UInt16(register))]
        while let (index, holders) = work.popLast() {
            guard holders != 0 else { continue }
            guard index < instructions.count else { return false }
            guard holders & ~before[index] != 0 else { continue }
            before[index] |= holders
            guard let next = successors(of: index, holders: before[index]) else { return false }
            work += next
        }
        return true
    }

    /// Where control goes with which holders; nil where the address may get out.
    private func successors(of index: Int, holders: UInt16) -> [(index: Int, holders: UInt16)]? {
        let instruction = instructions[index]
        switch instruction.kind {
        case .nop, .endbr64: return [(index + 1, holders)]
        case .trap: return []
        case .invalid, .systemCall: return nil
        case .ret:
            // In the registers of the result it is out. In others it is dead, or they were restored and hold it no more.
            return holders & returning == 0 ? [] : nil
        case .call:
            guard holders & Registers.arguments == 0, mentioned(in: instruction) & holders == 0 else { return nil }
            return [(index + 1, holders)]
        case .jump, .conditionalJump: return branch(instruction, index, holders)
        case .other:
            guard let after = Effect(instruction).holdersAfter(holders) else { return nil }
            return [(index + 1, after)]
        }
    }

    private func branch(_ jump: Instruction, _ index: Int, _ holders: UInt16) -> [(index: Int, holders: UInt16)]? {
        let isRelocated = (jump.address..<jump.end).contains { relocatedFields.contains(Int($0)) }
        guard let target = jump.target, !isRelocated,
            let place = instructions.firstIndex(where: { $0.address == target })
        else { return nil }
        return jump.kind == .jump ? [(place, holders)] : [(place, holders), (index + 1, holders)]
    }
}

/// What an instruction that neither jumps nor calls does to registers that hold the address.
private struct Effect {
    var instruction: Instruction
    var operands: [String]

    init(_ instruction: Instruction) {
        self.instruction = instruction
        operands = splitOperands(instruction.operands)
    }

    /// nil where the address, or a value made of it, may get somewhere else than a whole register.
    func holdersAfter(_ holders: UInt16) -> UInt16? {
        let name = instruction.mnemonic
        if readsUnnamed, holders & Registers.implicit != 0 { return nil }
        let touched = mentioned(in: instruction) & holders
        guard touched != 0 else { return holders }
        let last = operands.last.flatMap(register)
        // Registers named as themselves, and those that only address memory.
        let bare = operands.compactMap(register).reduce(UInt16(0)) { $0 | $1.bit } & holders
        let addressing = memoryOperands.reduce(UInt16(0)) { $0 | registersIn($1) } & holders

        if isInstruction(name, of: ["cmp", "test"]) { return holders }
        if addressing != 0, instruction.word != .lea, !loadsOnly { return nil }
        if isInstruction(name, of: ["mov"]), operands.count == 2, let last, last.isWhole,
            let source = register(operands[0]), source.bit & holders != 0
        {
            return source.isWhole ? holders | last.bit : nil
        }
        if instruction.word == .lea { return lea(holders, addressing: addressing, last: last) }
        if isInstruction(name, of: ["add", "sub"]), operands.count == 2, let last, last.isWhole, addressing == 0 {
            return holders | last.bit
        }
        if isInstruction(name, of: ["inc", "dec"]), let last, last.isWhole { return holders }
        // What is left may name a holder only to overwrite it.
        guard bare == 0 || (last.map { bare == $0.bit } == true && overwrites) else { return nil }
        return last.map { overwrites && $0.clears ? holders & ~$0.bit : holders } ?? holders
    }

    private func lea(_ holders: UInt16, addressing: UInt16, last: RegisterName?) -> UInt16? {
        guard let last else { return nil }
        if addressing == 0 { return last.clears ? holders & ~last.bit : holders }
        return last.isWhole ? holders | last.bit : nil
    }

    /// Its last operand is written without being read.
    private var overwrites: Bool {
        let name = instruction.mnemonic
        if name.hasPrefix("movdir") { return false }
        if name.hasPrefix("mov") || isInstruction(name, of: ["pop"]) || name.hasPrefix("cvt") { return true }
        return isInstruction(name, of: ["xor"]) && operands.count == 2 && operands[0] == operands[1]
    }

    private var memoryOperands: [String] { operands.filter { $0.contains("(") } }

    /// Its memory operand is a source: not the last operand, nor the only one of a writer.
    private var loadsOnly: Bool {
        guard memoryOperands.count == 1, let index = operands.firstIndex(where: { $0.contains("(") }) else {
            return false
        }
        return useOfMemory(operand: index, of: operands.count, name: instruction.mnemonic) == .load
    }

    /// It reads rax, rcx or rdx without saying so.
    private var readsUnnamed: Bool {
        let name = instruction.mnemonic
        if operands.count == 1, isInstruction(name, of: ["mul", "imul", "div", "idiv"]) { return true }
        return Effect.implicitReaders.contains(name) || name.hasPrefix("cmpxchg")
            || isInstruction(name, of: ["movs", "cmps", "stos", "lods", "scas", "in", "out", "ins", "outs"])
    }

    private static let implicitReaders: Set<String> = [
        "cltq", "cltd", "cqto", "cwtl", "cwtd", "cbtw", "mulx", "xlat", "xsave", "xrstor", "wrmsr", "monitor", "mwait",
        "xsetbv", "sahf",
    ]
}

private struct RegisterName {
    /// Hardware number: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8 8 and so on.
    var family: Int
    /// All 64 bits.
    var isWhole: Bool
    /// Writing it leaves nothing of the old value: 64 and 32 bits.
    var clears: Bool
    var bit: UInt16 { 1 << UInt16(family) }
}

private enum Registers {
    static let result: UInt16 = 1 << 0
    static let pair: UInt16 = 1 << 0 | 1 << 2
    /// rdi, rsi, rdx, rcx, r8, r9 pass arguments, r10 the static chain, rax the number of vector registers.
    static let arguments: UInt16 = 1 << 7 | 1 << 6 | 1 << 2 | 1 << 1 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 0
    static let implicit: UInt16 = 1 << 0 | 1 << 1 | 1 << 2

    static let byName: [String: RegisterName] = {
        var names: [String: RegisterName] = [:]
        for (family, stem) in ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"].enumerated() {
            names["%r" + stem] = RegisterName(family: family, isWhole: true, clears: true)
            names["%e" + stem] = RegisterName(family: family, isWhole: false, clears: true)
            names["%" + stem] = RegisterName(family: family, isWhole: false, clears: false)
            let low = stem.hasSuffix("x") ? String(stem.prefix(1)) : stem
            names["%\(low)l"] = RegisterName(family: family, isWhole: false, clears: false)
            if stem.hasSuffix("x") { names["%\(low)h"] = RegisterName(family: family, isWhole: false, clears: false) }
        }
        for family in 8..<16 {
            names["%r\(family)"] = RegisterName(family: family, isWhole: true, clears: true)
            names["%r\(family)d"] = RegisterName(family: family, isWhole: false, clears: true)
            for suffix in ["w", "b"] {
                names["%r\(family)\(suffix)"] = RegisterName(family: family, isWhole: false, clears: false)
            }
        }
        return names
    }()
}

private func register(_ operand: String) -> RegisterName? { Registers.byName[operand] }

/// Bits of every general register that the operands name.
private func mentioned(in instruction: Instruction) -> UInt16 { registersIn(instruction.operands) }

private func registersIn(_ text: String) -> UInt16 {
    text.split { !($0 == "%" || $0.isLetter || $0.isNumber) }.reduce(0) { bits, word in
        guard let start = word.firstIndex(of: "%"), let name = Registers.byName[String(word[start...])] else {
            return bits
        }
        return bits | name.bit
    }
}

private func destination(_ instruction: Instruction) -> RegisterName? {
    splitOperands(instruction.operands).last.flatMap(register)
}

/// `mov $x, %reg`: how position-dependent code takes an address; its 32-bit form fills the whole register.
private func isMoveOfAddress(_ instruction: Instruction) -> Bool {
    instruction.mnemonic.hasPrefix("mov") && instruction.operands.hasPrefix("$")
}
