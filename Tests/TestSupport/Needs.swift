import Testing

extension Trait where Self == ConditionTrait {
    /// Skipped where one of these programs is not installed; `Tests/run` installs what the archive has.
    public static func needs(_ programs: String...) -> Self {
        let missing = programs.filter { !isInstalled($0) }
        return .enabled(if: missing.isEmpty, "\(missing.joined(separator: ", ")) is not installed")
    }

    /// Skipped where trees can't be seen through an overlay: nothing takes its place in what the test is about.
    public static var needsOverlay: Self { allowed(Machine.overlayObstacle) }

    /// Skipped where no process can be patched.
    public static var needsPatching: Self { allowed(Machine.patchingObstacle) }

    /// Skipped where no build can be recorded.
    public static var needsTracing: Self { allowed(Machine.tracingObstacle) }

    /// Skipped where the seccomp filters of processes can't be read, so that those that have some are refused.
    public static var needsFilters: Self { allowed(Machine.filterObstacle) }

    /// Skipped where ordinary users can't have namespaces.
    public static var needsUserNamespaces: Self { allowed(Machine.userNamespaceObstacle) }

    /// Skipped where no thread may have real-time priority: every thread is stopped then.
    public static var needsRealTime: Self { allowed(Machine.realTimeObstacle) }

    /// Skipped where perf is not installed or may not look at processes.
    public static var needsPerf: Self { allowed(Machine.perfObstacle) }

    private static func allowed(_ obstacle: String?) -> Self {
        .enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? ""))
    }
}

/// Ends a test as skipped where a tool said that it may not do its work here, and the machine indeed does not allow it.
public func cancelIfForbidden(_ output: Output) throws {
    guard let obstacle = Machine.patchingObstacle else { return }
    let text = output.stdout + output.stderr
    let answers = ["seccomp filters can't be read", "no permission for"]
    guard answers.contains(where: { text.contains($0) }) else { return }
    try Test.cancel(Comment(rawValue: obstacle))
}
