import CLinuxPtrace
import Glibc

/// The seccomp filters of one thread, asked beforehand what they would say: one may kill the process for a call that it
/// never makes itself (trap seccomp).
struct SeccompFilters {
    private var programs: [[lp_filter]] = []
    /// The interpreter's steps are bounded by the program's length: filters have no backward jumps.
    private static let maximumLength = 4096
    private static let maximumCount = 256

    var hasNone: Bool { programs.isEmpty }

    /// Nil when the thread has filters and the kernel does not show them (it needs CAP_SYS_ADMIN).
    ///
    /// - Parameter tid: a thread we have stopped.
    static func read(pid: Int32, tid: Int32) throws(ProcessError) -> SeccompFilters? {
        switch try ProcessInformation.read(pid: tid).seccomp {
        case 0: return SeccompFilters()
        case 2: break
        default: return nil
        }
        var filters = SeccompFilters()
        for index in 0..<maximumCount {
            var program = [lp_filter](repeating: lp_filter(), count: maximumLength)
            let count = program.withUnsafeMutableBytes {
                lp_ptrace(LP_SECCOMP_GET_FILTER, tid, UInt64(index), UInt64(UInt(bitPattern: $0.baseAddress)))
            }
            if count == -Int(ENOENT), index > 0 { return filters }
            guard count > 0, count <= maximumLength else { return nil }
            filters.programs.append(Array(program[..<count]))
        }
        return nil
    }

    /// Every filter says ALLOW or LOG to the call.
    func allow(_ number: Int, _ arguments: [UInt64], at instruction: UInt64) -> Bool {
        let architecture: UInt32 = 0xc000_003e
        var data = [UInt32(truncatingIfNeeded: number), architecture]
        for value in [instruction] + arguments.prefix(6) {
            data += [UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32)]
        }
        data += [UInt32](repeating: 0, count: max(0, 16 - data.count))
        return programs.allSatisfy { program in
            let action = (FilterMachine(program: program, data: data).run() ?? 0) & 0xffff_0000
            return action == 0x7fff_0000 || action == 0x7ffc_0000
        }
    }
}

/// Classic BPF as far as the kernel accepts it for seccomp (`seccomp_check_filter`).
private struct FilterMachine {
    let program: [lp_filter]
    /// `struct seccomp_data`, 64 bytes, as words.
    let data: [UInt32]
    private var a: UInt32 = 0
    private var x: UInt32 = 0
    private var memory = [UInt32](repeating: 0, count: 16)

    init(program: [lp_filter], data: [UInt32]) {
        self.program = program
        self.data = data
    }

    /// The filter's answer, nil for anything we don't understand.
    func run() -> UInt32? {
        var machine = self
        var counter = 0
        while program.indices.contains(counter) {
            let instruction = program[counter]
            counter += 1
            switch instruction.code {
            case 0x06: return instruction.k
            case 0x16: return machine.a
            case 0x05: counter += Int(instruction.k)
            default:
                if instruction.code & 7 == 5 {
                    guard let holds = machine.compare(instruction) else { return nil }
                    counter += Int(holds ? instruction.jt : instruction.jf)
                } else if !machine.execute(instruction) {
                    return nil
                }
            }
        }
        return nil
    }

    private func compare(_ instruction: lp_filter) -> Bool? {
        let operand = instruction.code & 8 != 0 ? x : instruction.k
        switch instruction.code & 0xf0 {
        case 0x10: return a == operand
        case 0x20: return a > operand
        case 0x30: return a >= operand
        case 0x40: return a & operand != 0
        default: return nil
        }
    }

    private mutating func execute(_ instruction: lp_filter) -> Bool {
        let k = instruction.k
        switch instruction.code {
        case 0x20:
            guard k % 4 == 0, k < 64 else { return false }
            a = data[Int(k / 4)]
        case 0x80: a = 64
        case 0x81: x = 64
        case 0x00: a = k
        case 0x01: x = k
        case 0x60, 0x61, 0x02, 0x03: return move(instruction.code, Int(k))
        case 0x07: x = a
        case 0x87: a = x
        default: return instruction.code & 7 == 4 && compute(instruction)
        }
        return true
    }

    private mutating func move(_ code: UInt16, _ cell: Int) -> Bool {
        guard cell < memory.count else { return false }
        switch code {
        case 0x60: a = memory[cell]
        case 0x61: x = memory[cell]
        case 0x02: memory[cell] = a
        default: memory[cell] = x
        }
        return true
    }

    private mutating func compute(_ instruction: lp_filter) -> Bool {
        let operand = instruction.code & 8 != 0 ? x : instruction.k
        switch instruction.code & 0xf0 {
        case 0x00: a = a &+ operand
        case 0x10: a = a &- operand
        case 0x20: a = a &* operand
        case 0x30:
            guard operand != 0 else { return false }
            a /= operand
        case 0x40: a |= operand
        case 0x50: a &= operand
        case 0x60: a = a &<< operand
        case 0x70: a = a &>> operand
        case 0x80: a = 0 &- a
        case 0xa0: a ^= operand
        default: return false
        }
        return true
    }
}
