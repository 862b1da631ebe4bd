import Closing
import Diagnostics
import ElfFormat
import FoundationEssentials
import ObjectFiles
import PatchFormat
import Toolchain

/// Links what `extract` took out into a shared object, and reads back where everything lies.
///
/// - Parameters:
///   - sharesSwitch: more than one target is in the bundle: stubs test the switch through a pointer.
///   - patch: the bundle's id, by which debuggers show the module.
///
/// The same plan gives the same bytes: nothing of the directory that `ld` works in is in them.
/// - Throws: `Refusals` of `extract`; `Failure` when `ld` fails, with its message, or makes something else than was
///   asked of it.
package func link(
    _ plan: ModulePlan, sharesSwitch: Bool = false, patch: String = "patch"
) async throws -> LinkedModule {
    let extraction = try extract(plan, sharesSwitch: sharesSwitch, patch: patch)
    let bytes = try await linkObject(extraction.object, name: moduleName(patch: patch, file: plan.file))
    let linked = try ObjectFile.parse(bytes: bytes, name: "module of \(plan.file)")
    try checkLinked(linked, imports: extraction.imports)
    if let frames = extraction.tables.frames {
        try checkFrames(linked, size: extraction.object.sections[frames].size)
    }
    let shown = try showToDebuggers(bytes, linked)
    let module = try ObjectFile.parse(bytes: shown, name: linked.path)
    return try place(extraction, plan, module, shown)
}

/// No text relocations, nothing both writable and executable, everything bound at load, and no unwind data of `ld`'s
/// own. The build-id is made of the contents. Warnings are errors.
private let linkFlags = [
    "-m", "elf_x86_64", "-shared", "-nostdlib", "-z", "now", "-z", "relro", "-z", "text", "-z",
    "noexecstack", "-z", "separate-code", "-z", "max-page-size=0x1000", "--hash-style=sysv", "--build-id=sha1",
    "--no-ld-generated-unwind-info", "--no-relax", "--fatal-warnings",
]

/// What `ld` calls itself: another one may lay the module out otherwise.
/// - Throws: `Failure` where there is none.
package func linkerName() async throws -> String {
    let job = Job("ld", ["--version"], environment: compilerEnvironment, title: "ask ld for its version")
    let result = try await run(job)
    guard result.status == 0, let line = result.outputText.split(whereSeparator: \.isNewline).first else {
        throw Failure("\(job.title): \(result.message())")
    }
    return String(line)
}

private func linkObject(_ object: ObjectWriter, name: String) async throws -> [UInt8] {
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }
    let (directory, input, output) = (scratch.path, scratch.path + "/module.o", scratch.path + "/module.so")
    try object.write(to: input)
    // Both variables would end up in the module.
    let environment: [String: String?] = ["LD_RUN_PATH": nil, "LD_LIBRARY_PATH": nil]
    let job = Job(
        "ld", linkFlags + ["-soname", name, "-o", "module.so", "module.o"], directory: directory,
        environment: environment, title: "link the module \(name)")
    let result = try await run(job)
    guard result.status == 0 else { throw Failure("\(job.title): \(result.message())") }
    guard let bytes = FileManager.default.contents(atPath: output) else { throw Failure("\(job.title): no output") }
    return Array(bytes)
}

/// Turns places in the object into addresses in the module.
private func place(
    _ extraction: Extraction, _ plan: ModulePlan, _ module: ObjectFile, _ bytes: [UInt8]
) throws -> LinkedModule {
    let addresses = try mapAddresses(module, count: extraction.mapIndex.count)
    func address(_ section: SectionIndex, _ offset: UInt64 = 0) throws -> UInt64 {
        guard let index = extraction.mapIndex[section] else { throw Failure("a section of the module has no address") }
        return addresses[index] &+ offset
    }
    func range(_ range: ObjectRange) throws -> AddressRange {
        AddressRange(address: try address(range.section, range.offset), size: range.size)
    }
    var bindings = extraction.bindings
    for (binding, section) in extraction.moduleBindings { bindings[binding].address = try address(section) }
    let functions = try zip(plan.functions, extraction.functions).map { planned, extracted in
        var function = planned.description
        function.newRanges = try extracted.newRanges.map(range)
        function.oldRanges = try extracted.oldRanges.map(range)
        function.stub = try extracted.stub.map { try range($0).address }
        function.oldSlot = try extracted.oldSlot.map { try range($0).address }
        return function
    }
    let tables = extraction.tables
    var layout = ModuleLayout(
        switchAddress: try address(tables.switchByte), switchPointer: try tables.switchPointer.map { try address($0) },
        bindingTable: try tables.bindings.map { try address($0) } ?? 0, bindingCount: extraction.bindingCount,
        memorySize: memorySize(module))
    if let frames = tables.frames, let object = tables.frameObject {
        let size = extraction.object.sections[frames].size
        let table = AddressRange(address: try address(frames), size: size)
        layout.unwind = ModuleUnwind(table: table, object: try address(object))
    }
    if let initializers = tables.initializers {
        let size = extraction.object.sections[initializers].size
        layout.initializers = AddressRange(address: try address(initializers), size: size)
    }
    return LinkedModule(bytes: bytes, functions: functions, bindings: bindings, layout: layout)
}

private func mapAddresses(_ module: ObjectFile, count: Int) throws -> [UInt64] {
    guard let data = module.section(named: ".livepatch.map")?.data, data.count == count * 8 else {
        throw Failure("the linked module has no map of its sections")
    }
    return (0..<count).map { index in
        (0..<8).reversed().reduce(0) { $0 << 8 | UInt64(data[index * 8 + $1]) }
    }
}

private func memorySize(_ module: ObjectFile) -> UInt64 {
    module.segments.filter { $0.type == PT.load }.map { $0.address &+ $0.memorySize }.max() ?? 0
}
