import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl

/// An ELF object as it lies in a process's memory: never read from its file, which may have been upgraded since.
package struct LoadedObject: Sendable {
    /// The path in the process's maps.
    package var path: String
    /// What is added to the file's addresses.
    package var bias: UInt64
    package var headers: [ProgramHeader]
    /// GNU build-id in lower-case hexadecimal.
    package var buildID: String?

    /// The path's last component.
    package var file: String { lastComponent(path) }

    /// One past the highest file address of a loaded segment.
    package var span: UInt64 {
        headers.filter { $0.type == PT.load }.map { $0.address &+ $0.memorySize }.max() ?? 0
    }

    package func contains(_ address: UInt64) -> Bool { address >= bias && address &- bias < span }

    /// Whether `count` bytes at the file's address lie in a loaded segment that has the flag.
    package func isInside(_ address: UInt64, _ count: UInt64, _ flag: UInt32) -> Bool {
        headers.contains {
            $0.type == PT.load && $0.flags & flag != 0 && address >= $0.address && count <= $0.memorySize
                && address &- $0.address <= $0.memorySize &- count
        }
    }

    /// Whether only the dynamic linker writes `count` bytes at the file's address.
    package func isReadOnlyOnceRelocated(_ address: UInt64, _ count: UInt64) -> Bool {
        if !isInside(address, count, PF.write) { return true }
        return headers.contains {
            $0.type == PT.gnuRelro && address >= $0.address && count <= $0.memorySize
                && address &- $0.address <= $0.memorySize &- count
        }
    }

    var dynamicHeader: ProgramHeader? { headers.first { $0.type == PT.dynamic } }
    package var hasInterpreter: Bool { headers.contains { $0.type == PT.interpreter } }
}

/// Which file a mapping is of.
private struct FileIdentity: Hashable {
    var device: String
    var inode: UInt64
    var path: String

    init(_ mapping: MemoryMapping) {
        (device, inode, path) = (mapping.device, mapping.inode, mapping.path)
    }
}

extension ProcessView {
    /// Every ELF object whose code is mapped, in the order of addresses.
    ///
    /// A file that is merely mapped to be read (by a debugger, say) is not one: its code is not executable. Nothing of
    /// such files is read: their pages may never come (trap blocked-read).
    package func findObjects() -> [LoadedObject] {
        let executable = Set(map.mappings.filter(\.isExecutable).map(FileIdentity.init))
        let heads = map.mappings.filter {
            $0.fileOffset == 0 && $0.isReadable && !$0.path.isEmpty && executable.contains(FileIdentity($0))
        }
        return heads.compactMap { mapping in
            let start = mapping.start.rawValue
            guard let head = try? read(start, 64), head.bytes.starts(with: ElfHeader.magic) else { return nil }
            return try? object(at: start, path: mapping.path, head)
        }
    }

    /// The object whose ELF header lies at `start`; nil when its code is not mapped as its headers say.
    private func object(at start: UInt64, path: String, _ head: CheckedBytes) throws -> LoadedObject? {
        let header = try ElfHeader(head)
        let table = try read(
            start &+ header.programHeaderOffset, UInt64(header.programHeaderCount) * ProgramHeader.size)
        let headers = try (0..<UInt64(header.programHeaderCount)).map {
            try ProgramHeader(table, at: $0 * ProgramHeader.size)
        }
        guard let first = headers.first(where: { $0.type == PT.load && roundDown($0.offset, pageSize) == 0 }) else {
            return nil
        }
        var object = LoadedObject(
            path: path, bias: start &- roundDown(first.address, pageSize), headers: headers, buildID: nil)
        for load in headers where load.type == PT.load && load.isExecutable {
            let place = object.bias &+ load.address
            guard let mapping = mapping(containing: place), mapping.isExecutable else { return nil }
            // lld begins a segment on the page on which the last one ended, so that the file's first page is mapped
            // twice. Code that was moved to large pages has no file.
            let offset = mapping.fileOffset &+ (place &- mapping.start.rawValue)
            guard mapping.path.isEmpty || offset == load.offset else { return nil }
        }
        object.buildID = try? buildID(of: object)
        return object
    }

    /// The build-id note in the process's memory.
    private func buildID(of object: LoadedObject) throws -> String? {
        for note in object.headers where note.type == PT.note && note.memorySize < 0x10000 {
            let bytes = try read(object.bias &+ note.address, note.memorySize)
            if let found = try gnuBuildID(bytes, alignment: note.alignment) { return found }
        }
        return nil
    }

    /// What the object's dynamic section leads to; empty tables for a static program.
    package func tables(of object: LoadedObject) throws -> DynamicTables {
        guard let dynamic = object.dynamicHeader else {
            return DynamicTables(strings: CheckedBytes([], rule: .unsupportedProcess, subject: object.path))
        }
        return try DynamicTables(
            address: object.bias &+ dynamic.address, size: dynamic.memorySize, bias: object.bias, span: object.span,
            read: { try read($0, $1, subject: object.path) })
    }
}

package func lastComponent(_ path: String) -> String {
    String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
}
