import ElfFormat

/// Where the caller's value of a register is.
enum RegisterRule {
    case same
    case undefined
    /// Saved at CFA + offset.
    case offset(Int64)
    /// Is CFA + offset.
    case valueOffset(Int64)
    case register(Int)
    /// Saved at the address computed.
    case expression(ArraySlice<UInt8>)
    /// Is the value computed.
    case valueExpression(ArraySlice<UInt8>)
}

enum FrameAddressRule {
    case register(Int, Int64)
    case expression(ArraySlice<UInt8>)
}

/// The row of the unwind table that holds for one instruction: DWARF 5, 6.4.1, numbers of the x86-64 psABI.
struct UnwindRules {
    /// rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 … r15, return address.
    static let registerCount = 17
    var frameAddress: FrameAddressRule?
    var registers = [RegisterRule](repeating: .same, count: registerCount)

    /// Runs the instructions of `description` up to the row for `pc`.
    init(_ description: FrameDescription, pc: UInt64) throws(UnwindFailure) {
        var location = description.start
        var machine = RowMachine(description: description)
        try machine.run(description.initial, until: nil, &location, &self.frameAddress, &registers)
        machine.initial = registers
        try machine.run(description.instructions, until: pc, &location, &frameAddress, &registers)
    }
}

/// The interpreter of `DW_CFA_` instructions.
private struct RowMachine {
    let description: FrameDescription
    var initial: [RegisterRule] = []
    private var saved: [(FrameAddressRule?, [RegisterRule])] = []

    init(description: FrameDescription) { self.description = description }

    mutating func run(
        _ code: CFIReader, until pc: UInt64?, _ location: inout UInt64, _ frame: inout FrameAddressRule?,
        _ registers: inout [RegisterRule]
    ) throws(UnwindFailure) {
        var code = code
        while !code.isAtEnd {
            let instruction = try code.byte()
            let operand = instruction & 0x3f
            switch instruction >> 6 {
            case 1: location = location &+ UInt64(operand) &* description.codeAlignment
            case 2: set(Int(operand), .offset(try scaled(&code)), &registers)
            case 3: restore(Int(operand), &registers)
            default: try extended(instruction, &code, &location, &frame, &registers)
            }
            if let pc, location > pc { return }
        }
    }

    private mutating func extended(
        _ instruction: UInt8, _ code: inout CFIReader, _ location: inout UInt64, _ frame: inout FrameAddressRule?,
        _ registers: inout [RegisterRule]
    ) throws(UnwindFailure) {
        switch instruction {
        case 0x00: break
        case 0x01: location = try code.pointer(encoding: description.pointerEncoding)
        case 0x02, 0x03, 0x04:
            location = location &+ (try code.unsigned(1 << Int(instruction - 2))) &* description.codeAlignment
        case 0x0a:
            guard saved.count < 64 else { throw UnwindFailure("unwind states nested too deeply") }
            saved.append((frame, registers))
        case 0x0b:
            guard let state = saved.popLast() else { throw UnwindFailure("no unwind state to restore") }
            (frame, registers) = state
        case 0x0c: frame = .register(try register(&code), Int64(bitPattern: try code.uleb()))
        case 0x0d: frame = .register(try register(&code), try offset(of: frame))
        case 0x0e: frame = .register(try base(of: frame), Int64(bitPattern: try code.uleb()))
        case 0x0f: frame = .expression(try code.block())
        case 0x12: frame = .register(try register(&code), try code.sleb() &* description.dataAlignment)
        case 0x13: frame = .register(try base(of: frame), try code.sleb() &* description.dataAlignment)
        case 0x2e: _ = try code.uleb()
        default: try registerRule(instruction, &code, &registers)
        }
    }

    private func registerRule(
        _ instruction: UInt8, _ code: inout CFIReader, _ registers: inout [RegisterRule]
    ) throws(UnwindFailure) {
        let target = try register(&code)
        switch instruction {
        case 0x05: set(target, .offset(try scaled(&code)), &registers)
        case 0x06: restore(target, &registers)
        case 0x07: set(target, .undefined, &registers)
        case 0x08: set(target, .same, &registers)
        case 0x09: set(target, .register(try register(&code)), &registers)
        case 0x10: set(target, .expression(try code.block()), &registers)
        case 0x11: set(target, .offset(try code.sleb() &* description.dataAlignment), &registers)
        case 0x14: set(target, .valueOffset(try scaled(&code)), &registers)
        case 0x15: set(target, .valueOffset(try code.sleb() &* description.dataAlignment), &registers)
        case 0x16: set(target, .valueExpression(try code.block()), &registers)
        case 0x2f: set(target, .offset(0 &- (try scaled(&code))), &registers)
        default: throw UnwindFailure("unknown unwind instruction \(instruction)")
        }
    }

    private func scaled(_ code: inout CFIReader) throws(UnwindFailure) -> Int64 {
        Int64(bitPattern: try code.uleb()) &* description.dataAlignment
    }

    private func register(_ code: inout CFIReader) throws(UnwindFailure) -> Int { Int(clamping: try code.uleb()) }

    /// Vector registers have rules too; nobody needs them.
    private func set(_ register: Int, _ rule: RegisterRule, _ registers: inout [RegisterRule]) {
        if registers.indices.contains(register) { registers[register] = rule }
    }

    private func restore(_ register: Int, _ registers: inout [RegisterRule]) {
        if initial.indices.contains(register) { set(register, initial[register], &registers) }
    }

    private func base(of frame: FrameAddressRule?) throws(UnwindFailure) -> Int {
        guard case .register(let register, _) = frame else { throw UnwindFailure("no register to count from") }
        return register
    }

    private func offset(of frame: FrameAddressRule?) throws(UnwindFailure) -> Int64 {
        guard case .register(_, let offset) = frame else { throw UnwindFailure("no register to count from") }
        return offset
    }
}
