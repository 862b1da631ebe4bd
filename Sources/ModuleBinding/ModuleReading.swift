import Diagnostics
import ElfFormat
import PatchFormat
import ProcessImage

extension ModuleImage {
    /// - Throws: `Refusal` bad-bundle when the file is not a module that the manifest can speak of.
    package static func read(_ bytes: [UInt8], target: ManifestTarget) throws -> ModuleImage {
        let file = CheckedBytes(bytes, rule: .badBundle, subject: target.module)
        let header = try ElfHeader(file)
        guard header.type == ELF.sharedObject else { throw file.fault("it is not a shared object") }
        let headers = try (0..<UInt64(header.programHeaderCount)).map {
            try ProgramHeader(file, at: header.programHeaderOffset &+ $0 * ProgramHeader.size)
        }
        guard !headers.contains(where: { $0.type == PT.tls || $0.type == PT.interpreter }) else {
            throw file.fault("it has thread-local storage or an interpreter, which a module can't have")
        }
        let segments = try segments(headers.filter { $0.type == PT.load && $0.memorySize > 0 }, file)
        let memory = try lay(
            headers.filter { $0.type == PT.load }, file, size: segments.map { $0.start + $0.size }.max() ?? 0)
        guard let dynamic = headers.first(where: { $0.type == PT.dynamic }) else {
            throw file.fault("it has no dynamic section")
        }
        let tables = try DynamicTables(
            address: dynamic.address, size: dynamic.memorySize, bias: 0, span: .max,
            read: { CheckedBytes(try memory.slice($0, $1), rule: .badBundle, subject: target.module) })
        var image = ModuleImage(
            segments: segments, memory: memory, tables: tables, records: [], unwind: target.layout.unwind)
        try image.checkInitialisers(target)
        try image.checkUnwindData()
        try image.checkLayout(target)
        image.records = try BindingRecord.decode(
            table: try memory.slice(
                target.layout.bindingTable, UInt64(max(0, target.layout.bindingCount)) &* UInt64(BindingRecord.size)),
            layout: target.layout, bindingCount: target.bindings.count)
        return image
    }

    private static func segments(_ loads: [ProgramHeader], _ file: CheckedBytes) throws -> [ModuleSegment] {
        var segments: [ModuleSegment] = []
        for load in loads {
            guard load.address <= ModuleLayout.maximumSize, load.memorySize <= ModuleLayout.maximumSize,
                load.fileSize <= load.memorySize
            else {
                throw file.fault("a segment is too large")
            }
            guard load.flags & PF.read != 0, !(load.isWritable && load.isExecutable) else {
                throw file.fault("a segment is writable and executable, or not readable (trap mdwe)")
            }
            let start = roundDown(load.address, pageSize)
            let end = roundDown(load.address + load.memorySize + pageSize - 1, pageSize)
            if let last = segments.last, start < last.start + last.size {
                throw file.fault("two segments share a page")
            }
            segments.append(
                ModuleSegment(
                    start: start, size: end - start, flags: load.flags, fileSize: load.address - start + load.fileSize))
        }
        guard segments.first?.start == 0 else { throw file.fault("its first segment is not at address 0") }
        return segments
    }

    private static func lay(_ loads: [ProgramHeader], _ file: CheckedBytes, size: UInt64) throws -> CheckedBytes {
        var memory = CheckedBytes([UInt8](repeating: 0, count: Int(size)), fault: file.fault)
        for load in loads where load.fileSize > 0 {
            let source = try file.slice(load.offset, load.fileSize)
            memory.bytes.replaceSubrange(try memory.range(load.address, load.fileSize), with: source)
        }
        return memory
    }

    /// Every address that the applier will write or jump to lies in a segment that fits it.
    private func checkLayout(_ target: ManifestTarget) throws {
        let layout = target.layout
        guard layout.memorySize <= memory.count, isInside(layout.switchAddress, 1, PF.write),
            layout.switchPointer.map({ isInside($0, 8, PF.write) }) ?? true
        else { throw memory.fault("the switch lies outside the module's data") }
        for function in target.functions {
            let code = function.newRanges + function.oldRanges
            guard code.allSatisfy({ isInside($0.address, $0.size, PF.execute) }),
                function.stub.map({ isInside($0, 1, PF.execute) }) ?? true,
                function.oldSlot.map({ isInside($0, 8, PF.write) }) ?? true
            else {
                throw memory.fault("\(function.name) lies outside the module's code, or its slot outside the data")
            }
            guard (function.original == nil) == (function.stub == nil),
                (function.stub == nil) == (function.oldSlot == nil)
            else {
                throw memory.fault("\(function.name) must have a stub and a slot if, and only if, it replaces one")
            }
        }
    }
}
