/// One frame of an unwound stack.
public struct UnwoundFrame: Hashable, Sendable {
    /// Where it is: the instruction that runs next, or the return address.
    public var pc: RemoteAddress
    /// The canonical frame address: the stack pointer before the call into this frame.
    public var frameAddress: RemoteAddress
    /// Where the address of its caller is stored; nil for the outermost frame.
    public var returnSlot: RemoteAddress?
    /// The value in `returnSlot`.
    public var returnAddress: RemoteAddress?
    /// Interrupted by a signal rather than having made a call: `pc` itself is inside the frame's function.
    public var isInterrupted: Bool

    /// An address inside the call instruction: a call at a function's end returns behind it (trap noreturn-end).
    public var lookupAddress: RemoteAddress { isInterrupted ? pc : pc - 1 }
}

public struct UnwoundStack: Hashable, Sendable {
    /// Innermost first.
    public var frames: [UnwoundFrame]
    /// Nil when the outermost frame was reached; else why nothing beyond the last frame is known.
    public var incomplete: String?
    public var isComplete: Bool { incomplete == nil }
}

/// Exact unwinding by the compiler's own tables (`.eh_frame`), of a copy of a stack, while the process runs.
///
/// Never guesses: where the tables say nothing, it stops and says so.
public struct Unwinder {
    private let memory: RemoteMemory
    private let map: MemoryMap
    private var tables: [RemoteAddress: Result<UnwindTable, UnwindFailure>] = [:]
    private static let frameLimit = 4096

    /// - Parameter map: as it was when the stack was copied.
    public init(memory: RemoteMemory, map: MemoryMap) {
        self.memory = memory
        self.map = map
    }

    /// - Parameters:
    ///   - registers: of the thread when its stack was copied.
    ///   - stack: the copy; its first byte was at `start`.
    public mutating func unwind(
        registers: Registers, stack: UnsafeRawBufferPointer, start: RemoteAddress
    ) -> UnwoundStack {
        unwind(UnwindContext(registers: dwarfRegisters(registers), stack: stack, start: start))
    }

    /// Of a thread that sleeps in a system call, whose other registers are not known: a frame that needs one ends it.
    public mutating func unwind(
        _ thread: SleepingThread, stack: UnsafeRawBufferPointer, start: RemoteAddress
    ) -> UnwoundStack {
        var registers = [UInt64?](repeating: nil, count: UnwindRules.registerCount)
        (registers[7], registers[16]) = (thread.stackPointer.rawValue, thread.instructionPointer.rawValue)
        return unwind(UnwindContext(registers: registers, stack: stack, start: start))
    }

    private mutating func unwind(_ context: UnwindContext) -> UnwoundStack {
        var context = context
        var result = UnwoundStack(frames: [], incomplete: nil)
        var isInterrupted = true
        do throws(UnwindFailure) {
            while result.frames.count < Unwinder.frameLimit {
                let frame = try step(&context, &isInterrupted)
                result.frames.append(frame)
                if frame.returnSlot == nil { return result }
            }
            result.incomplete = "more than \(Unwinder.frameLimit) frames"
        } catch {
            let pc = context.registers[UnwindRules.registerCount - 1].map { RemoteAddress($0).description } ?? "?"
            result.incomplete = "\(error.text) at \(pc)"
            appendLast(&result, context, isInterrupted)
        }
        return result
    }

    /// The frame at which we stopped is still known by where it is.
    private func appendLast(_ result: inout UnwoundStack, _ context: UnwindContext, _ isInterrupted: Bool) {
        guard let pc = context.registers[16], let pointer = context.registers[7] else { return }
        let frame = UnwoundFrame(
            pc: RemoteAddress(pc), frameAddress: RemoteAddress(pointer), returnSlot: nil, returnAddress: nil,
            isInterrupted: isInterrupted)
        result.frames.append(frame)
    }

