import CLinuxPtrace

/// A complete `rt_sigframe` of x86-64, as the kernel writes it (`arch/x86/kernel/signal_64.c`): whoever returns into
/// `pretcode` with the stack pointer at its second word goes through `rt_sigreturn` and gets back every register.
struct SignalFrame {
    /// Where the frame's first byte, the return address `pretcode`, goes.
    let address: RemoteAddress
    let bytes: [UInt8]
    /// As they are after `rt_sigreturn`.
    let registers: Registers

    /// Nothing of the frame may lie in these bytes below the stack pointer: leaf functions keep data there.
    static let redZone: UInt64 = 128
    private static let ucontextEnd = 312
    private static let frameSize = 440

    /// - Parameters:
    ///   - registers: as they shall be after `rt_sigreturn`.
    ///   - stackPointer: the thread's; the frame lies below its red zone.
    ///   - mask: the thread's signal mask.
    ///   - extended: its XSAVE image in the standard format, as PTRACE_GETREGSET gives it.
    ///   - restorer: address of code that does `rt_sigreturn`.
    init?(
        registers: Registers, stackPointer: RemoteAddress, mask: UInt64, extended: [UInt8], restorer: RemoteAddress
    ) {
        guard let image = ExtendedState(extended) else { return nil }
        self.registers = registers
        let end = stackPointer - SignalFrame.redZone
        let imageStart = RemoteAddress((end - UInt64(image.bytes.count)).rawValue & ~63)
        address = RemoteAddress(((imageStart - UInt64(SignalFrame.frameSize)).rawValue & ~15) &- 8)
        guard address < stackPointer else { return nil }

        var writer = FrameWriter(capacity: Int(imageStart.distance(from: address)) + image.bytes.count)
        writer.put(restorer.rawValue)
        // UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS.
        writer.put(7)
        writer.put(0)
        // An invalid ss_flags: sigaltstack refuses it, so that the alternate stack stays as it is (trap altstack).
        writer.put(0)
        writer.put(7)
        writer.put(0)
        writer.putContext(registers, extendedState: imageStart)
        writer.put(mask)
        writer.skip(to: Int(imageStart.distance(from: address)))
        bytes = writer.bytes + image.bytes
    }
}

/// The XSAVE image of a signal frame: with both magics, without which the kernel wipes the vector registers (trap
/// fpstate), and as long as the thread's own state, or else it reads the legacy part alone.
private struct ExtendedState {
    let bytes: [UInt8]

    private static let legacyAndHeader = 576
    private static let softwareBytes = 464
    private static let tileData: UInt64 = 1 << 18

    init?(_ image: [UInt8]) {
        guard image.count >= ExtendedState.legacyAndHeader else { return nil }
        let available = littleEndian(image, at: ExtendedState.softwareBytes)
        let inUse = littleEndian(image, at: 512)
        // Tiles take 8 KB that only a thread which asked for them has.
        let features = inUse & ExtendedState.tileData == 0 ? available & ~ExtendedState.tileData : available
        let size = ExtendedState.size(of: features)
        guard features & 3 == 3, size <= image.count else { return nil }
        var copy = Array(image[..<size])
        store(UInt64(0x4650_5853) | UInt64(size + 4) << 32, in: &copy, at: ExtendedState.softwareBytes)
        store(features, in: &copy, at: ExtendedState.softwareBytes + 8)
        store(UInt64(size), in: &copy, at: ExtendedState.softwareBytes + 16)
        store(0, in: &copy, at: ExtendedState.softwareBytes + 24)
        store(0, in: &copy, at: ExtendedState.softwareBytes + 32)
        store(0, in: &copy, at: ExtendedState.softwareBytes + 40)
        bytes = copy + [0x45, 0x58, 0x50, 0x46]
    }

    /// End of the last component, in bytes.
    private static func size(of features: UInt64) -> Int {
        var size = legacyAndHeader
        for component in 2..<63 where features & (1 << UInt64(component)) != 0 {
            var (offset, length): (UInt32, UInt32) = (0, 0)
            lp_xsave_component(UInt32(component), &offset, &length)
            size = max(size, Int(offset) + Int(length))
        }
        return size
    }
}

private func littleEndian(_ bytes: [UInt8], at offset: Int) -> UInt64 {
    bytes[offset..<(offset + 8)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

private func store(_ value: UInt64, in bytes: inout [UInt8], at offset: Int) {
    for index in 0..<8 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
}

private struct FrameWriter {
    private(set) var bytes: [UInt8] = []

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    mutating func put(_ value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    mutating func skip(to count: Int) {
        bytes += [UInt8](repeating: 0, count: max(0, count - bytes.count))
    }

    /// `struct sigcontext`, 256 bytes.
    mutating func putContext(_ r: Registers, extendedState: RemoteAddress) {
        for value in [
            r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx,
            r.rsp, r.rip, r.eflags,
        ] { put(value) }
        put(r.cs & 0xffff | (r.gs & 0xffff) << 16 | (r.fs & 0xffff) << 32 | (r.ss & 0xffff) << 48)
        for _ in 0..<4 { put(0) }
        put(extendedState.rawValue)
        for _ in 0..<8 { put(0) }
    }
}
