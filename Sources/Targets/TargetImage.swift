import Diagnostics
import ElfFormat
import MachineCode
import ObjectFiles

/// The ELF file to be patched, with the symbols that name what is in it.
package struct TargetImage: Sendable {
    /// The file as it runs: stock, perhaps stripped.
    package let file: ObjectFile
    /// Where names come from: the file itself or the one given with `--symbols`. Of another link, only symbols whose
    /// address in `file` is proved, with that address.
    package let symbolFile: ObjectFile
    /// What another link's symbols were worth; nil when the symbols are those of the very file.
    package let translated: TranslatedSymbols?
    /// Symbols of another link without a proved address, by name: where their neighbours would have them.
    package let guessed: [String: [Symbol]]
    package let buildID: String
    /// Where the file's code is entered, for entry kinds.
    package let code: TargetCode
    /// Names that another link's symbol table defines, their addresses proved or not; empty where the symbols are the file's.
    private let rebuiltNames: Set<String>
    /// Defined symbols by name, a version suffix (`stdout@GLIBC_2.2.5`) taken off.
    let named: [String: [Symbol]]
    /// The symbol table has what is local to units, and so every function by its name: nobody took those out (`strip -x`,
    /// `ld -x`), which takes out what the link made local, too.
    package let namesLocals: Bool
    /// By index of a local symbol: the source file that the symbol table tells; none for a global that the link made
    /// local.
    package let sourceFiles: [SymbolIndex: String]
    /// Undefined dynamic symbols by name: what the target takes from libraries, at which version; the first of several.
    package let imports: [String: Symbol]
    /// Dynamic symbols that the target defines.
    package let exports: [String: Symbol]
    /// By symbol name: address of the target's own GOT slot.
    package let slots: [String: UInt64]
    package let threadLocals: ThreadLocals
    /// By offset in the file's TLS segment: where the two words of its TLS descriptor lie.
    package let threadDescriptors: [UInt64: UInt64]
    /// By address: the GOT slot's symbol name.
    package let slotNames: [UInt64: String]
    /// By address: the version of the GOT slot's symbol, where it has one.
    package let slotVersions: [UInt64: String]
    /// What dynamic relocations name.
    package let symbolicNames: Set<String>
    /// By the address that a dynamic relocation fills: the name of the symbol, or the address in the file.
    package let symbolicNameAt: [UInt64: String]
    package let relativeValueAt: [UInt64: UInt64]
    package let frames: TargetFrames
    /// The file's loaded bytes, segment by segment.
    private let loaded: [(start: UInt64, bytes: [UInt8])]

    package var name: String { file.path.split(separator: "/").last.map(String.init) ?? file.path }
    package var isExecutable: Bool { file.kind == .executable || file.segments.contains { $0.type == PT.interpreter } }
    /// Position-dependent: addresses in the file are those of the process.
    package var isFixed: Bool { file.kind == .executable }

    /// Linked with `-Bsymbolic`: its own definitions come first.
    package var isSymbolic: Bool {
        file.dynamicEntries.contains { $0.tag == 16 || ($0.tag == 30 && $0.value & 2 != 0) }
    }

    /// Reads a target and its symbols, and makes sure that they belong together.
    ///
    /// - Throws: `Refusals` with `bad-input`, `stripped` or `unmatched-function`.
    static func load(path: String, symbolsPath: String?) throws -> TargetImage {
        let file = try read(path)
        guard file.kind != .relocatable else {
            throw Refusals(.badInput, subject: path, why: "it is a relocatable object, not a program or library")
        }
        guard let buildID = file.buildID else {
            throw Refusals(
                .badInput, subject: path, why: "it has no build-id, so a process that runs it can't be recognised",
                remedy: "link the target with --build-id")
        }
        guard let symbolsPath else {
            guard !file.symbols.isEmpty else {
                throw Refusals(.stripped, subject: path, why: "it has no symbol table")
            }
            return TargetImage(file: file, symbolFile: file, buildID: buildID)
        }
        return try load(file, buildID: buildID, symbolsPath: symbolsPath)
    }

    private static func load(_ file: ObjectFile, buildID: String, symbolsPath: String) throws -> TargetImage {
        let symbolFile = try read(symbolsPath)
        guard !symbolFile.symbols.isEmpty else {
            throw Refusals(.stripped, subject: symbolsPath, why: "the file given with --symbols has no symbol table")
        }
        guard symbolFile.buildID != buildID, let difference = firstDifference(file, symbolFile) else {
            return TargetImage(file: file, symbolFile: symbolFile, buildID: buildID)
        }
        let translated = TranslatedSymbols(rebuilt: symbolFile, official: file)
        guard translated.functions.found > 0 else {
            throw Refusals(
                .unmatchedFunction, subject: symbolsPath,
                why: "it is another program than \(file.path), or compiled otherwise: \(difference), and none of its"
                    + " \(translated.functions.all) functions is in the target\(compilerDifference(file, symbolFile))",
                remedy:
                    "give the symbols of the very build, or of a rebuild from its source package with the same compiler"
            )
        }
        return TargetImage(file: file, symbolFile: symbolFile, buildID: buildID, translated: translated)
    }

    private static func read(_ path: String) throws -> ObjectFile {
        do { return try ObjectFile.read(path: path) } catch {
            throw Refusals(.badInput, subject: path, why: "\(error)")
        }
    }

    /// Debug information makes build-ids differ between builds whose code is the same: then the code decides.
    ///
    /// - Returns: nil when every symbol of `symbolFile` has its address in `file`, too.
    private static func firstDifference(_ file: ObjectFile, _ symbolFile: ObjectFile) -> String? {
        for section in file.sections where section.isAllocated && section.type != SHT.note {
            guard let other = symbolFile.section(named: section.name) else {
                return "it has no section \(section.name)"
            }
            if other.address != section.address || other.size != section.size {
                return "section \(section.name) has another place or size"
            }
            // Code alone may be equal where functions alike have changed places: tables tell.
            if other.data != section.data {
                let at = zip(section.data, other.data).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? 0
                return "section \(section.name) differs at +0x\(String(at, radix: 16))"
            }
        }
        return nil
    }

    private init(file: ObjectFile, symbolFile: ObjectFile, buildID: String, translated: TranslatedSymbols? = nil) {
        var symbolFile = symbolFile
        sourceFiles = Self.sourceFiles(symbolFile)
        rebuiltNames = translated == nil ? [] : Set(Self.definitions(in: symbolFile.symbols).keys)
        if let translated { symbolFile.symbols = Indexed(translated.proved) }
        namesLocals = symbolFile.symbols.contains { $0.binding == .local && $0.kind == .function }
        self.file = file
        self.symbolFile = symbolFile
        self.translated = translated
        self.buildID = buildID
        code = TargetCode(file, symbols: symbolFile)
        named = Self.definitions(in: symbolFile.symbols)
        guessed = Self.definitions(in: translated?.guessed ?? [])
        imports = Self.byName(file.dynamicSymbols.filter { !$0.isDefined })
        exports = Self.byName(file.dynamicSymbols.filter(\.isDefined))
        var slots: [String: UInt64] = [:]
        var slotNamesByAddress: [UInt64: String] = [:]
        var slotVersions: [UInt64: String] = [:]
        for relocation in file.dynamicRelocations where relocation.symbol > 0 {
            guard relocation.type.isFilledSlot,
                file.dynamicSymbols.indices.contains(relocation.symbol)
            else { continue }
            let symbol = file.dynamicSymbols[relocation.symbol]
            let name = symbol.name
            slotNamesByAddress[relocation.offset] = name
            slotVersions[relocation.offset] = symbol.version
            // A GLOB_DAT slot is resolved before the program starts, a lazy JUMP_SLOT perhaps never.
            if relocation.type == .globDat || slots[name] == nil { slots[name] = relocation.offset }
        }
        self.slots = slots
        threadLocals = ThreadLocals(file)
        threadDescriptors = Self.threadDescriptors(file)
        slotNames = slotNamesByAddress
        self.slotVersions = slotVersions
        let symbolic = file.dynamicRelocations.filter {
            $0.symbol > 0 && file.dynamicSymbols.indices.contains($0.symbol)
        }.map { ($0.offset, file.dynamicSymbols[$0.symbol].name) }
        symbolicNames = Set(symbolic.map(\.1))
        symbolicNameAt = Dictionary(symbolic, uniquingKeysWith: { first, _ in first })
        relativeValueAt = Dictionary(
            file.dynamicRelocations.filter { $0.type == .relative }.map { ($0.offset, UInt64(bitPattern: $0.addend)) },
            uniquingKeysWith: { first, _ in first })
        frames = TargetFrames(file)
        loaded = file.segments.filter { $0.type == PT.load && $0.fileSize > 0 }.compactMap { segment in
            Int(exactly: segment.fileSize).flatMap { size in
                file.bytes(address: segment.address, size: size).map { (segment.address, $0) }
            }
        }
    }

    private static func definitions(in symbols: some Sequence<Symbol>) -> [String: [Symbol]] {
        var named: [String: [Symbol]] = [:]
        for symbol in symbols where symbol.sectionIndex != nil && !symbol.name.isEmpty {
            guard symbol.kind != .section, symbol.kind != .file else { continue }
            named[VersionedName(symbol.name).base, default: []].append(symbol)
        }
        return named
    }

    private static func sourceFiles(_ file: ObjectFile) -> [SymbolIndex: String] {
        var files: [SymbolIndex: String] = [:]
        var current = ""
        for symbol in file.symbols where symbol.binding == .local {
            if symbol.kind == .file { current = symbol.name } else if !current.isEmpty { files[symbol.index] = current }
        }
        return files
    }

    private static func threadDescriptors(_ file: ObjectFile) -> [UInt64: UInt64] {
        var found: [UInt64: UInt64] = [:]
        for relocation in file.dynamicRelocations where relocation.type == .tlsDesc {
            var offset = UInt64(bitPattern: relocation.addend)
            if relocation.symbol > 0 {
                guard file.dynamicSymbols.indices.contains(relocation.symbol) else { continue }
                // Another object's thread-local has no offset here.
                let symbol = file.dynamicSymbols[relocation.symbol]
                guard symbol.isDefined else { continue }
                offset = offset &+ symbol.value
            }
            found[offset] = relocation.offset
        }
        return found
    }

    private static func byName(_ symbols: [Symbol]) -> [String: Symbol] {
        Dictionary(symbols.filter { !$0.name.isEmpty }.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Bytes of the file at an address; nil when they are not all in one segment's file part.
    package func bytes(at address: UInt64, size: UInt64) -> ArraySlice<UInt8>? {
        for segment in loaded where address >= segment.start {
            let offset = address - segment.start
            guard offset <= UInt64(segment.bytes.count), size <= UInt64(segment.bytes.count) - offset else { continue }
            return segment.bytes[Int(offset)..<Int(offset + size)]
        }
        return nil
    }

    /// An address of the running file, zeroed memory included.
    package func isLoaded(_ address: UInt64) -> Bool {
        file.segments.contains { $0.type == PT.load && address >= $0.address && address - $0.address < $0.memorySize }
    }

    /// The slot that a PLT entry jumps through; nil for any other code.
    package func slotOfPLTEntry(at address: UInt64) -> UInt64? {
        let section = file.sections.first { $0.isAllocated && address >= $0.address && address - $0.address < $0.size }
        guard let section, section.name.hasPrefix(".plt"), let code = bytes(at: address, size: 11) else { return nil }
        return Encoding.slotOfJump(code, at: address)
    }

    /// The link left out what has this name: the symbol table names locals, and not this one.
    package func lacks(_ name: String) -> Bool {
        let base = VersionedName(name).base
        return namesLocals && named[base] == nil && !rebuiltNames.contains(base) && imports[base] == nil
            && exports[base] == nil
    }

    /// The target defines a global of this name at an address that is not proved.
    package func isUnproved(_ name: String) -> Bool {
        definitions(of: name).isEmpty
            && guessed[name]?.contains { $0.binding != .local || sourceFiles[$0.index] == nil } == true
    }

    /// Everything that the symbol table says of a name; several when statics share it.
    ///
    /// A name without a version means the default one, as for the linker; an old version is meant only by its full name
    /// (`api@V1`), or where there is nothing else, as for what a program has copied from a library (`stdout@GLIBC_2.2.5`).
    package func definitions(of name: String) -> [Symbol] {
        let asked = VersionedName(name)
        guard let all = named[asked.base] else { return [] }
        if let version = asked.version {
            let versions = all.map { VersionedName($0).version }
            // Not every linker writes versions into the symbol table.
            if versions.allSatisfy({ $0 == nil }) { return all }
            return zip(all, versions).filter { $1 == version }.map(\.0)
        }
        // Nearly all names have one definition.
        guard all.count > 1 else { return all }
        let visible = all.filter { !VersionedName($0).isOld }
        return visible.isEmpty ? all : visible
    }

    /// What a reference from another unit may mean: no static of some unit.
    package func globalDefinitions(of name: String) -> [Symbol] {
        definitions(of: name).filter { $0.binding != .local || sourceFiles[$0.index] == nil }
    }

    /// What a unit's own definition may be: of statics, those that come from a source of its file's name.
    ///
    /// - Parameter guesses: also where symbols without a proved address may lie.
    package func definitions(of name: String, isLocal: Bool, sources: Set<String>, guesses: Bool = false) -> [Symbol] {
        let all = definitions(of: name) + (guesses ? guessed[name] ?? [] : [])
        guard isLocal else {
            let globals = all.filter { $0.binding != .local || sourceFiles[$0.index] == nil }
            return globals.isEmpty ? all : globals
        }
        return all.filter { symbol in
            symbol.binding == .local && (sourceFiles[symbol.index].map { sources.contains($0) } ?? true)
        }
    }
}
