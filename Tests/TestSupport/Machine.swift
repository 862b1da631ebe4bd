import Glibc

/// What this machine does not allow. Tests that need it are skipped with that reason; Tests/SKIPS.md lists them.
public enum Machine {
    /// Why no process can be patched here, nil where it can: the kernel shows a process's seccomp filters to nobody who is
    /// under a filter, and Yama may let only root look at processes that are not one's children.
    public static let patchingObstacle: String? = {
        if seccompMode != 0 {
            return "this is a container with a seccomp filter, from under which no process's filters can be read"
        }
        let scope = readText("/proc/sys/kernel/yama/ptrace_scope").prefix(1)
        if geteuid() != 0, !scope.isEmpty, scope != "0" {
            return "Yama (kernel.yama.ptrace_scope) lets only root look into processes that are not its children"
        }
        return nil
    }()

    /// Why no build can be recorded, nil where it can.
    public static let tracingObstacle: String? = {
        guard isInstalled("strace") else { return "strace is not installed" }
        let output = try? run("strace", ["-f", "--seccomp-bpf", "-e", "trace=execve", "-o", "/dev/null", "true"])
        return output?.status == 0 ? nil : "processes may not be traced here"
    }()

    /// Why nobody sees the seccomp filters of other processes here, nil where they are seen.
    public static let filterObstacle: String? = {
        if let patchingObstacle { return patchingObstacle }
        let capabilities = field("CapEff", of: "self").flatMap { UInt64($0, radix: 16) } ?? 0
        let sysAdmin: UInt64 = 1 << 21
        return capabilities & sysAdmin != 0 ? nil : "without CAP_SYS_ADMIN no seccomp filters of processes can be read"
    }()

    /// As `/proc` writes it: 0 where this process, and so its children, are under no seccomp filter.
    public static let seccompMode = field("Seccomp", of: "self").flatMap { Int($0) } ?? 0

    /// Why patchbuild can't see a tree through an overlay here, nil where it can; it compiles copies then.
    public static let overlayObstacle: String? = {
        let script = """
            set -e
            mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir lower upper work merged
            mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
            """
        let asUser = ["--user", "--map-root-user", "--mount", "--propagation", "private"]
        for options in geteuid() == 0 ? [["--mount", "--propagation", "private"], asUser] : [asUser] {
            let output = try? withTemporaryDirectory { try run("unshare", options + ["sh", "-c", script, "sh", $0]) }
            if output?.status == 0 { return nil }
        }
        return "no mount namespace and overlay can be made here"
    }()

    /// Why an ordinary user can't have namespaces, nil where that is allowed.
    public static let userNamespaceObstacle: String? = {
        let asUser = geteuid() == 0 ? ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] : []
        let output = try? run(
            "env", asUser + ["unshare", "--user", "--map-root-user", "--mount", "true"])
        return output?.status == 0 ? nil : "ordinary users can't make namespaces here"
    }()

    /// Why no thread may have real-time priority, nil where it may.
    public static let realTimeObstacle: String? = {
        let output = try? run("chrt", ["--fifo", "50", "true"])
        return output?.status == 0 ? nil : "real-time priority is not allowed here"
    }()

    /// Why perf can't look at processes here, nil where it can.
    public static let perfObstacle: String? = {
        guard isInstalled("perf") else { return "perf is not installed" }
        let output = try? run("perf", ["record", "-q", "-e", "cpu-clock", "-o", "/dev/null", "true"])
        return output?.status == 0 ? nil : "perf may not look at processes here"
    }()

    /// The distribution's own clang; Swift's is another version.
    public static let clang = ["clang-14", "clang-19"].first(where: isInstalled) ?? "clang"

    private static func field(_ name: String, of process: String) -> Substring? {
        let line = readText("/proc/\(process)/status").split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line?.split(whereSeparator: { $0 == ":" || $0 == "\t" }).last
    }
}

/// Whether a program is found in PATH.
public func isInstalled(_ program: String) -> Bool {
    let directories = getenv("PATH").map { String(cString: $0).split(separator: ":") } ?? []
    return directories.contains { access("\($0)/\(program)", X_OK) == 0 }
}
