/// What is known of a process while the trace is read.
struct TracedProcess {
    /// Where a standard descriptor leads.
    enum Stream: Hashable {
        case pipe(Int)
        case file(String)
    }

    var parent: Int?
    var runs: [ProgramRun] = []
    var directory: String
    /// Of the descriptors 0, 1 and 2, as far as they were set within the build.
    var streams: [Int: Stream] = [:]
    var reads: Set<Int> = []
    var missed: Set<Int> = []
    var seen: Set<Int> = []
    var listed: Set<Int> = []
    var status: Int32 = 0
    /// It has ended, or has run a program: it was told of the streams that it inherited.
    var hasTakenStreams = false
    /// Shares its directory with these processes (`CLONE_FS`), itself aside.
    var sharesDirectoryWith: [Int] = []
}

/// A pipe of the build.
struct TracedPipe {
    /// The process that made it.
    var maker: Int?
    var writers: Set<Int> = []
    var readers: Set<Int> = []
}
