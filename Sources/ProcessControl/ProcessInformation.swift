import Glibc

/// What `/proc` says of a process or thread, as far as patching needs it.
public struct ProcessInformation: Sendable {
    public var pid: Int32
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`.
    public var state: UInt8
    public var threadGroup: Int32
    public var tracer: Int32
    public var threads: Int
    /// 0 off, 1 strict, 2 filter.
    public var seccomp: Int
    public var noNewPrivileges: Bool
    /// The process's id in each nested pid namespace, outermost first.
    public var namespaceIDs: [Int32]
    /// `x86_Thread_features`: holds `shstk` when a shadow stack is on.
    public var threadFeatures: String
    /// Signals that the thread blocks now, and those that wait for it or for the process: bit 0 is signal 1.
    var blockedSignals: UInt64
    var pendingSignals: UInt64

    public var isZombie: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }
    public var hasShadowStack: Bool { threadFeatures.split(separator: " ").contains("shstk") }

    /// Parses `/proc/PID/status`. Throws `noSuchProcess` or `noPermission`.
    public static func read(pid: Int32) throws(ProcessError) -> ProcessInformation {
        try parse(try readProcFile("/proc/\(pid)/status", pid: pid), pid: pid)
    }

    static func parse(_ bytes: [UInt8], pid: Int32) throws(ProcessError) -> ProcessInformation {
        var fields: [String: String] = [:]
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let value = line[(colon + 1)...].drop { $0 == 9 || $0 == 32 }
            fields[String(decoding: line[..<colon], as: UTF8.self)] = String(decoding: value, as: UTF8.self)
        }
        guard let state = fields["State"]?.utf8.first, let group = fields["Tgid"].flatMap({ Int32($0) }) else {
            throw .malformed("/proc/\(pid)/status")
        }
        return ProcessInformation(
            pid: pid, state: state, threadGroup: group, tracer: fields["TracerPid"].flatMap { Int32($0) } ?? 0,
            threads: fields["Threads"].flatMap { Int($0) } ?? 0, seccomp: fields["Seccomp"].flatMap { Int($0) } ?? 0,
            noNewPrivileges: fields["NoNewPrivs"] == "1",
            namespaceIDs: (fields["NSpid"] ?? "").split { $0 == "\t" || $0 == " " }.compactMap { Int32($0) },
            threadFeatures: fields["x86_Thread_features"] ?? "", blockedSignals: signals(fields["SigBlk"]),
            pendingSignals: signals(fields["SigPnd"]) | signals(fields["ShdPnd"]))
    }

    private static func signals(_ field: String?) -> UInt64 {
        field.flatMap { UInt64($0, radix: 16) } ?? 0
    }
}

/// Ids of the process's threads; the leader is in it even when it is a zombie.
public func threadIDs(of pid: Int32) throws(ProcessError) -> [Int32] {
    try numbersInDirectory("/proc/\(pid)/task", pid: pid)
}

/// Every process this one can see.
public func allProcessIDs() throws(ProcessError) -> [Int32] {
    try numbersInDirectory("/proc", pid: 0).sorted()
}

/// In clock ticks since boot: with the pid it names one process, since pids are used again.
public func startTime(of pid: Int32) throws(ProcessError) -> UInt64 {
    let fields = try statFields("/proc/\(pid)/stat", pid: pid)
    guard fields.count > 19, let time = UInt64(fields[19]) else { throw .malformed("/proc/\(pid)/stat") }
    return time
}

/// State letter of one thread, or nil when it is gone.
func threadState(pid: Int32, tid: Int32) -> UInt8? {
    (try? statFields("/proc/\(pid)/task/\(tid)/stat", pid: pid))?.first?.utf8.first
}

private func statFields(_ path: String, pid: Int32) throws(ProcessError) -> [String] {
    guard let fields = statFields(in: try readProcFile(path, pid: pid)) else { throw .malformed(path) }
    return fields
}

/// Fields of a `stat` file from the state on: the name before may hold blanks and parentheses. Nil for another text.
func statFields(in bytes: [UInt8]) -> [String]? {
    guard let close = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    return String(decoding: bytes[(close + 1)...], as: UTF8.self).split(separator: " ").map(String.init)
}

/// The executable's path as the process's mount namespace names it, with ` (deleted)` when it is.
public func executablePath(of pid: Int32) throws(ProcessError) -> String {
    let path = "/proc/\(pid)/exe"
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes { raw in
        raw.withMemoryRebound(to: CChar.self) { readlink(path, $0.baseAddress!, $0.count) }
    }
    guard count >= 0 else { throw procError(errno, path, pid: pid) }
    return String(decoding: buffer[..<count], as: UTF8.self)
}

/// The system call a thread is in, from outside: `/proc/PID/task/TID/syscall`.
struct SleepingCall {
    /// Nil when the thread runs or sleeps outside a system call.
    var number: UInt64?
    var arguments: [UInt64]
    var stackPointer: UInt64?
    var instructionPointer: UInt64?

    /// clone, vfork, clone3: of a thread that waits in one, a child runs in the same memory.
    static let makesProcess: Set<UInt64> = [56, 58, 435]

    /// rt_sigsuspend, and pselect6, ppoll, epoll_pwait, epoll_pwait2, io_pgetevents and io_uring_enter that were given a
    /// signal mask.
    var mayHaveMask: Bool {
        switch number {
        case 130: true
        case 271: arguments[3] != 0
        case 281: arguments[4] != 0
        case 270, 333, 426, 441: arguments[5] != 0 || (number == 426 || number == 441) && arguments[4] != 0
        default: false
        }
    }

    /// write, pwrite64, writev, sendto, sendmsg, sendmmsg, sendfile, splice, tee, vmsplice, and recvfrom and recvmsg with
    /// MSG_WAITALL: an interrupt ends them when a part is done.
    var mayReturnPart: Bool {
        let waitForAll: UInt64 = 0x100
        return switch number {
        case 1, 18, 20, 44, 46, 307, 40, 275, 276, 278: true
        case 45: arguments[3] & waitForAll != 0
        case 47: arguments[2] & waitForAll != 0
        default: false
        }
    }

    /// epoll_wait, select, semtimedop, recvmmsg and io_getevents that were given a time: it begins anew after an
    /// interrupt.
    var mayHaveTimeout: Bool {
        switch number {
        case 232: Int32(truncatingIfNeeded: arguments[3]) >= 0
        case 220: arguments[3] != 0
        case 23, 299, 208: arguments[4] != 0
        default: false
        }
    }

    static func read(pid: Int32, tid: Int32) -> SleepingCall? {
        (try? readProcFile("/proc/\(pid)/task/\(tid)/syscall", pid: pid)).map(parse)
    }

    static func read(below process: BoundProcess, tid: Int32) -> SleepingCall? {
        (try? process.read("task/\(tid)/syscall")).map(parse)
    }

    private static func parse(_ bytes: [UInt8]) -> SleepingCall {
        let fields = String(decoding: bytes, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        let values = fields.dropFirst().map { UInt64($0.dropFirst(2), radix: 16) ?? 0 }
        if values.count == 8 {
            return SleepingCall(
                number: fields.first.flatMap { UInt64($0) }, arguments: Array(values[..<6]), stackPointer: values[6],
                instructionPointer: values[7])
        }
        return SleepingCall(
            number: nil, arguments: [], stackPointer: values.count == 2 ? values[0] : nil,
            instructionPointer: values.count == 2 ? values[1] : nil)
    }
}

/// `start_brk`, 0 when the kernel does not tell us.
func programBreakStart(of pid: Int32) throws(ProcessError) -> UInt64 {
    let fields = try statFields("/proc/\(pid)/stat", pid: pid)
    return fields.count > 44 ? UInt64(fields[44]) ?? 0 : 0
}
