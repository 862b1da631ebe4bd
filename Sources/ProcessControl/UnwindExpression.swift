import ElfFormat

/// A stack of a thread as it was, and its registers: all that an exact unwinder may look at.
struct UnwindContext {
    /// By DWARF number; nil when it is not known any more.
    var registers: [UInt64?]
    let stack: UnsafeRawBufferPointer
    let start: RemoteAddress

    /// Eight bytes of the copy.
    func word(at address: UInt64) throws(UnwindFailure) -> UInt64 {
        let offset = address &- start.rawValue
        guard stack.count >= 8, offset <= UInt64(stack.count - 8) else {
            throw UnwindFailure("the frame lies outside the copied stack")
        }
        return UInt64(littleEndian: stack.loadUnaligned(fromByteOffset: Int(offset), as: UInt64.self))
    }

    func register(_ number: Int) throws(UnwindFailure) -> UInt64 {
        guard registers.indices.contains(number), let value = registers[number] else {
            throw UnwindFailure("register \(number) is not known")
        }
        return value
    }

    /// A DWARF expression without jumps: those of PLT entries and of signal frames are of that kind.
    func evaluate(_ expression: ArraySlice<UInt8>, frameAddress: UInt64?) throws(UnwindFailure) -> UInt64 {
        var code = CFIReader(Array(expression), at: 0)
        var values: [UInt64] = frameAddress.map { [$0] } ?? []
        while !code.isAtEnd {
            guard values.count < 64 else { throw UnwindFailure("unwind expression too deep") }
            let operation = try code.byte()
            switch operation {
            case 0x30...0x4f: values.append(UInt64(operation - 0x30))
            case 0x50...0x6f: values.append(try register(Int(operation - 0x50)))
            case 0x70...0x8f:
                values.append(try register(Int(operation - 0x70)) &+ UInt64(bitPattern: try code.sleb()))
            case 0x06, 0x12...0x14, 0x16, 0x1f, 0x20, 0x23: try rearrange(operation, &code, &values)
            case 0x08...0x11: values.append(try constant(operation, &code))
            case 0x96: break
            default: try combine(operation, &values)
            }
        }
        guard let value = values.last else { throw UnwindFailure("empty unwind expression") }
        return value
    }

    private func constant(_ operation: UInt8, _ code: inout CFIReader) throws(UnwindFailure) -> UInt64 {
        switch operation {
        case 0x10: return try code.uleb()
        case 0x11: return UInt64(bitPattern: try code.sleb())
        default:
            let size = 1 << Int((operation - 8) / 2)
            return operation & 1 == 0 ? try code.unsigned(size) : UInt64(bitPattern: try code.signed(size))
        }
    }

    private func rearrange(
        _ operation: UInt8, _ code: inout CFIReader, _ values: inout [UInt64]
    ) throws(UnwindFailure) {
        let top = try pop(&values)
        switch operation {
        case 0x06: values.append(try word(at: top))
        case 0x12: values += [top, top]
        case 0x13: break
        case 0x14:
            let below = try pop(&values)
            values += [below, top, below]
        case 0x16: values += [top, try pop(&values)]
        case 0x1f: values.append(0 &- top)
        case 0x20: values.append(~top)
        default: values.append(top &+ (try code.uleb()))
        }
    }

    private func combine(_ operation: UInt8, _ values: inout [UInt64]) throws(UnwindFailure) {
        let right = try pop(&values)
        let left = try pop(&values)
        let (a, b) = (Int64(bitPattern: left), Int64(bitPattern: right))
        switch operation {
        case 0x1a: values.append(left & right)
        case 0x1c: values.append(left &- right)
        case 0x1e: values.append(left &* right)
        case 0x21: values.append(left | right)
        case 0x22: values.append(left &+ right)
        case 0x24: values.append(left << right)
        case 0x25: values.append(left >> right)
        case 0x26: values.append(UInt64(bitPattern: a >> b))
        case 0x27: values.append(left ^ right)
        case 0x29: values.append(a == b ? 1 : 0)
        case 0x2a: values.append(a >= b ? 1 : 0)
        case 0x2b: values.append(a > b ? 1 : 0)
        case 0x2c: values.append(a <= b ? 1 : 0)
        case 0x2d: values.append(a < b ? 1 : 0)
        case 0x2e: values.append(a != b ? 1 : 0)
        default: throw UnwindFailure("unknown operation \(operation) in an unwind expression")
        }
    }

    private func pop(_ values: inout [UInt64]) throws(UnwindFailure) -> UInt64 {
        guard let value = values.popLast() else { throw UnwindFailure("unwind expression without operands") }
        return value
    }
}
