import CLinuxPtrace
import Glibc

/// Code that the process has anyway and that a borrowed thread runs: nothing is written for it.
struct CallGadgets {
    /// `syscall; ret`
    let call: RemoteAddress
    /// `mov $15, %rax` (or `%eax`); `syscall`: rt_sigreturn.
    let restorer: RemoteAddress
    private let restorerLength: Int

    private static let callBytes: [UInt8] = [0x0f, 0x05, 0xc3]
    private static let restorerBytes: [[UInt8]] = [
        [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05], [0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05],
    ]
    /// A mapping is searched this far, in bytes: a size of the process's choosing must not cost us more.
    private static let searchLimit: UInt64 = 64 << 20

    /// Looks in the vdso, then the C library, then everything else that is executable and from a file.
    static func find(in map: MemoryMap, of memory: RemoteMemory) throws(ProcessError) -> CallGadgets {
        var call: RemoteAddress?
        var restorer: (place: RemoteAddress, length: Int)?
        for mapping in map.mappings.filter(\.isExecutable).sorted(by: { rank($0) < rank($1) }) {
            guard rank(mapping) < 4, call == nil || restorer == nil else { continue }
            let count = Int(min(mapping.range.count, searchLimit))
            let text = try memory.readPrefix(mapping.start, count: count)
            call = call ?? search(text, callBytes).map { mapping.start + $0 }
            for bytes in restorerBytes where restorer == nil {
                restorer = search(text, bytes).map { (mapping.start + $0, bytes.count) }
            }
        }
        guard let call, let restorer else {
            throw .unsupported(pid: memory.pid, what: "no code that makes or returns from a system call was found")
        }
        return CallGadgets(call: call, restorer: restorer.place, restorerLength: restorer.length)
    }

    /// Whether the code is still there for a thread that stands: read through the thread, whose memory may be another
    /// program's by now (trap exec-under-borrow).
    func stand(on tid: Int32, pid: Int32) throws(ProcessError) -> Bool {
        let (callNow, restorerNow) = (
            try peek(tid, pid, call, count: Self.callBytes.count),
            try peek(tid, pid, restorer, count: restorerLength)
        )
        return callNow == Self.callBytes && Self.restorerBytes.contains { $0 == restorerNow }
    }

    /// Whether an instruction of it is the next one.
    func contain(_ place: UInt64) -> Bool {
        RemoteRange(start: call, count: UInt64(Self.callBytes.count)).contains(RemoteAddress(place))
            || RemoteRange(start: restorer, count: UInt64(restorerLength)).contains(RemoteAddress(place))
    }

    /// Nil where nothing is mapped.
    private func peek(
        _ tid: Int32, _ pid: Int32, _ place: RemoteAddress, count: Int
    ) throws(ProcessError) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var word: UInt64 = 0
            let result = withUnsafeMutablePointer(to: &word) {
                lp_ptrace(LP_PEEKDATA, tid, (place + UInt64(bytes.count)).rawValue, UInt64(UInt(bitPattern: $0)))
            }
            if result == -Int(ESRCH) { throw .vanished(pid: pid) }
            guard result == 0 else { return nil }
            bytes += withUnsafeBytes(of: word) { Array($0) }
        }
        return Array(bytes[..<count])
    }

    private static func rank(_ mapping: MemoryMapping) -> Int {
        if mapping.path == "[vdso]" { return 0 }
        guard mapping.kind == .file, !mapping.isWritable else { return 4 }
        let name = mapping.path.split(separator: "/").last ?? ""
        if name.hasPrefix("libc.") || name.hasPrefix("libc-") { return 1 }
        return name.hasPrefix("ld-") ? 2 : 3
    }

    private static func search(_ text: [UInt8], _ bytes: [UInt8]) -> UInt64? {
        let offset = lp_find(text, text.count, bytes, bytes.count)
        return offset < 0 ? nil : UInt64(offset)
    }
}
