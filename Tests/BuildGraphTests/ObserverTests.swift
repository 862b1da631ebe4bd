import TestSupport
import Testing

@testable import BuildGraph

/// Follows a trace that is written by hand: of calls in an order that real builds have only now and then.
private func observed(_ trace: String, directory: String = "/t") -> BuildObserver {
    var reader = TraceReader()
    var observer = BuildObserver(directory: directory)
    for event in reader.read(Array((trace + "\n").utf8)) { observer.take(event) }
    observer.finish()
    return observer
}

extension BuildObserver {
    /// Paths of what a process read.
    fileprivate func reads(_ process: Int) -> [String] {
        guard processes.indices.contains(process) else { return ["no such process"] }
        return processes[process].reads.sorted().map { history.paths[history.versions[$0].path] }
    }

    /// The makers of what is at a path now.
    fileprivate func makers(_ path: String) -> [Int] {
        guard let number = history.paths.firstIndex(of: path), let version = history.current[number] else { return [] }
        return history.versions[version].makers
    }
}

@Suite struct ObserverTests {
    @Test func `a child that is seen before its parent's fork returns is the parent's`() {
        let observer = observed(
            """
            1 execve("/p/sh", ["sh"], ["A=1"]) = 0
            1 chdir("/t/sub") = 0
            1 vfork( <unfinished ...>
            2 openat(AT_FDCWD</t/sub>, "out", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 1</t/sub/out>
            2 execve("/p/one", ["one"], ["A=2"]) = 0
            1 <... vfork resumed>) = 2
            2 +++ exited with 0 +++
            1 vfork( <unfinished ...>
            2 execve("/p/two", ["two"], ["A=1"] <unfinished ...>
            1 <... vfork resumed>) = 2
            2 <... execve resumed>) = 0
            2 +++ exited with 4 +++
            1 +++ exited with 0 +++
            """)
        #expect(observer.processes.map { $0.runs.map(\.arguments) } == [[["sh"]], [["one"]], [["two"]]])
        #expect(observer.processes.map(\.parent) == [nil, 0, 0] && observer.processes.map(\.status) == [0, 0, 4])
        #expect(observer.processes.last?.runs.first?.directory == "/t/sub")
        #expect(observer.processes.map { $0.runs.first?.environment.keys.sorted() } == [[], ["A"], []])
        #expect(observer.makers("/t/sub/out") == [1] && observer.running.isEmpty && observer.hasEnded)
    }

    @Test func `threads are of their process, and a directory may be shared`() {
        let observer = observed(
            """
            1 execve("/p/x", ["x"], []) = 0
            1 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 2
            2 chdir("/a") = 0
            1 open("b", O_RDONLY) = 3</a/b>
            1 clone(child_stack=NULL, flags=CLONE_FS|SIGCHLD) = 3
            3 chdir("/c") = 0
            1 creat("d", 0666) = 4</c/d>
            2 execve("/p/y", ["y"], [] <pid changed to 1 ...>
            1 +++ superseded by execve in pid 2 +++
            1 open("e", O_RDONLY) = 3</c/e>
            """)
        #expect(observer.processes.count == 2)
        #expect(observer.reads(0) == ["/p/x", "/a/b", "/p/y", "/c/e"])
        #expect(observer.makers("/c/d") == [0])
        #expect(observer.processes.first?.runs.map(\.directory) == ["/t", "/c"])
    }

    @Test func `what a shell opens for its children is theirs`() {
        let observer = observed(
            """
            1 execve("/p/sh", ["sh"], []) = 0
            1 openat(AT_FDCWD</t>, "list", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</t/list>
            1 dup2(3</t/list>, 1) = 1</t/list>
            1 fork() = 2
            2 execve("/p/one", ["one"], []) = 0
            1 fork() = 3
            3 +++ exited with 0 +++
            1 dup2(9</dev/null>, 1</t/list>) = 1</dev/null>
            1 fork() = 4
            4 execve("/p/two", ["two"], []) = 0
            """)
        #expect(observer.makers("/t/list") == [0, 1, 2])
    }