    /// The frame that `context` is in; `context` is its caller's afterwards.
    private mutating func step(
        _ context: inout UnwindContext, _ isInterrupted: inout Bool
    ) throws(UnwindFailure) -> UnwoundFrame {
        let pc = try context.register(16)
        let lookup = isInterrupted ? pc : pc &- 1
        let description = try description(for: RemoteAddress(lookup))
        let rules = try UnwindRules(description, pc: lookup)
        let frameAddress: UInt64
        switch rules.frameAddress {
        case .register(let number, let offset):
            frameAddress = try context.register(number) &+ UInt64(bitPattern: offset)
        case .expression(let expression): frameAddress = try context.evaluate(expression, frameAddress: nil)
        case nil: throw UnwindFailure("no frame address")
        }
        var frame = UnwoundFrame(
            pc: RemoteAddress(pc), frameAddress: RemoteAddress(frameAddress), returnSlot: nil, returnAddress: nil,
            isInterrupted: isInterrupted)
        guard description.returnRegister == 16 else { throw UnwindFailure("unusual return address") }
        // `clone`, `_start`: the tables themselves say that nobody is above.
        if case .undefined = rules.registers[16] { return frame }

        let before = context
        for number in 0..<UnwindRules.registerCount {
            context.registers[number] = try value(number, rules.registers[number], before, frameAddress)
        }
        if case .same = rules.registers[7] { context.registers[7] = frameAddress }
        frame.returnSlot = RemoteAddress(try slot(rules.registers[16], before, frameAddress))
        frame.returnAddress = RemoteAddress(try context.register(16))
        guard try context.register(7) > before.register(7) || description.isSignalFrame else {
            throw UnwindFailure("the stack does not grow towards its end")
        }
        isInterrupted = description.isSignalFrame
        return frame
    }

    private func value(
        _ number: Int, _ rule: RegisterRule, _ context: UnwindContext, _ frameAddress: UInt64
    ) throws(UnwindFailure) -> UInt64? {
        switch rule {
        case .undefined: return nil
        // A return address is never just kept: it must have been saved.
        case .same: return number == 16 ? nil : context.registers[number]
        case .register(let other): return context.registers.indices.contains(other) ? context.registers[other] : nil
        case .offset(let offset): return try context.word(at: frameAddress &+ UInt64(bitPattern: offset))
        case .valueOffset(let offset): return frameAddress &+ UInt64(bitPattern: offset)
        case .expression(let code): return try context.word(at: try context.evaluate(code, frameAddress: frameAddress))
        case .valueExpression(let code): return try context.evaluate(code, frameAddress: frameAddress)
        }
    }

    private func slot(
        _ rule: RegisterRule, _ context: UnwindContext, _ frameAddress: UInt64
    ) throws(UnwindFailure) -> UInt64 {
        switch rule {
        case .offset(let offset): return frameAddress &+ UInt64(bitPattern: offset)
        case .expression(let code): return try context.evaluate(code, frameAddress: frameAddress)
        default: throw UnwindFailure("the return address is not on the stack")
        }
    }

    private mutating func description(for pc: RemoteAddress) throws(UnwindFailure) -> FrameDescription {
        guard let index = map.index(containing: pc), map.mappings[index].isExecutable else {
            throw UnwindFailure("no code")
        }
        guard let base = map.fileBase(of: index) else { throw UnwindFailure("no file") }
        let table: Result<UnwindTable, UnwindFailure>
        if let known = tables[base] {
            table = known
        } else {
            do throws(UnwindFailure) {
                table = .success(try UnwindTable(base: base, memory: memory))
            } catch {
                table = .failure(error)
            }
            tables[base] = table
        }
        return try table.get().description(for: pc.rawValue)
    }

    private func dwarfRegisters(_ r: Registers) -> [UInt64?] {
        [
            r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14,
            r.r15, r.rip,
        ]
    }
}

extension MemoryMap {
    /// Where the file of which this is a mapping begins in memory: the nearest mapping of its first page at or below.
    func fileBase(of index: Int) -> RemoteAddress? {
        let mapping = mappings[index]
        if mapping.path == "[vdso]" { return mapping.start }
        guard mapping.kind == .file else { return nil }
        for other in mappings[...index].reversed() {
            guard other.inode == mapping.inode, other.device == mapping.device else { continue }
            if other.fileOffset == 0 { return other.start }
        }
        return nil
    }
}
