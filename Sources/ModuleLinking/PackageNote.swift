import ElfFormat
import JSONCoding
import ObjectFiles

/// Of which patch a module is, for whoever finds it in a core dump: the package note of systemd's specification
/// (`.note.package`), which coredumpctl prints. The module's build-id, beside it, is `ld`'s.
private struct PackageNote: Encodable {
    var type = "livepatch"
    var name: String
    var architecture = "amd64"
    /// The file that is patched, and its build-id.
    var target: String
    var targetBuildId: String
}

/// How debuggers call a module: its `DT_SONAME`.
func moduleName(patch: String, file: String) -> String { "livepatch-\(patch)-\(file)" }

extension ModuleBuilder {
    mutating func addPackageNote(patch: String) {
        let note = PackageNote(name: patch, target: plan.file, targetBuildId: plan.buildID)
        // Text alone can always be encoded.
        guard let text = try? encodeJSON(note) else { return }
        let owner = Array("FDO\0".utf8)
        let contents = text + [0]
        let padding = [UInt8](repeating: 0, count: (4 - contents.count % 4) % 4)
        let lengths = [UInt32(owner.count), UInt32(contents.count), packageNoteType]
        let data = lengths.flatMap { littleEndian(UInt64($0)).prefix(4) } + owner + contents + padding
        _ = add(
            Section(
                index: 0, name: ".note.package", type: SHT.note, flags: SHF.allocated, size: UInt64(data.count),
                alignment: 4, data: data))
    }
}

private let packageNoteType: UInt32 = 0xcafe_1a7e