    @Test func `what is written and renamed has its history`() {
        let observer = observed(
            """
            1 execve("/p/x", ["x"], []) = 0
            1 openat(AT_FDCWD</t>, "a.tmp", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</t/a.tmp>
            1 fork() = 2
            2 rename("a.tmp", "a") = 0
            1 fork() = 3
            3 open("a", O_RDONLY) = 3</t/a>
            3 open("a", O_WRONLY|O_APPEND) = 3</t/a>
            3 link("a", "b") = 0
            3 unlink("a") = 0
            3 open("a", O_RDWR|O_CREAT, 0666) = 3</t/a>
            3 open("a.tmp", O_RDONLY) = -1 ENOENT (No such file or directory)
            """)
        let history = observer.history
        #expect(observer.reads(1) == ["/t/a.tmp"] && observer.reads(2) == ["/t/a", "/t/a"])
        #expect(
            history.versions.map { history.paths[$0.path] } == ["/p/x", "/t/a.tmp", "/t/a", "/t/a", "/t/b", "/t/a"])
        #expect(history.versions.map(\.origins) == [[], [], [1], [2], [3], []])
        #expect(history.versions.map(\.makers) == [[], [0], [1], [2], [2], [2]])
        let missed = observer.processes.last.map { $0.missed.map { history.paths[$0] } }
        #expect(missed == ["/t/a.tmp"])
    }

    @Test func `a directory that is renamed takes along what is in it`() throws {
        try withTemporaryDirectory { directory in
            let root = directory
            try makeDirectory(root + "/new")
            let observer = observed(
                """
                1 execve("/p/x", ["x"], []) = 0
                1 creat("old/made", 0666) = 3<\(root)/old/made>
                1 rename("old", "new") = 0
                1 fork() = 2
                2 open("new/made", O_RDONLY) = 3<\(root)/new/made>
                2 open("new/given", O_RDONLY) = 3<\(root)/new/given>
                """, directory: root)
            let history = observer.history
            let origins = observer.reads(1).compactMap { path in
                history.versions.last { history.paths[$0.path] == path }?.origins.map {
                    history.paths[history.versions[$0].path]
                }
            }
            #expect(observer.reads(1) == [root + "/new/made", root + "/new/given"])
            #expect(origins == [[root + "/old/made"], [root + "/old/given"]])
        }
    }

    @Test func `a link on the way to a file counts as read`() {
        let observer = observed(
            """
            1 execve("/p/x", ["x"], []) = 0
            1 fork() = 2
            2 symlinkat("real", AT_FDCWD</t>, "dir") = 0
            1 open("dir/file", O_RDONLY) = 3</t/real/file>
            """)
        #expect(observer.reads(0) == ["/p/x", "/t/dir", "/t/real/file"] && observer.makers("/t/dir") == [1])
    }

    @Test func `output that goes through pipes has its source`() {
        let observer = observed(
            """
            1 execve("/p/sh", ["sh"], []) = 0
            1 pipe2([3<pipe:[50]>, 4<pipe:[50]>], 0) = 0
            1 fork() = 2
            2 dup2(4<pipe:[50]>, 1) = 1<pipe:[50]>
            2 execve("/p/cat", ["cat"], []) = 0
            1 fork() = 3
            3 dup2(3<pipe:[50]>, 0) = 0<pipe:[50]>
            3 execve("/p/sort", ["sort"], []) = 0
            1 pipe2([3<pipe:[51]>, 4<pipe:[51]>], 0) = 0
            1 fork() = 4
            4 dup2(4<pipe:[51]>, 1) = 1<pipe:[51]>
            """)
        let graph = observer.graph(command: [], directory: "/t", earlier: nil).graph
        #expect(graph.processes.map(\.fedBy) == [[], [], [1]])
        #expect(observer.pipes.map(\.writers) == [[1], [3]] && observer.pipes.map(\.readers) == [[2], []])
    }

    @Test func `a trace that breaks off loses nothing that it has`() {
        let observer = observed(
            """
            1 execve("/p/sh", ["sh"], []) = 0
            1 vfork( <unfinished ...>
            2 open("a", O_RDONLY) = 3</t/a>
            """)
        #expect(observer.processes.count == 2 && observer.reads(1) == ["/t/a"])
        #expect(observer.processes.last?.parent == 0 && !observer.hasEnded)
    }

    @Test func `directories of the system are no place of sources`() {
        let system = SystemPaths(
            buildIn: "/home/me/tree", searchPath: "/usr/bin:/home/me/tree/bin:/opt/x/bin:/home/tools/bin")
        for path in ["/usr/include/a.h", "/opt/x/lib/y", "/home/tools/share/z", "/etc/passwd"] {
            #expect(system.contain(path), "\(path)")
        }
        for path in ["/home/me/tree/bin/x", "/home/me/other/a.c", "/usr/src/a.c", "/srv/a.c"] {
            #expect(!system.contain(path), "\(path)")
        }
        #expect(!SystemPaths(buildIn: "/usr/src/linux", searchPath: "").contain("/usr/src/linux/a.c"))
    }
}
