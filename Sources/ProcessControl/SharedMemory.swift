import CLinuxPtrace
import Glibc

/// Other processes that share the whole address space of `pid` (`clone` with CLONE_VM but not CLONE_THREAD, or a child
/// of `vfork` before its exec): they are not among its threads, and nothing would stop them (trap
/// shared-memory-sibling).
///
/// Throws `unsupported` when the kernel can't tell (no `kcmp`), `noSuchProcess`.
public func processesSharingMemory(with pid: Int32) throws(ProcessError) -> [Int32] {
    let own = try livingThread(of: pid)
    var sharing: [Int32] = []
    for other in try allProcessIDs() where other != pid {
        guard let thread = try? livingThread(of: other) else { continue }
        let result = lp_kcmp_vm(own, thread)
        if result == -Int(ENOSYS) { throw .unsupported(pid: pid, what: "the kernel has no kcmp") }
        // Nobody may look into it but its owner: it would have to be the process's own child.
        if result == -Int(EPERM), lp_kcmp_vm(own, own) != 0 {
            throw .noPermission(pid: pid, operation: "kcmp")
        }
        if result == 0 { sharing.append(other) }
    }
    return sharing
}

/// A zombie has given its memory back already: its leader says nothing of the threads that go on.
func livingThread(of pid: Int32) throws(ProcessError) -> Int32 {
    for tid in try threadIDs(of: pid) {
        if let state = threadState(pid: pid, tid: tid), state != UInt8(ascii: "Z"), state != UInt8(ascii: "X") {
            return tid
        }
    }
    throw .noSuchProcess(pid: pid)
}

/// Threads that wait in `vfork` for their child's exec: they can't be stopped before.
public func threadsInVfork(of pid: Int32) throws(ProcessError) -> [Int32] {
    try threadIDs(of: pid).filter { tid in
        guard threadState(pid: pid, tid: tid) == UInt8(ascii: "D"),
            let call = SleepingCall.read(pid: pid, tid: tid), let number = call.number
        else { return false }
        let cloneVfork: UInt64 = 0x4000
        return number == 58 || number == 435 || (number == 56 && call.arguments[0] & cloneVfork != 0)
    }
}
