import Diagnostics
import ElfFormat
import ObjectFiles
import PatchFormat

/// Looks at what `ld` made: the applier handles four kinds of relocation and nothing else, so a module that needs
/// more is a fault of ours, found here and not in a process.
/// - Throws: `Failure` that names what is unexpected.
func checkLinked(_ module: ObjectFile, imports: Set<String>) throws {
    func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
        if !condition { throw Failure("\(module.path): ld made something unexpected: \(what())") }
    }
    for relocation in module.dynamicRelocations {
        try require(RelocationType.ofModules.contains(relocation.type), "\(relocation.type)")
        try require((relocation.type == .relative) == (relocation.symbol == 0), "\(relocation.type) of no symbol")
        try require(module.dynamicSymbols.indices.contains(relocation.symbol), "a relocation of no symbol")
    }
    let writableCode = PF.write | PF.execute
    for segment in module.segments {
        try require(
            segment.flags & writableCode != writableCode || segment.type != PT.load,
            "a segment that is writable and executable")
        try require(segment.type != PT.tls, "thread-local storage")
    }
    let named = module.dynamicSymbols.dropFirst().filter { !$0.name.isEmpty }
    try require(!named.contains { $0.isDefined }, "it defines dynamic symbols")
    let undefined = Set(named.map(\.name))
    try require(undefined == imports, "imports \(undefined.symmetricDifference(imports).sorted())")
    for section in module.sections {
        let name = section.name
        let isConstructor = [".init", ".fini", ".ctors", ".dtors", ".preinit"].contains { name.hasPrefix($0) }
        try require(!isConstructor, "the section \(name)")
        try require(name != ".eh_frame", "unwind data of its own")
    }
    for tag in try dynamicTags(module) {
        try require(!forbiddenTags.contains(tag), "the dynamic tag \(tag)")
    }
}

/// The unwinder reads records until one of length zero, wherever that is.
/// - Throws: `Failure` when the table is not as long as it should be, or does not end so.
func checkFrames(_ module: ObjectFile, size: UInt64) throws {
    guard let section = module.section(named: ".livepatch.frames"), section.size == size,
        section.data.suffix(4) == [0, 0, 0, 0]
    else { throw Failure("\(module.path): ld changed the unwind data") }
}

private let forbiddenTags: Set<UInt64> = [
    DT.needed, DT.initialiser, DT.finaliser, DT.libraryPath, DT.textRelocations, DT.initArray, DT.finiArray, DT.runPath,
]

private func dynamicTags(_ module: ObjectFile) throws -> [UInt64] {
    guard let data = module.section(named: ".dynamic")?.data else {
        throw Failure("\(module.path): ld made no dynamic section")
    }
    return stride(from: 0, to: data.count - data.count % 16, by: 16).map { start in
        (0..<8).reversed().reduce(0) { $0 << 8 | UInt64(data[start + $1]) }
    }
}
