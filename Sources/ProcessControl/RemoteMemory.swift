import CLinuxPtrace
import Glibc

/// Another process's memory, read and written from outside while it runs or is stopped.
///
/// A read can block without end on a page that user space or a dead file server must provide (trap blocked-read): call
/// it inside `runTracer`, whose deadline ends it.
public struct RemoteMemory: Hashable, Sendable {
    public let pid: Int32
    /// No single read or write is longer, in bytes: lengths may come from the process itself.
    public static let maximumCount = 1 << 30

    /// The thread through which the memory is reached: a leader that has ended (a zombie) has none any more.
    private let thread: Int32

    public init(pid: Int32) {
        let isZombie = threadState(pid: pid, tid: pid) == UInt8(ascii: "Z")
        self.init(pid: pid, thread: (isZombie ? try? livingThread(of: pid) : nil) ?? pid)
    }

    init(pid: Int32, thread: Int32) {
        self.pid = pid
        self.thread = thread
    }

    /// Exactly `count` bytes. Throws `fault` with the first unreadable address, `vanished`, `noPermission`.
    public func read(_ address: RemoteAddress, count: Int) throws(ProcessError) -> [UInt8] {
        try checkCount(count)
        var done = 0
        var failure: ProcessError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(ProcessError) {
                done = try readPrefix(address, into: UnsafeMutableRawBufferPointer(buffer))
            } catch { failure = error }
            initialized = done
        }
        if let failure { throw failure }
        guard done == count else { throw .fault(address + UInt64(done)) }
        return bytes
    }

    /// The bytes up to `count` that can be read; fewer, or none, when a fault comes first.
    public func readPrefix(_ address: RemoteAddress, count: Int) throws(ProcessError) -> [UInt8] {
        try checkCount(count)
        var failure: ProcessError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(ProcessError) {
                initialized = try readPrefix(address, into: UnsafeMutableRawBufferPointer(buffer))
            } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Fills `buffer` and returns how many bytes came before the first fault.
    public func readPrefix(
        _ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ProcessError) -> Int {
        guard let base = buffer.baseAddress, buffer.count > 0 else { return 0 }
        var done = 0
        while done < buffer.count {
            let local = UInt64(UInt(bitPattern: base + done))
            var transfer = lp_transfer(
                remote: (address + UInt64(done)).rawValue, local: local, length: UInt64(buffer.count - done))
            let count = lp_read_memory(thread, &transfer, 1)
            if count > 0 {
                done += count
            } else if count == 0 || count == -Int(EFAULT) {
                break
            } else {
                throw processError(count, "process_vm_readv", pid: pid)
            }
        }
        // Pages without read permission (execute-only text) are open to /proc/PID/mem alone.
        if done < buffer.count { done += readForced(address + UInt64(done), into: base + done, buffer.count - done) }
        return done
    }

    /// One element per range, nil where any of its bytes faults. Few system calls however many ranges there are.
    public func readMany(_ ranges: [RemoteRange]) throws(ProcessError) -> [[UInt8]?] {
        var arena = RemoteArena(capacity: 0)
        let slices = try arena.read(ranges, of: self)
        return slices.indices.map { index in
            UInt64(slices[index].count) == ranges[index].count ? Array(arena.bytes(slices[index])) : nil
        }
    }

    /// A little-endian integer of the type asked for.
    public func read<Value: FixedWidthInteger>(
        _ address: RemoteAddress, as type: Value.Type
    ) throws(ProcessError) -> Value {
        let bytes = try read(address, count: MemoryLayout<Value>.size)
        return Value(littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(as: Value.self) })
    }

    /// The bytes before the first zero; throws `malformed` when there is none within `limit` bytes.
    public func readString(_ address: RemoteAddress, limit: Int = 4096) throws(ProcessError) -> String {
        let bytes = try readPrefix(address, count: limit)
        guard let end = bytes.firstIndex(of: 0) else {
            if bytes.count < limit { throw .fault(address + UInt64(bytes.count)) }
            throw .malformed("string at \(address)")
        }
        return String(decoding: bytes[..<end], as: UTF8.self)
    }

    /// Writes to pages that the process itself may write. Throws `fault` otherwise; the bytes before it are written.
    public func write(_ bytes: [UInt8], at address: RemoteAddress) throws(ProcessError) {
        try checkCount(bytes.count)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                var transfer = lp_transfer(
                    remote: (address + UInt64(done)).rawValue,
                    local: UInt64(UInt(bitPattern: buffer.baseAddress)) + UInt64(done),
                    length: UInt64(bytes.count - done))
                return lp_write_memory(thread, &transfer, 1)
            }
            if count > 0 {
                done += count
            } else if count == 0 || count == -Int(EFAULT) {
                throw .fault(address + UInt64(done))
            } else {
                throw processError(count, "process_vm_writev", pid: pid)
            }
        }
    }

    /// Writes whatever the page's protection is, as a debugger does: read-only and executable private pages are copied
    /// on write, never made writable for the process (trap mdwe).
    ///
    /// - Parameter stopped: a thread stopped by us, through which to go with PTRACE_POKEDATA where the kernel forbids
    ///   the other way (`proc_mem.force_override`).
    public func writeForced(
        _ bytes: [UInt8], at address: RemoteAddress, through stopped: Int32? = nil
    ) throws(ProcessError) {
        try checkCount(bytes.count)
        let path = "/proc/\(thread)/mem"
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT || errno == ESRCH || stopped == nil {
            throw procError(errno, path, pid: pid)
        }
        defer { if descriptor >= 0 { close(descriptor) } }
        var done = 0
        while descriptor >= 0, done < bytes.count {
            let count = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, fileOffset(address, done))
            }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            done += count
        }
        guard done < bytes.count else { return }
        guard let stopped else { throw .fault(address + UInt64(done)) }
        try poke(Array(bytes[done...]), at: address + UInt64(done), thread: stopped)
    }

    /// Makes the process have its own copy of the page before a stop, by writing back the byte that is there.
    /// Only for text: a byte that the process changes meanwhile would be lost.
    public func copyOnWrite(pageOf address: RemoteAddress) throws(ProcessError) {
        try writeForced(try read(address, count: 1), at: address)
    }

    /// One system call for all transfers; the kernel's result.
    func transfer(_ transfers: [lp_transfer]) -> Int { lp_read_memory(thread, transfers, transfers.count) }

    private func checkCount(_ count: Int) throws(ProcessError) {
        guard count >= 0, count <= RemoteMemory.maximumCount else { throw .malformed("length \(count)") }
    }

    private func readForced(_ address: RemoteAddress, into base: UnsafeMutableRawPointer, _ count: Int) -> Int {
        let descriptor = open("/proc/\(thread)/mem", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var done = 0
        while done < count {
            let n = pread(descriptor, base + done, count - done, fileOffset(address, done))
            if n < 0, errno == EINTR { continue }
            if n <= 0 { break }
            done += n
        }
        return done
    }

    /// Eight aligned bytes at a time, the neighbours of the edges kept.
    private func poke(_ bytes: [UInt8], at address: RemoteAddress, thread: Int32) throws(ProcessError) {
        var done = 0
        while done < bytes.count {
            let place = address + UInt64(done)
            let word = RemoteAddress(place.rawValue & ~7)
            let offset = Int(place.rawValue & 7)
            let count = min(8 - offset, bytes.count - done)
            var value: UInt64 = 0
            let peeked = withUnsafeMutablePointer(to: &value) {
                lp_ptrace(LP_PEEKDATA, thread, word.rawValue, UInt64(UInt(bitPattern: $0)))
            }
            guard peeked == 0 else { throw .fault(place) }
            withUnsafeMutableBytes(of: &value) { raw in
                for index in 0..<count { raw[offset + index] = bytes[done + index] }
            }
            guard lp_ptrace(LP_POKEDATA, thread, word.rawValue, value) == 0 else { throw .fault(place) }
            done += count
        }
    }
}

private func fileOffset(_ address: RemoteAddress, _ done: Int) -> off_t {
    off_t(truncatingIfNeeded: address.rawValue) &+ off_t(done)
}
