import ElfFormat
import ProcessControl

/// Code that leaves one stack for another: of coroutines whose switch is written by hand, and has no name that could be looked
/// up (boost.context linked in, greenlet, libco).
///
/// It keeps the stack pointer, and a few instructions later takes another one from a register or memory that a caller may
/// have given. Compilers do not: where they restore a stack pointer, they have kept it in the frame, or in a register that
/// calls preserve, or nearby. Of 1,264 files of programs and libraries of Debian 12, three have such a place by chance. Then
/// more is searched than need be.
enum SwitchCode {
    /// In bytes, between the two instructions.
    private static let reach = 48
    private static let piece = 1 << 20

    static func isHeld(by object: LoadedObject, _ view: ProcessView) -> Bool {
        for load in object.headers where load.type == PT.load && load.isExecutable {
            var done: UInt64 = 0
            while done < load.fileSize {
                let count = Int(min(load.fileSize - done, UInt64(piece + reach)))
                let place = RemoteAddress(object.bias &+ load.address &+ done)
                let bytes = (try? view.memory.readPrefix(place, count: count)) ?? []
                if bytes.withUnsafeBytes(holds) { return true }
                // What a header claims need not be there.
                if bytes.count < count { break }
                done += UInt64(piece)
            }
        }
        return false
    }

    static func holds(_ code: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 3 <= code.count {
            if let kept = register(keptBy: code, at: index) {
                let end = min(code.count - 3, index + 3 + reach)
                var next = index + 3
                while next <= end {
                    if takes(code, at: next, otherThan: kept) { return true }
                    next += 1
                }
            }
            index += 1
        }
        return false
    }

    /// The number of the register to which `mov %rsp, …` goes, or -1 for memory outside of the frame; nil for other code.
    private static func register(keptBy code: UnsafeRawBufferPointer, at index: Int) -> Int? {
        guard code[index + 1] == 0x89, code[index] == 0x48 || code[index] == 0x49 else { return nil }
        let (mode, source, base) = parts(code[index + 2])
        guard source == 4 else { return nil }
        if mode == 3 {
            // A frame pointer.
            return code[index] == 0x48 && (base == 4 || base == 5) ? nil : base + (code[index] == 0x49 ? 8 : 0)
        }
        return base == 4 || base == 5 ? nil : -1
    }

    /// Whether the stack pointer is taken from a register that calls do not preserve, from memory to which one leads, or is
    /// moved by one.
    private static func takes(_ code: UnsafeRawBufferPointer, at index: Int, otherThan kept: Int) -> Bool {
        let (prefix, operation) = (code[index], code[index + 1])
        let (mode, source, base) = parts(code[index + 2])
        switch (operation, mode) {
        case (0x89, 3) where base == 4 && (prefix == 0x48 || prefix == 0x4c):
            let from = source + (prefix == 0x4c ? 8 : 0)
            return from != kept && isScratch(from)
        case (0x8b, 0), (0x8b, 1), (0x8b, 2):
            guard source == 4, prefix == 0x48 || prefix == 0x49, base != 4, !(mode == 0 && base == 5) else {
                return false
            }
            return isScratch(base + (prefix == 0x49 ? 8 : 0))
        case (0x01, 3): return prefix == 0x48 && base == 4 && source != 4 && source != 5
        default: return false
        }
    }

    /// `rax`, `rcx`, `rdx`, `rsi`, `rdi`, `r8` to `r11`.
    private static func isScratch(_ register: Int) -> Bool { [0, 1, 2, 6, 7, 8, 9, 10, 11].contains(register) }

    private static func parts(_ byte: UInt8) -> (mode: Int, register: Int, base: Int) {
        (Int(byte >> 6), Int(byte >> 3 & 7), Int(byte & 7))
    }
}
