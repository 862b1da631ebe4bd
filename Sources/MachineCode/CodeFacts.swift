/// What the instructions of a function and its surroundings say, gathered once.
struct CodeFacts {
    var function: FunctionCode
    /// Of the main part; cold halves are only scanned.
    var instructions: [Instruction]
    /// The run of nops at the entry, or behind its `endbr64`.
    var pad: [Instruction] = []
    /// Where direct jumps and calls inside the function go, and what its rip-relative operands name.
    var branches: [(from: UInt64, to: UInt64)] = []
    var references: [(from: Instruction, to: UInt64)] = []
    /// Targets of jumps that stay in the frame: not of calls.
    var innerJumpTargets: Set<UInt64> = []
    var hasUndecodableBytes = false
    var callEnds: Set<UInt64> = []
    var fallsThrough = false

    init(_ function: FunctionCode) {
        self.function = function
        instructions = decode(function.main.bytes, at: function.main.address)
        note(instructions)
        for part in function.coldParts { note(decode(part.bytes, at: part.address)) }
        let body = instructions.first?.kind == .endbr64 ? instructions.dropFirst() : instructions[...]
        pad = Array(body.prefix { $0.kind == .nop })
        fallsThrough = CodeFacts.runsOn(instructions)
    }

    private mutating func note(_ part: [Instruction]) {
        for instruction in part {
            if instruction.kind == .invalid { hasUndecodableBytes = true }
            if let target = instruction.target {
                branches.append((instruction.address, target))
                if instruction.kind != .call { innerJumpTargets.insert(target) }
            }
            if let target = instruction.ripRelativeTarget { references.append((instruction, target)) }
        }
        if let last = part.last, last.kind == .call { callEnds.insert(last.end) }
    }

    /// Length of the run of nops that ends at the entry.
    var nopsBefore: Int {
        let bytes = function.before
        return (0..<bytes.count).first { start in
            decode(Array(bytes[start...]), at: 0).allSatisfy { $0.kind == .nop }
        }.map { bytes.count - $0 } ?? 0
    }

    /// Whether control can leave the last instruction at its end. A call at the end is one that does not return.
    private static func runsOn(_ part: [Instruction]) -> Bool {
        guard let last = part.last(where: { $0.kind != .nop }) else { return true }
        switch last.kind {
        case .ret, .jump, .trap, .call: return false
        case .conditionalJump, .nop, .endbr64, .systemCall, .other, .invalid: return true
        }
    }

    /// What keeps a jump away from `[start, start + 5)`, whatever instructions it would overwrite.
    func obstacles(at start: UInt64) -> [String] {
        var reasons: [String] = []
        if start % pageSize > pageSize - jumpLength { reasons.append("the jump's bytes would cross a page") }
        let inside = { (address: UInt64) in address > start && address < start &+ jumpLength }
        for branch in branches where inside(branch.to) {
            reasons.append("the branch at \(hex(branch.from)) goes to \(place(branch.to))")
        }
        for target in function.knownTargets where inside(target) {
            reasons.append("a jump table, a relocation or other code names \(place(target))")
        }
        for reference in references {
            let isAddress = reference.from.takesAddress
            guard inside(reference.to) || (reference.to == start && !isAddress) else { continue }
            let verb = isAddress ? "takes the address of" : "reads"
            reasons.append("the instruction at \(hex(reference.from.address)) \(verb) \(place(reference.to))")
        }
        for symbol in function.symbols where inside(symbol.address) {
            reasons.append("the symbol \(symbol.name) lies at \(place(symbol.address))")
        }
        return reasons
    }

    /// Where a thread can stand inside `[start, start + 5)` and come back to: return addresses and system calls.
    func stopsInside(_ start: UInt64) -> [String] {
        var reasons: [String] = []
        for instruction in instructions.prefix(while: { $0.address < start &+ jumpLength }) {
            if instruction.kind == .call, instruction.end < start &+ jumpLength {
                reasons.append("the call at \(place(instruction.address)) returns to \(place(instruction.end))")
            }
            // An interrupted system call is started again two bytes before where the thread stands.
            if instruction.kind == .systemCall {
                reasons.append("there is a system call at \(place(instruction.address))")
            }
        }
        return reasons
    }

    /// Whether 5 bytes belong to the function under each of its names, or to the padding behind it.
    func roomForJump() -> (reasons: [String], usesPadding: Bool) {
        let start = function.main.address
        let size = UInt64(function.main.bytes.count)
        let names = function.symbols.filter { $0.address == start && $0.size > 0 && $0.size < size }
        let shortest = names.min { ($0.size, $0.name) < ($1.size, $1.name) }
        let least = min(size, shortest?.size ?? size)
        guard least < jumpLength else { return ([], false) }
        guard least > 0 else { return (["its size is not known"], false) }
        let subject = least < size ? "its alias \(shortest?.name ?? "")" : "it"
        let behind = (function.main.bytes + function.after).dropFirst(Int(least)).prefix(longestNop + Int(jumpLength))
        guard paddingLength(Array(behind)) >= Int(jumpLength - least) else {
            return (["\(subject) is only \(least) bytes long, and code follows"], false)
        }
        return ([], true)
    }

    private func place(_ address: UInt64) -> String {
        address == function.main.address ? "its entry" : "byte \(address &- function.main.address)"
    }
}

/// Bytes of nops and `int3` that `bytes` begins with.
private func paddingLength(_ bytes: [UInt8]) -> Int {
    decode(bytes, at: 0).prefix { $0.kind == .nop || $0.operation == .int3 }.reduce(0) { $0 + $1.length }
}

/// Bytes of the longest instruction there is.
private let longestNop = 15

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
