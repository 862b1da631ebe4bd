import ElfFormat

/// Questions that several passes ask of a file.
extension ObjectFile {
    /// The first section of that name.
    public func section(named name: String) -> Section? { sections.first { $0.name == name } }

    /// Symbols defined in the section with this index, in file order; section and file symbols included.
    public func symbols(in sectionIndex: SectionIndex) -> [Symbol] {
        symbols.filter { $0.sectionIndex == sectionIndex }
    }

    /// The dynamic relocation that writes this address, for example the one of a GOT slot.
    public func dynamicRelocation(at address: UInt64) -> Relocation? {
        dynamicRelocations.first { $0.offset == address }
    }

    /// Holds the compiler's intermediate code for link-time optimisation (rule `lto-object`); `DebugUnit.hasLTO` tells
    /// it of a linked file.
    public var hasLTO: Bool { sections.contains { $0.name.hasPrefix(".gnu.lto_") || $0.name == ".llvm.lto" } }

    /// A separate `.debug` file: it has the headers of the code, not the code.
    public var isDebugOnly: Bool { sections.contains { $0.isExecutable && $0.isNoBits } }

    /// Bytes of a linked file at an address, as its `PT_LOAD` segments place them, before any dynamic relocation;
    /// zeros where memory is longer than the file (`.bss`). nil where the range lies in no one segment, or the file
    /// does not hold it.
    public func bytes(address: UInt64, size: Int) -> [UInt8]? {
        guard size >= 0, !isDebugOnly else { return nil }
        for segment in segments where segment.type == PT.load && address >= segment.address {
            let skipped = address - segment.address
            guard skipped <= segment.memorySize, segment.memorySize - skipped >= UInt64(size) else { continue }
            let stored = skipped < segment.fileSize ? min(UInt64(size), segment.fileSize - skipped) : 0
            let (start, overflow) = segment.fileOffset.addingReportingOverflow(skipped)
            guard !overflow, stored == 0 || (start <= image.count && UInt64(image.count) - start >= stored) else {
                return nil
            }
            let held = stored == 0 ? [] : image[Int(start)..<Int(start + stored)]
            // A huge `.bss` is only as trustworthy as the header that promises it.
            guard size - held.count <= 1 << 30 else { return nil }
            return held + [UInt8](repeating: 0, count: size - held.count)
        }
        return nil
    }
}
