import Diagnostics
import Glibc
import Toolchain

/// Bear's parts talk to each other by gRPC, at a port of the name `localhost`.
///
/// - Throws: `Failure`, which says what is wrong with this machine and what to do. Bear itself only prints gRPC's errors.
func requireLoopback() throws {
    var addresses: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo("localhost", nil, nil, &addresses) == 0 else {
        throw Failure(
            "the name localhost is unknown on this machine, and Bear, which watches the build, needs it: "
                + "add the line '127.0.0.1 localhost' to /etc/hosts, or apt install libnss-myhostname")
    }
    freeaddrinfo(addresses)
    guard loopbackCarries() else {
        throw Failure(
            "nothing can be sent over loopback (127.0.0.1: \(String(cString: strerror(errno)))), and Bear, which watches "
                + "the build, needs it: bring it up with ip link set lo up, or allow it in the sandbox")
    }
}

/// A connection from this process to itself.
private func loopbackCarries() -> Bool {
    let (listener, caller) = (tcpSocket(), tcpSocket())
    defer {
        let code = errno
        close(listener)
        close(caller)
        errno = code
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            bind(listener, address, size) == 0 && listen(listener, 1) == 0 && getsockname(listener, address, &size) == 0
                && connect(caller, address, size) == 0
        }
    }
}

private func tcpSocket() -> Int32 { socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) }
