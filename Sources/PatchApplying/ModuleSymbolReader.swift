import DebuggerFiles
import Diagnostics
import ElfFormat
import PatchFormat
import PatchRegistry
import ProcessImage

/// Reads what debuggers need to know of a module from the process: from the module's own ELF headers, which lie in its
/// memory, and where these are damaged, or the bundle is an older one, from the registry.
struct ModuleSymbolReader {
    let view: ProcessView
    let patch: RegisteredPatch
    let module: RegisteredModule

    func read() -> ModuleSymbols {
        let image = try? MappedModule(view, module)
        let named = (try? image?.symbols()) ?? []
        return ModuleSymbols(
            patch: patch.id, target: module.file, base: module.base, buildID: try? image?.buildID(),
            parts: module.segments.filter { $0.protection != 1 }.map {
                .init(offset: $0.address &- module.base, size: $0.size, isExecutable: $0.protection & 4 != 0)
            },
            symbols: named.isEmpty ? registered : named, frames: (try? image?.frames()) ?? registeredFrames)
    }

    /// The functions that the registry knows: those that were replaced.
    private var registered: [ModuleSymbols.Symbol] {
        module.functions.flatMap { function in
            symbols(function.name, function.newRanges) + symbols(function.name + ".original", function.oldRanges)
                + [symbol(function.name + ".stub", AddressRange(address: function.stub, size: 0))]
        }
    }

    /// What follows the first range are halves that are seldom run.
    private func symbols(_ name: String, _ ranges: [AddressRange]) -> [ModuleSymbols.Symbol] {
        ranges.enumerated().map { symbol($0.offset == 0 ? name : "\(name).cold", $0.element) }
    }

    private func symbol(_ name: String, _ range: AddressRange) -> ModuleSymbols.Symbol {
        .init(name: name, offset: range.address &- module.base, size: range.size, isFunction: true)
    }

    /// What the process's unwinder was told of.
    private var registeredFrames: ModuleSymbols.Frames? {
        let tables = patch.calls?.unwind.map(\.table) ?? []
        guard let table = tables.first(where: { $0.address >= module.base && $0.end <= module.range.end }),
            let bytes = try? view.read(table.address, table.size).bytes
        else { return nil }
        return .init(offset: table.address &- module.base, bytes: bytes)
    }
}

/// A module's memory, read as the ELF file that it was.
private struct MappedModule {
    private let memory: CheckedBytes
    private let headers: [ProgramHeader]
    /// What the process could make us hold, in bytes: names, unwind data.
    private static let mostText = 64 << 20
    private static let mostFrames: UInt64 = 16 << 20

    init(_ view: ProcessView, _ module: RegisteredModule) throws {
        let memory = try view.read(module.base, module.size, subject: module.file)
        let header = try ElfHeader(memory)
        self.memory = memory
        headers = try (0..<UInt64(header.programHeaderCount)).map {
            try ProgramHeader(memory, at: header.programHeaderOffset &+ $0 &* ProgramHeader.size)
        }
    }

    func buildID() throws -> String? {
        for note in headers where note.type == PT.note {
            let bytes = CheckedBytes(try memory.slice(note.address, note.memorySize), fault: memory.fault)
            if let found = try gnuBuildID(bytes, alignment: note.alignment) { return found }
        }
        return nil
    }

    /// Functions and variables with a size, by the symbol table; none where it is not in memory.
    func symbols() throws -> [ModuleSymbols.Symbol] {
        let (place, count) = (try memory.u64(40), UInt64(try memory.u16(60)))
        guard place > 0, count > 0, let sections = address(ofFile: place, count &* 64) else { return [] }
        for number in 0..<count {
            let section = sections &+ number &* 64
            guard try memory.u32(section &+ 4) == SHT.symbolTable else { continue }
            let strings = sections &+ UInt64(try memory.u32(section &+ 40)) &* 64
            return try symbols(in: try contents(of: section), strings: try contents(of: strings))
        }
        return []
    }

    private func symbols(in table: CheckedBytes, strings: CheckedBytes) throws -> [ModuleSymbols.Symbol] {
        var symbols: [ModuleSymbols.Symbol] = []
        var room = Self.mostText
        for place in stride(from: 0, to: table.count - table.count % DynamicSymbol.size, by: Int(DynamicSymbol.size)) {
            let symbol = DynamicSymbol(
                head: try table.u64(place), value: try table.u64(place + 8), size: try table.u64(place + 16))
            guard [STT.function, STT.object].contains(symbol.kind), symbol.isDefined, symbol.size > 0,
                symbol.value < memory.count, symbol.size <= memory.count - symbol.value
            else { continue }
            let name = try strings.string(UInt64(symbol.nameOffset))
            room -= name.utf8.count + 64
            guard room > 0 else { throw memory.fault("its names are too long") }
            symbols.append(
                .init(
                    name: name, offset: symbol.value, size: symbol.size, isFunction: symbol.kind == STT.function))
        }
        return symbols
    }

    /// The unwind data that the module's header leads to, up to its end.
    func frames() throws -> ModuleSymbols.Frames? {
        guard let header = headers.first(where: { $0.type == PT.gnuFrameHeader }),
            try memory.slice(header.address, 2) == [1, 0x1b]
        else { return nil }
        let field = header.address &+ 4
        let distance = Int64(Int32(bitPattern: try memory.u32(field)))
        let start = field &+ UInt64(bitPattern: distance)
        var end = start
        while case let length = UInt64(try memory.u32(end)), length != 0 {
            end = end &+ 4 &+ length
            guard length >= 4, end > start, end - start < Self.mostFrames else {
                throw memory.fault("its unwind data is damaged")
            }
        }
        return .init(offset: start, bytes: try memory.slice(start, end + 4 - start))
    }

    private func contents(of section: UInt64) throws -> CheckedBytes {
        let (offset, size) = (try memory.u64(section &+ 24), try memory.u64(section &+ 32))
        guard let place = address(ofFile: offset, size) else { throw memory.fault("a section is not in memory") }
        return CheckedBytes(try memory.slice(place, size), fault: memory.fault)
    }

    /// Where a part of the file lies in memory.
    private func address(ofFile offset: UInt64, _ count: UInt64) -> UInt64? {
        let holder = headers.first {
            $0.type == PT.load && offset >= $0.offset && count <= $0.fileSize
                && offset &- $0.offset <= $0.fileSize &- count
        }
        return holder.map { $0.address &+ (offset &- $0.offset) }
    }
}
