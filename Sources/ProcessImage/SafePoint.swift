import ElfFormat
import ProcessControl

/// Proof that code of the process may be called on a thread where it stands (trap unsafe-point).
///
/// The thread is in a system call that waits, made by the C library's function for just that call; exact unwinding reaches
/// the stack's end, and no other frame is of an object that has locks which the code might need: allocator, stdio,
/// ld.so, pthread, unwinder. What the program's own locks protect, the caller's code must not touch.
package struct SafePoint {
    private let view: ProcessView
    private let linkMap: LinkMap
    /// Bytes of stack that the code may need.
    private let room: UInt64
    private var unwinder: Unwinder
    private var known: [UInt64: Library] = [:]

    /// What is known of one object.
    private struct Library {
        /// Has locks of the kind that matters.
        var isRuntime: Bool
        /// Exported functions by address: several names may have one.
        var functions: [(start: UInt64, end: UInt64, name: String)]

        func names(at address: UInt64) -> [String] {
            functions.filter { address >= $0.start && address < $0.end }.map(\.name)
        }
    }

    package init(view: ProcessView, linkMap: LinkMap, room: UInt64) {
        self.view = view
        self.linkMap = linkMap
        self.room = room
        unwinder = Unwinder(memory: view.memory, map: view.map)
    }

    /// Defined by an object whose frames must not be interrupted.
    private static let marks: Set<String> = [
        "malloc", "pthread_mutex_lock", "fwrite", "dlopen", "_dl_find_object", "__tls_get_addr",
        "_Unwind_RaiseException",
    ]

    /// The C library's functions that do nothing but wait in a system call, and the calls' numbers.
    private static let waits: [String: Set<UInt64>] = {
        var table: [String: Set<UInt64>] = [
            "read": [0], "write": [1], "readv": [19], "writev": [20], "recv": [45], "recvfrom": [45], "recvmsg": [47],
            "recvmmsg": [299], "send": [44], "sendto": [44], "sendmsg": [46], "accept": [43], "accept4": [288],
            "connect": [42], "poll": [7, 219], "ppoll": [271], "select": [23, 270], "pselect": [270],
            "epoll_wait": [232, 281], "epoll_pwait": [281], "epoll_pwait2": [441], "pause": [34],
            "sigsuspend": [130], "sigwait": [128], "sigwaitinfo": [128], "sigtimedwait": [128],
            "waitid": [247], "msgrcv": [70], "semop": [65], "semtimedop": [220], "flock": [73],
        ]
        for name in ["nanosleep", "clock_nanosleep", "usleep", "sleep", "thrd_sleep"] { table[name] = [35, 230, 219] }
        for name in ["wait", "wait3", "wait4", "waitpid"] { table[name] = [61] }
        for (name, calls) in table { table["__" + name] = calls }
        table["__libc_read"] = [0]
        table["__select"] = [23, 270]
        return table
    }()

    /// Of these, an executable with an allocator inside makes none while it holds its locks.
    private static let idle: Set<UInt64> = [7, 23, 34, 43, 45, 47, 128, 130, 232, 270, 271, 281, 288, 441]
    private static let starts: Set<String> = ["__libc_start_main", "clone", "__clone", "clone3", "__clone3"]

    /// Why nothing may be called on the thread as it stands; nil when it may.
    package mutating func objection(_ thread: StoppedThread) -> String? {
        guard let call = thread.systemCall else { return "is not in a system call" }
        let pointer = thread.stackPointer
        guard let stack = view.map.mapping(containing: pointer) else { return "has a new stack" }
        guard stack.kind == .stack || pointer.distance(from: stack.start) >= room else {
            return "has too little room on its stack"
        }
        let count = Int(min(stack.end.distance(from: pointer), 8 << 20))
        guard let copy = try? view.memory.readPrefix(pointer, count: count) else { return "has an unreadable stack" }
        let unwound = copy.withUnsafeBytes {
            unwinder.unwind(registers: thread.registers, stack: $0, start: pointer)
        }
        if let why = unwound.incomplete { return "can't be unwound: \(why)" }
        return objection(unwound.frames, call)
    }

    private mutating func objection(_ frames: [UnwoundFrame], _ call: UInt64) -> String? {
        var middle = frames[...]
        // `_start` of the main thread; then the C library's own start functions, which are not all exported.
        if let last = middle.last, !isRuntime(last) { middle.removeLast() }
        for _ in 0..<2 {
            guard middle.count > 1, let last = middle.last, isRuntime(last) else { break }
            let names = names(at: last)
            guard names.isEmpty || names.contains(where: SafePoint.starts.contains) else { break }
            middle.removeLast()
        }
        guard let first = middle.first else { return "is in an unknown place" }
        var hasNamed = false
        if isRuntime(first) {
            // Newer C libraries have unnamed helpers between the call and the function: glibc 2.41 has six frames of its own in
            // `usleep`, three of them unnamed.
            for _ in 0..<8 {
                guard let frame = middle.first, isRuntime(frame) else { break }
                let names = names(at: frame)
                if names.isEmpty, hasNamed { break }
                guard names.isEmpty || names.contains(where: { SafePoint.waits[$0]?.contains(call) ?? false }) else {
                    return "is in \(names[0])"
                }
                hasNamed = hasNamed || !names.isEmpty
                middle.removeFirst()
            }
        } else {
            hasNamed = SafePoint.idle.contains(call)
        }
        guard hasNamed else { return "is in system call \(call) of an unknown function" }
        for (frame, outer) in zip(middle, middle.dropFirst().map { Optional($0) } + [nil]) {
            if isRuntime(frame) ? isStart(frame, calledBy: outer) : !(frame.isInterrupted && frame != frames[0]) {
                continue
            }
            return "is in \(object(at: frame)?.file ?? "unknown code")"
        }
        guard isAllocatorInside, !SafePoint.idle.contains(call) else { return nil }
        return "is in a call that the program's own allocator may make"
    }

    /// A function that starts the program, or its unnamed helper: it holds no lock, whoever has called it (a preloaded library
    /// may define `__libc_start_main`, and call the C library's own).
    private mutating func isStart(_ frame: UnwoundFrame, calledBy outer: UnwoundFrame?) -> Bool {
        let names = names(at: frame)
        if names.contains(where: SafePoint.starts.contains) { return true }
        guard names.isEmpty, let outer, isRuntime(outer) else { return false }
        return self.names(at: outer).contains(where: SafePoint.starts.contains)
    }

    /// The executable defines `malloc`: its frames can't be told apart.
    private var isAllocatorInside: Bool {
        mutating get {
            guard let executable = linkMap.objects.first else { return true }
            return library(executable).isRuntime
        }
    }

    private mutating func isRuntime(_ frame: UnwoundFrame) -> Bool {
        guard let object = object(at: frame) else { return true }
        return object.bias != linkMap.objects.first?.bias && library(object).isRuntime
    }

    private mutating func names(at frame: UnwoundFrame) -> [String] {
        object(at: frame).map { library($0).names(at: frame.lookupAddress.rawValue) } ?? []
    }

    private func object(at frame: UnwoundFrame) -> LoadedObject? {
        linkMap.objects.first { $0.contains(frame.lookupAddress.rawValue) }
    }

    private mutating func library(_ object: LoadedObject) -> Library {
        if let library = known[object.bias] { return library }
        var library = Library(isRuntime: false, functions: [])
        if let tables = try? view.tables(of: object) {
            for symbol in tables.symbols
            where symbol.isDefined && (symbol.kind == STT.function || symbol.kind == STT.indirect) {
                guard let name = try? tables.name(of: symbol) else { continue }
                library.isRuntime = library.isRuntime || SafePoint.marks.contains(name)
                let start = object.bias &+ symbol.value
                library.functions.append((start, start &+ symbol.size, name))
            }
        } else {
            library.isRuntime = true
        }
        known[object.bias] = library
        return library
    }
}
