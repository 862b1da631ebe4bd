import Testing

@testable import BuildGraph

private func call(_ line: String) throws -> TraceCall { try #require(TraceCall(TraceText(Array(line.utf8)))) }

private func events(_ text: String) -> (events: [TraceEvent], strange: Int) {
    var reader = TraceReader()
    let events = reader.read(Array(text.utf8))
    return (events, reader.strangeLines)
}

/// How strace 6.1 writes what builds do.
@Suite struct TraceTests {
    @Test func `a call is read with the files of its descriptors`() throws {
        let call = try call(#"openat(AT_FDCWD</tmp/t>, "sub/h.h", O_RDONLY|O_NOCTTY) = 3</tmp/t/sub/h.h>"#)
        #expect(call.name == "openat" && call.result == 3 && call.isDone)
        #expect(call.arguments == [.currentDirectory("/tmp/t"), .text("sub/h.h"), .other("O_RDONLY|O_NOCTTY")])
        #expect(call.file == TracedFile(path: "/tmp/t/sub/h.h"))
    }

    @Test func `a failed call has its error`() throws {
        let call = try call(#"access("/etc/ld.so.preload", R_OK) = -1 ENOENT (No such file or directory)"#)
        #expect(!call.isDone && call.error == "ENOENT" && call.arguments.first == .text("/etc/ld.so.preload"))
    }

    @Test func `names keep every character`() throws {
        let call = try call(
            #"openat(AT_FDCWD</tmp/t>, "we>ird \"a\"\t\303\251\n\\(deleted)", O_RDONLY) = 3</tmp/t/we\76ird \"a\"\t\303\251\n\\(deleted)>"#
        )
        #expect(call.argument(1) == .text("we>ird \"a\"\té\n\\(deleted)"))
        #expect(call.file == TracedFile(path: "/tmp/t/we>ird \"a\"\té\n\\(deleted)"))
    }

    @Test func `an octal escape ends where a digit stands that is none of its own`() throws {
        #expect(try call(#"chdir("a\18b\0379") = 0"#).argument(0) == .text("a\u{1}8b\u{1f}9"))
    }

    @Test func `a file that is gone is told from a name`() throws {
        let call = try call("dup2(4</tmp/t/x>(deleted), 0) = 0</tmp/t/x>(deleted)")
        #expect(call.file == TracedFile(path: "/tmp/t/x", isDeleted: true))
    }

    @Test func `lists and structures are read`() throws {
        let pipe = try call("pipe2([3<pipe:[57]>, 5<pipe:[57]>], O_CLOEXEC) = 0")
        let end = TracedFile(path: "pipe:[57]")
        #expect(pipe.argument(0) == .list([.descriptor(3, end), .descriptor(5, end)]) && end.pipe == 57)
        let clone = try call(
            "clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f, stack_size=0x9}, 88) = 12")
        #expect(clone.argument(0)?.words.contains("CLONE_VFORK") == true && clone.result == 12)
        let exec = try call(#"execve("/bin/sh", ["sh", "-c", "a, b)] = 0"], ["A=1", "B="]) = 0"#)
        #expect(exec.argument(1) == .list([.text("sh"), .text("-c"), .text("a, b)] = 0")]))
        #expect(exec.argument(2) == .list([.text("A=1"), .text("B=")]))
    }

    @Test func `calls that overlap are put together`() throws {
        let text = """
            7 vfork( <unfinished ...>
            8 execve("/bin/true", ["true"], [] <unfinished ...>
            7 <... vfork resumed>) = 8
            8 <... execve resumed>) = 0
            8 +++ exited with 3 +++
            7 +++ killed by SIGTERM +++

            """
        let read = events(text)
        #expect(read.strange == 0)
        guard read.events.count == 4, case .call(let fork) = read.events[0].kind,
            case .call(let exec) = read.events[1].kind
        else {
            Issue.record("\(read.events)")
            return
        }
        #expect(fork.name == "vfork" && fork.result == 8 && exec.name == "execve" && exec.isDone)
        #expect(read.events[2].kind == .ended(3) && read.events[3].kind == .ended(143))
    }

    @Test func `a program that a thread runs is its process's`() {
        let text = """
            92 execve("/usr/bin/true", ["true"], ["A=1"] <pid changed to 91 ...>
            91 +++ superseded by execve in pid 92 +++
            91 <... execve resumed>) = -1 (errno 18446744073709551595)

            """
        let read = events(text)
        #expect(read.strange == 0 && read.events.count == 2)
        #expect(read.events.last == TraceEvent(thread: 91, kind: .superseded(by: 92)))
    }

    @Test func `pieces of any size give the same`() {
        let text = "1 chdir(\"/a\") = 0\n2 chdir(\"/b\") = 0\n2 chdir(\"/cut"
        var whole: [TraceEvent] = []
        var reader = TraceReader()
        for byte in text.utf8 { whole += reader.read([byte]) }
        #expect(whole == events(text).events && whole.count == 2 && reader.isCut)
    }

    @Test func `no line ends the process`() {
        let lines = [
            "1 openat(AT_FDCWD</tmp/t>, \"a\\303\", O_RDONLY|O_CREAT, 0666) = 3</tmp/t/a\\76>(deleted)",
            "1 pipe2([3<pipe:[5]>, 4<pipe:[5]>], 0) = 0", "12 clone3({flags=CLONE_VM, x={y=[1, 2]}}, 88) = 13",
            "1 execve(\"/bin/sh\", [\"sh\", \"-c\"...], [\"A=\\\"\"]) = 0", "3 <... x resumed>) = 0",
            "4 +++ exited with 1 +++",
        ]
        for line in lines {
            let bytes = Array(line.utf8)
            for end in bytes.indices {
                var reader = TraceReader()
                _ = reader.read(Array(bytes[..<end]) + [10])
                var other = TraceReader()
                var changed = bytes
                changed[end] = UInt8(truncatingIfNeeded: end &* 37)
                _ = other.read(changed + [10])
            }
        }
    }
}
