import ElfFormat
import ObjectFiles

/// The unwind data of a linked file: the ranges that its FDEs describe, and where each function's handlers lie.
package struct TargetFrames: Sendable {
    /// By a function's first address: its LSDA, 0 for none.
    package private(set) var lsdas: [UInt64: UInt64] = [:]
    /// The functions, and halves of them: compilers give each an FDE of its own, and stripping leaves it.
    private(set) var functions: [Range<UInt64>] = []
    /// Why nothing can be told.
    package private(set) var fault: String?

    init(_ file: ObjectFile) {
        guard let frames = file.section(named: ".eh_frame"), !frames.data.isEmpty else {
            fault = "it has no unwind data"
            return
        }
        do { try read(frames) } catch { (fault, lsdas, functions) = ("\(error)", [:], []) }
    }

    private mutating func read(_ frames: Section) throws(CallFrameFault) {
        let records = try CallFrames(frames.data)
        let reader = ByteReader(frames.data) { CallFrameFault("its unwind data is damaged: \($0)") }
        for fde in records.fdes {
            guard let augmentation = records.cies[fde.cie].augmentation else {
                throw CallFrameFault("its unwind data is of an unknown form")
            }
            var cursor = ByteCursor(reader, at: frames.address)
            // Behind the length and the distance to the CIE.
            cursor.offset = fde.range.lowerBound + 8
            let encoding = augmentation.code?.value ?? 0
            let code = try cursor.pointer(encoding: encoding)
            let size = try cursor.pointer(encoding: encoding & 0x0f)
            _ = try cursor.uleb()
            lsdas[code] = 0
            if size > 0, size < 1 << 32, code < .max - size { functions.append(code..<code + size) }
            guard let form = augmentation.lsda?.value, form != 0xff else { continue }
            var raw = cursor
            guard try raw.pointer(encoding: form & 0x0f) != 0 else { continue }
            lsdas[code] = try cursor.pointer(encoding: form & 0x7f)
        }
    }
}
