import CLinuxPtrace
import Glibc

/// Another process's memory, read and written from outside while it runs or is stopped.
///
/// It is the memory that the process had when this was made: never another program's (trap pid-reuse). It is reached
/// through `/proc/PID/mem`, since `process_vm_readv` would give the process copies of its own of pages that it shares with
/// its forks (trap cow-unshare).
///
/// A read can block without end on a page that user space or a dead file server must provide (trap blocked-read): call
/// it inside `runTracer`, whose deadline ends it.
public struct RemoteMemory: Sendable {
    /// No single read or write is longer, in bytes: lengths may come from the process itself.
    public static let maximumCount = 1 << 30

    let process: BoundProcess

    public var pid: Int32 { process.pid }

    public init(pid: Int32) { process = BoundProcess(pid: pid) }

    /// The process's mappings now. Throws `noSuchProcess`, `noPermission`, `vanished` or `malformed`.
    public func map() throws(ProcessError) -> MemoryMap { try process.map() }

    /// A file of the process below `/proc`, to be read; negative: what the kernel said.
    public func open(_ name: String) -> Int32 { process.open(name) }

    /// Throws `vanished` or `executed` unless it is still the same process with the same program: to be asked at the end
    /// of a command, whose answer would be about something else.
    public func checkProcess() throws(ProcessError) { try process.check() }

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
        let descriptor = try descriptor()
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, base + done, buffer.count - done, fileOffset(address, done))
            if count < 0, errno == EINTR { continue }
            // The memory has no user any more; a page that is not there is an error.
            if count == 0 { throw process.ending() }
            if count < 0 { break }
            done += count
        }
        return done
    }

    /// One element per range, nil where any of its bytes faults.
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

    /// Writes whatever the page's protection is, as a debugger does: read-only and executable private pages are copied
    /// on write, never made writable for the process (trap mdwe). Throws `fault`; the bytes before it are written.
    ///
    /// - Parameter stopped: a thread stopped by us, through which to go with PTRACE_POKEDATA where the kernel forbids
    ///   the other way (`proc_mem.force_override`).
    public func write(
        _ bytes: [UInt8], at address: RemoteAddress, through stopped: Int32? = nil
    ) throws(ProcessError) {
        try checkCount(bytes.count)
        let descriptor = try descriptor()
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, fileOffset(address, done))
            }
            if count < 0, errno == EINTR { continue }
            if count == 0 { throw process.ending() }
            if count < 0 { break }
            done += count
        }
        guard done < bytes.count else { return }
        guard let stopped else { throw .fault(address + UInt64(done)) }
        try poke(Array(bytes[done...]), at: address + UInt64(done), thread: stopped)
    }

    /// Makes the process have its own copy of the page before a stop, by writing back the byte that is there.
    /// Only for text: a byte that the process changes meanwhile would be lost.
    public func copyOnWrite(pageOf address: RemoteAddress) throws(ProcessError) {
        try write(try read(address, count: 1), at: address)
    }

    /// What became of a process that took a standing thread away from us: it exits, or another of its threads calls exec.
    func ending(seenAt address: RemoteAddress) -> ProcessError {
        for _ in 0..<2000 {
            do throws(ProcessError) { _ = try readPrefix(address, count: 1) } catch { return error }
            lp_sleep_ns(1_000_000)
        }
        return .vanished(pid: pid)
    }

    private func descriptor() throws(ProcessError) -> Int32 {
        guard process.memory >= 0 else { throw procError(-process.memory, "/proc/\(pid)/mem", pid: pid) }
        return process.memory
    }

    private func checkCount(_ count: Int) throws(ProcessError) {
        guard count >= 0, count <= RemoteMemory.maximumCount else { throw .malformed("length \(count)") }
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
