import CLinuxPtrace
import Glibc

/// The registers of a stopped thread, as the kernel's `user_regs_struct`.
public typealias Registers = lp_registers

func errnoName(_ number: Int32) -> String { String(cString: strerror(number)) }

/// The typed error for a failed call on `pid`.
func processError(_ result: Int, _ operation: String, pid: Int32) -> ProcessError {
    switch Int32(truncatingIfNeeded: -result) {
    case ESRCH: .vanished(pid: pid)
    case EPERM, EACCES: .noPermission(pid: pid, operation: operation)
    case let number: .systemCall(name: operation, errno: number)
    }
}

/// The whole of a `/proc` file, which has no size to ask for.
func readProcFile(_ path: String, pid: Int32, limit: Int = 1 << 28) throws(ProcessError) -> [UInt8] {
    try readProcFile(below: AT_FDCWD, path, pid: pid, limit: limit)
}

/// The same below an open directory.
func readProcFile(
    below directory: Int32, _ path: String, pid: Int32, limit: Int = 1 << 28
) throws(ProcessError) -> [UInt8] {
    let descriptor = openat(directory, path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw procError(errno, path, pid: pid) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < limit {
        let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw procError(errno, path, pid: pid) }
        if count == 0 { break }
        bytes += chunk[..<count]
    }
    return bytes
}

func procError(_ number: Int32, _ path: String, pid: Int32) -> ProcessError {
    switch number {
    case ENOENT, ESRCH: .noSuchProcess(pid: pid)
    case EACCES, EPERM: .noPermission(pid: pid, operation: "reading \(path)")
    default: .systemCall(name: path, errno: number)
    }
}

/// The names in a `/proc` directory that are numbers.
func numbersInDirectory(_ path: String, pid: Int32) throws(ProcessError) -> [Int32] {
    try numbersInDirectory(below: AT_FDCWD, path, pid: pid)
}

/// The same below an open directory.
func numbersInDirectory(below parent: Int32, _ path: String, pid: Int32) throws(ProcessError) -> [Int32] {
    let descriptor = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw procError(errno, path, pid: pid) }
    guard let directory = fdopendir(descriptor) else {
        close(descriptor)
        throw .systemCall(name: path, errno: errno)
    }
    defer { closedir(directory) }
    var numbers: [Int32] = []
    while let entry = readdir(directory) {
        let number = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: UInt8.self, capacity: 256) { parseDecimal($0) }
        }
        if let number { numbers.append(number) }
    }
    return numbers
}

private func parseDecimal(_ name: UnsafePointer<UInt8>) -> Int32? {
    var value: Int32 = 0
    var index = 0
    while name[index] != 0 {
        guard index < 9, name[index] >= 48, name[index] <= 57 else { return nil }
        value = value * 10 + Int32(name[index] - 48)
        index += 1
    }
    return index > 0 ? value : nil
}
