import Diagnostics
import ElfFormat
import Glibc
import ProcessControl

/// A process as it is while it runs: its memory, and its mappings at one moment.
package struct ProcessView: Sendable {
    package let pid: Int32
    package let memory: RemoteMemory
    package var map: MemoryMap
    /// `AT_PHDR` of the auxiliary vector: where the executable's program headers lie.
    let programHeaderAddress: UInt64

    package init(pid: Int32) throws {
        self.pid = pid
        memory = RemoteMemory(pid: pid)
        map = try memory.map()
        programHeaderAddress = try auxiliaryValue(of: memory, type: 3)
    }

    package mutating func refresh() throws { map = try memory.map() }

    package func mapping(containing address: UInt64) -> MemoryMapping? {
        map.mapping(containing: RemoteAddress(address))
    }

    /// Exactly `count` bytes; the subject names what they are in a refusal.
    package func read(_ address: UInt64, _ count: UInt64, subject: String? = nil) throws -> CheckedBytes {
        let subject = subject ?? "pid \(pid)"
        guard count <= UInt64(RemoteMemory.maximumCount) else {
            throw Refusal(.unsupportedProcess, subject: subject, why: "a table in its memory claims \(count) bytes")
        }
        let bytes: [UInt8]
        do throws(ProcessError) {
            bytes = try memory.read(RemoteAddress(address), count: Int(count))
        } catch {
            guard case .fault(let place) = error else { throw error }
            throw Refusal(
                .unsupportedProcess, subject: subject, why: "a table in its memory leads to \(place), where nothing is")
        }
        return CheckedBytes(bytes, rule: .unsupportedProcess, subject: subject)
    }

    /// Whether every byte of `[address, address + count)` lies in mappings that fulfil the condition.
    package func isCovered(_ address: UInt64, _ count: UInt64, _ condition: (MemoryMapping) -> Bool) -> Bool {
        let (end, overflow) = address.addingReportingOverflow(count)
        guard !overflow else { return false }
        var place = address
        while place < end {
            guard let mapping = mapping(containing: place), condition(mapping) else { return false }
            place = mapping.end.rawValue
        }
        return true
    }
}

/// One value of `/proc/PID/auxv`; 0 when it is not there.
private func auxiliaryValue(of memory: RemoteMemory, type: UInt64) throws -> UInt64 {
    let pid = memory.pid
    let bytes = CheckedBytes(
        try readAll(memory.open("auxv"), "/proc/\(pid)/auxv", pid: pid), rule: .unsupportedProcess,
        subject: "pid \(pid)")
    for index in 0..<bytes.count / 16 where try bytes.u64(index * 16) == type { return try bytes.u64(index * 16 + 8) }
    return 0
}

/// A small file of `/proc`.
func readAll(_ path: String, pid: Int32) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    return try readAll(descriptor < 0 ? -errno : descriptor, path, pid: pid)
}

/// The same from a descriptor, which is closed; negative: why there is none.
private func readAll(_ descriptor: Int32, _ path: String, pid: Int32) throws -> [UInt8] {
    guard descriptor >= 0 else {
        if -descriptor == ENOENT || -descriptor == ESRCH { throw ProcessError.noSuchProcess(pid: pid) }
        throw ProcessError.noPermission(pid: pid, operation: path)
    }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return bytes }
        bytes += buffer[..<count]
    }
}
