import CLinuxPtrace

/// Code that the process has anyway and that a borrowed thread runs: nothing is written for it.
struct CallGadgets {
    /// `syscall; ret`
    let call: RemoteAddress
    /// `mov $15, %rax` (or `%eax`); `syscall`: rt_sigreturn.
    let restorer: RemoteAddress

    private static let callBytes: [UInt8] = [0x0f, 0x05, 0xc3]
    private static let restorerBytes: [[UInt8]] = [
        [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05], [0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05],
    ]
    /// A mapping is searched this far, in bytes: a size of the process's choosing must not cost us more.
    private static let searchLimit: UInt64 = 64 << 20

    /// Looks in the vdso, then the C library, then everything else that is executable and from a file.
    static func find(in map: MemoryMap, of memory: RemoteMemory) throws(ProcessError) -> CallGadgets {
        var (call, restorer): (RemoteAddress?, RemoteAddress?)
        for mapping in map.mappings.filter(\.isExecutable).sorted(by: { rank($0) < rank($1) }) {
            guard rank(mapping) < 4, call == nil || restorer == nil else { continue }
            let count = Int(min(mapping.range.count, searchLimit))
            let text = try memory.readPrefix(mapping.start, count: count)
            call = call ?? search(text, callBytes).map { mapping.start + $0 }
            restorer = restorer ?? restorerBytes.lazy.compactMap { search(text, $0) }.first.map { mapping.start + $0 }
        }
        guard let call, let restorer else {
            throw .unsupported(pid: memory.pid, what: "no code that makes or returns from a system call was found")
        }
        return CallGadgets(call: call, restorer: restorer)
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
