/// Protection of a new mapping. There is none that is writable and executable.
public enum RemoteProtection: UInt64, Sendable {
    case readOnly = 1
    case readWrite = 3
    case readExecute = 5
}

extension RemoteCaller {
    /// A private anonymous mapping exactly there; never over another (MAP_FIXED_NOREPLACE).
    ///
    /// - Parameters:
    ///   - size: in bytes, a multiple of 4,096.
    ///   - protection: executable memory is made as such: MemoryDenyWriteExecute forbids to make it so later (trap
    ///     mdwe). Fill it through `RemoteMemory.write`.
    /// - Throws: `remoteCall` with EEXIST when something is there by now.
    public mutating func map(
        at address: RemoteAddress, size: UInt64, _ protection: RemoteProtection
    ) throws(ProcessError) {
        let privateAnonymousNoReplace: UInt64 = 0x10_0022
        let result = try systemCall(
            9, address.rawValue, size, protection.rawValue, privateAnonymousNoReplace, .max, 0)
        if result < 0, result >= -4095 { throw .remoteCall(name: "mmap", errno: Int32(-result)) }
        let place = RemoteAddress(UInt64(bitPattern: result))
        guard place == address else {
            // A kernel before 4.17 takes the address as a hint.
            try unmap(RemoteRange(start: place, count: size))
            throw .remoteCall(name: "mmap", errno: 17)
        }
    }

    /// Gives a part of an executable mapping of ours another protection: no process may be forbidden that (trap mdwe).
    public mutating func protect(_ range: RemoteRange, _ protection: RemoteProtection) throws(ProcessError) {
        let result = try systemCall(10, range.start.rawValue, range.count, protection.rawValue)
        if result < 0 { throw .remoteCall(name: "mprotect", errno: Int32(truncatingIfNeeded: -result)) }
    }

    public mutating func unmap(_ range: RemoteRange) throws(ProcessError) {
        let result = try systemCall(11, range.start.rawValue, range.count)
        if result < 0 { throw .remoteCall(name: "munmap", errno: Int32(truncatingIfNeeded: -result)) }
    }
}
