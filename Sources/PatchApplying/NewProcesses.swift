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
private struct FileIdentity: Hashable {
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
    /// Adds to each report what processes that are started from now on run, and which ones run the same file without a
    /// patch.
    func complete(_ results: [ProcessResult]) -> [ProcessResult] {
        let files = results.map { $0.report.patchedFiles ?? [] }
        let old = areOld(files, of: results.map(\.report.pid))
        let others = unpatched(besides: results.filter { isActive($0.report) }.map(\.report.pid))
        return results.indices.map { index in
            var result = results[index]
            guard result.report.patchedFiles != nil else { return result }
            result.report.patchedFiles = nil
            if let others = others[result.report.pid] { addOthers(others, to: &result.report) }
            complete(&result.report, files[index], old[index])
            return result
        }
    }

    private func isActive(_ report: ProcessReport) -> Bool {
        report.patchedFiles != nil && report.patches?.contains { $0.state == .active } == true
    }

    /// What the files on disk are; true: the build that was patched. A file that can't be told of is left out.
    ///
    /// In tracers of their own, when all is done: a process's owner may never answer (trap blocked-read).
    private func areOld(_ files: [[PatchedFile]], of pids: [Int32]) -> [[PatchedFile: Bool]] {
        let asked = files.indices.filter { !files[$0].isEmpty }
        let answers = runTracers(asked.count, atOnce: tracersAtOnce, deadline: .seconds(2)) { number in
            let index = asked[number]
            return try encodeJSON(files[index].map { FileOnDisk.open($0.path, of: pids[index])?.buildID() ?? "" })
        }
        var result = [[PatchedFile: Bool]](repeating: [:], count: files.count)
        for (index, answer) in zip(asked, answers) {
            guard let bytes = try? answer.get(), let found = try? decodeJSON([String].self, from: bytes) else {
                continue
            }
            for (file, buildID) in zip(files[index], found) where !buildID.isEmpty {
                result[index][file] = buildID == file.buildID
            }
        }
        return result
    }

    /// For each process, those that execute the same file and hold no record of any patch: the process itself may have
    /// started them since, by exec. Read from `/proc` alone, which nobody can block, and once for all of them.
    private func unpatched(besides pids: [Int32]) -> [Int32: [Int32]] {
        let own = pids.compactMap { pid in FileIdentity(executedBy: pid).map { (pid, $0) } }
        let wanted = Set(own.map(\.1))
        guard !wanted.isEmpty, let all = try? allProcessIDs() else { return [:] }
        var found: [FileIdentity: [Int32]] = [:]
        for other in all {
            guard let file = FileIdentity(executedBy: other), wanted.contains(file),
                let map = try? MemoryMap.read(pid: other), !map.mappings.isEmpty,
                !map.mappings.contains(where: Registry.mayLie)
            else { continue }
            found[file, default: []].append(other)
        }
        let lists = own.map { pid, file in (pid, (found[file] ?? []).filter { $0 != pid }) }
        return Dictionary(lists) { first, _ in first }
    }

    private func addOthers(_ others: [Int32], to report: inout ProcessReport) {
        report.unpatchedProcesses = others
        if others.isEmpty { return }
        let list = others.map(String.init).joined(separator: ", ")
        report.notes.append(
            "the same program runs without a patch in: \(list) "
                + "(`livepatch apply BUNDLE --all` patches every process)")
    }

    private func complete(_ report: inout ProcessReport, _ files: [PatchedFile], _ old: [PatchedFile: Bool]) {
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
