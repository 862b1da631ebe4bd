import Glibc
import JSONCoding
import PatchRegistry
import ProcessControl
import ProcessImage

/// A patched target, and the file from which a new process would take it.
struct PatchedFile: Codable, Hashable, Sendable {
    var manifestDigest: String
    var file: String
    var buildID: String
    var path: String
}

extension LoadedProcess {
    /// The mapped targets of patches that are active.
    func patchedFiles(_ patches: [RegisteredPatch]) -> [PatchedFile] {
        patches.filter { $0.state == .active }.flatMap { patch in
            patch.modules.compactMap { module in
                let object = objects.first { $0.bias == module.targetBias && $0.buildID == module.buildID }
                return object.map {
                    PatchedFile(
                        manifestDigest: patch.manifestDigest, file: module.file, buildID: module.buildID, path: $0.path)
                }
            }
        }
    }
}

/// The file that a process executes.
private struct FileIdentity: Equatable {
    var device: UInt
    var inode: UInt

    init?(executedBy pid: Int32) {
        var status = stat()
        guard stat("/proc/\(pid)/exe", &status) == 0 else { return nil }
        (device, inode) = (UInt(status.st_dev), UInt(status.st_ino))
    }
}

/// A patch lives in a process's memory: where the file is still the old build, whatever is executed from it runs the old
/// code. Stock sshd executes itself anew for each connection (trap file-on-disk).
struct NewProcesses {
    let pid: Int32

    /// What the files on disk are; true: the build that was patched. A file that can't be told of is left out.
    ///
    /// In a tracer of its own, when all is done: the process's owner may never answer (trap blocked-read).
    private func areOld(_ files: [PatchedFile]) -> [PatchedFile: Bool] {
        let answer = try? runTracer(deadline: .seconds(2)) {
            try encodeJSON(files.map { FileOnDisk.open($0.path, of: pid)?.buildID() ?? "" })
        }
        guard let answer, let found = try? decodeJSON([String].self, from: answer) else { return [:] }
        var old: [PatchedFile: Bool] = [:]
        for (file, buildID) in zip(files, found) where !buildID.isEmpty { old[file] = buildID == file.buildID }
        return old
    }

    /// Processes that execute the same file and hold no record of any patch: the process itself may have started them since,
    /// by exec. Read from `/proc` alone, which nobody can block.
    private func unpatched() -> [Int32] {
        guard let own = FileIdentity(executedBy: pid), let all = try? allProcessIDs() else { return [] }
        return all.filter { other in
            guard other != pid, FileIdentity(executedBy: other) == own, let map = try? MemoryMap.read(pid: other) else {
                return false
            }
            return !map.mappings.isEmpty && !map.mappings.contains(where: Registry.mayLie)
        }
    }

    /// Adds to the report what processes that are started from now on run.
    func complete(_ report: inout ProcessReport) {
        guard let files = report.patchedFiles else { return }
        report.patchedFiles = nil
        if report.patches?.contains(where: { $0.state == .active }) == true {
            let others = unpatched()
            report.unpatchedProcesses = others
            if !others.isEmpty {
                let list = others.map(String.init).joined(separator: ", ")
                report.notes.append(
                    "the same program runs without a patch in: \(list) "
                        + "(`livepatch apply BUNDLE --all` patches every process)")
            }
        }
        let old = areOld(files)
        report.newProcessesRunOldCode = outcome(of: files, old)
        guard let patches = report.patches else {
            report.notes += note(files.filter { old[$0] == true })
            return
        }
        report.patches = patches.map { patch in
            var patch = patch
            let own = files.filter { $0.manifestDigest == patch.manifestDigest }
            patch.newProcessesRunOldCode = outcome(of: own, old)
            patch.notes += note(own.filter { old[$0] == true })
            return patch
        }
    }

    private func outcome(of files: [PatchedFile], _ old: [PatchedFile: Bool]) -> Bool? {
        let known = files.compactMap { old[$0] }
        if known.contains(true) { return true }
        return known.isEmpty || known.count < files.count ? nil : false
    }

    private func note(_ files: [PatchedFile]) -> [String] {
        if files.isEmpty { return [] }
        let names = files.map(\.file).joined(separator: ", ")
        return [
            "on disk, \(names) \(files.count == 1 ? "is" : "are") still the old build: what is started or executed anew "
                + "runs the old code until the file is upgraded too"
        ]
    }
}
