import CElfutils

extension ElfReader {
    /// The GNU build-id, from note sections, else (no section table) from `PT_NOTE` segments.
    func readBuildID(_ segments: [Segment]) -> String? {
        for section in sections where section.type == SHT_NOTE {
            if let scn = elf_getscn(handle.elf, section.index.rawValue), let id = buildID(elf_getdata(scn, nil)) {
                return id
            }
        }
        for segment in segments where segment.type == PT_NOTE && sections.isEmpty {
            guard isInFile(segment.fileOffset, segment.fileSize) else { continue }
            let type = segment.alignment == 8 ? ELF_T_NHDR8 : ELF_T_NHDR
            let chunk = elf_getdata_rawchunk(
                handle.elf, Int64(segment.fileOffset), Int(segment.fileSize), type)
            if let id = buildID(chunk) { return id }
        }
        return nil
    }

    private func buildID(_ data: UnsafeMutablePointer<Elf_Data>?) -> String? {
        guard let data, let start = data.pointee.d_buf else { return nil }
        let bytes = UnsafeRawBufferPointer(start: start, count: data.pointee.d_size)
        var offset = 0
        while offset < bytes.count {
            var note = GElf_Nhdr()
            var nameOffset = 0
            var descriptionOffset = 0
            let next = gelf_getnote(data, offset, &note, &nameOffset, &descriptionOffset)
            guard next > offset else { return nil }
            offset = next
            let description = descriptionOffset..<descriptionOffset &+ Int(note.n_descsz)
            guard note.n_type == NT_GNU_BUILD_ID, note.n_namesz == 4, nameOffset + 4 <= bytes.count,
                bytes[nameOffset..<nameOffset + 4].elementsEqual([0x47, 0x4e, 0x55, 0]),
                description.upperBound <= bytes.count
            else { continue }
            return bytes[description].map { $0 < 16 ? "0\(String($0, radix: 16))" : String($0, radix: 16) }.joined()
        }
        return nil
    }
}
