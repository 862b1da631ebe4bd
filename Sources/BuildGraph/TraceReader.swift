/// What the trace says of one thread.
struct TraceEvent: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case call(TraceCall)
        /// With its status; 128 + signal where it was killed.
        case ended(Int32)
        /// Another thread of its process ran a program, and bears this thread's number from then on.
        case superseded(by: Int)
    }

    var thread: Int
    var kind: Kind
}

/// Makes events of what strace writes: bytes as they come, in pieces of any size.
///
/// Calls of several threads overlap. Then strace prints the beginning of a call, and its end on a later line. The event comes
/// with the end.
struct TraceReader {
    private var rest: [UInt8] = []
    private var begun: [Int: [UInt8]] = [:]
    /// Lines that are none of strace's: a sign that the trace is damaged.
    private(set) var strangeLines = 0

    /// The events of all lines that `bytes` complete.
    mutating func read(_ bytes: some Sequence<UInt8>) -> [TraceEvent] {
        rest += bytes
        var events: [TraceEvent] = []
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: 0x0a) {
            events += event(Array(rest[start..<end]))
            start = end + 1
        }
        rest.removeSubrange(..<start)
        return events
    }

    /// A line without an end is one that was cut off.
    var isCut: Bool { !rest.isEmpty }

    private mutating func event(_ line: [UInt8]) -> [TraceEvent] {
        var text = TraceText(line)
        guard let thread = text.number() else {
            strangeLines += 1
            return []
        }
        text.skipSpaces()
        if text.takes("+++ ") { return ending(thread, &text) }
        if text.takes("--- ") { return [] }
        if text.takes("<... ") {
            guard let start = begun.removeValue(forKey: thread) else { return [] }
            _ = text.word()
            guard text.takes(" resumed>") else { return strange() }
            return finished(thread, start + line[text.offset...])
        }
        return finished(thread, Array(line[text.offset...]))
    }

    private mutating func finished(_ thread: Int, _ call: [UInt8]) -> [TraceEvent] {
        if let start = beginning(call) {
            begun[thread] = start
            return []
        }
        guard let call = TraceCall(TraceText(call)) else { return strange() }
        return [TraceEvent(thread: thread, kind: .call(call))]
    }

    private mutating func strange() -> [TraceEvent] {
        strangeLines += 1
        return []
    }

    /// `call` without the mark that it goes on later; nil where it has none.
    private func beginning(_ call: [UInt8]) -> [UInt8]? {
        let marks: [StaticString] = [" <unfinished ...>", "<unfinished ...>"]
        for mark in marks {
            let length = mark.utf8CodeUnitCount
            if call.count >= length, mark.withUTF8Buffer({ call.suffix(length).elementsEqual($0) }) {
                return Array(call.dropLast(length))
            }
        }
        // A thread that is not its process's first one runs a program.
        guard call.ends(with: Array(" ...>".utf8)), let mark = call.lastIndex(of: UInt8(ascii: "<")),
            call[mark...].starts(with: Array("<pid changed to ".utf8))
        else { return nil }
        return Array(call[..<mark].dropLast())
    }

    private mutating func ending(_ thread: Int, _ text: inout TraceText) -> [TraceEvent] {
        if text.takes("exited with "), let status = text.number() {
            begun[thread] = nil
            return [TraceEvent(thread: thread, kind: .ended(Int32(truncatingIfNeeded: status)))]
        }
        if text.takes("killed by ") {
            begun[thread] = nil
            return [TraceEvent(thread: thread, kind: .ended(128 + signalNumber(text.word())))]
        }
        if text.takes("superseded by execve in pid "), let other = text.number() {
            begun[thread] = nil
            let event = TraceEvent(thread: thread, kind: .superseded(by: other))
            guard var exec = begun.removeValue(forKey: other) else { return [event] }
            exec += Array(") = 0".utf8)
            guard let call = TraceCall(TraceText(exec)) else { return [event] }
            return [TraceEvent(thread: other, kind: .call(call)), event]
        }
        return strange()
    }
}

extension [UInt8] {
    fileprivate func ends(with other: [UInt8]) -> Bool { suffix(other.count).elementsEqual(other) }
}

/// Those that end a process of a build; others count as 0.
private func signalNumber(_ name: String) -> Int32 {
    let numbers: [String: Int32] = [
        "SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGILL": 4, "SIGTRAP": 5, "SIGABRT": 6, "SIGBUS": 7, "SIGFPE": 8,
        "SIGKILL": 9, "SIGUSR1": 10, "SIGSEGV": 11, "SIGUSR2": 12, "SIGPIPE": 13, "SIGALRM": 14, "SIGTERM": 15,
        "SIGXCPU": 24, "SIGXFSZ": 25, "SIGSYS": 31,
    ]
    return numbers[name] ?? 0
}
