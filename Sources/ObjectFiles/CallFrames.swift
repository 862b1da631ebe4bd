import CElfutils
import ElfFormat

/// Why a section of call frame information can't be used.
package struct CallFrameFault: Error, CustomStringConvertible, Sendable {
    package var description: String
    package init(_ description: String) { self.description = description }
}

/// The records of an `.eh_frame` section, as libdw reads them (LSB 5.0, 10.6; DWARF 5, 6.4.1).
///
/// Only what linkers and unwinders have to tell apart: the instructions are not looked into.
package struct CallFrames: Sendable {
    /// A CIE: what several FDEs share.
    package struct CIE: Sendable {
        /// Offsets in the section, the length's field included.
        package var range: Range<Int>
        /// What its augmentation string announces; nil for a string of an unknown form.
        package var augmentation: Augmentation?
    }

    package struct Augmentation: Sendable {
        /// Of the code's address in each FDE (`R`).
        package var code: PointerEncoding?
        /// Of the LSDA's address in each FDE (`L`).
        package var lsda: PointerEncoding?
        /// Of the personality routine's address in the CIE (`P`).
        package var personality: PointerEncoding?
    }

    /// A `DW_EH_PE_…` byte, and where in the section it stands.
    package struct PointerEncoding: Sendable {
        package var offset: Int
        package var value: UInt8
    }

    /// An FDE: how to unwind a range of code.
    package struct FDE: Sendable {
        package var range: Range<Int>
        /// Index into `cies`.
        package var cie: Int
    }

    package private(set) var cies: [CIE] = []
    package private(set) var fdes: [FDE] = []
    /// Offsets of words of zero, each of which ends an object's records.
    package private(set) var terminators: [Int] = []

    /// - Throws: `CallFrameFault` for records that are damaged, or that refer to no CIE before them.
    package init(_ data: [UInt8]) throws(CallFrameFault) {
        var numbers: [Int: Int] = [:]
        var offset = 0
        let reader = ByteReader(data) { _ in CallFrameFault("its unwind data is cut off") }
        while offset < data.count {
            let length = try reader.u32(UInt64(offset))
            if length == 0 {
                terminators.append(offset)
                offset += 4
                continue
            }
            let end = offset + 4 + Int(length)
            // Longer records have another header, and no compiler writes them.
            guard length >= 4, length < 0xffff_fff0, end <= data.count else {
                throw CallFrameFault("its unwind data is damaged")
            }
            switch Self.entry(data, at: offset) {
            case .cie(let augmentation):
                numbers[offset] = cies.count
                cies.append(CIE(range: offset..<end, augmentation: augmentation))
            case .fde(let place):
                guard let cie = numbers[place] else { throw Self.unknown(offset) }
                fdes.append(FDE(range: offset..<end, cie: cie))
            case nil: throw Self.unknown(offset)
            }
            offset = end
        }
    }

    private static func unknown(_ offset: Int) -> CallFrameFault {
        CallFrameFault("its unwind data at \(hex(UInt64(offset))) is of an unknown form")
    }

    private enum Entry {
        case cie(Augmentation?)
        /// The CIE's offset.
        case fde(Int)
    }

    private static func entry(_ data: [UInt8], at offset: Int) -> Entry? {
        data.withUnsafeBytes { bytes -> Entry? in
            guard let start = bytes.baseAddress else { return nil }
            var source = Elf_Data()
            source.d_buf = UnsafeMutableRawPointer(mutating: start)
            source.d_size = bytes.count
            source.d_version = UInt32(EV_CURRENT)
            var identity = [UInt8](repeating: 0, count: Int(EI_NIDENT))
            identity[Int(EI_CLASS)] = UInt8(ELFCLASS64)
            identity[Int(EI_DATA)] = UInt8(ELFDATA2LSB)
            var next: Dwarf_Off = 0
            var entry = Dwarf_CFI_Entry()
            guard dwarf_next_cfi(&identity, &source, true, Dwarf_Off(offset), &next, &entry) == 0 else { return nil }
            // What `dwarf_cfi_cie_p` asks, a macro.
            if entry.CIE_id != .max { return Int(exactly: entry.fde.CIE_pointer).map { .fde($0) } }
            return .cie(Augmentation(entry.cie, in: data, from: start))
        }
    }
}

extension CallFrames.Augmentation {
    /// - Returns: nil where the string has no `z`, or a letter that is not known.
    fileprivate init?(_ cie: Dwarf_CIE, in section: [UInt8], from start: UnsafeRawPointer) {
        guard let text = cie.augmentation.map({ Array(String(cString: $0).utf8) }), text.first == UInt8(ascii: "z"),
            let data = cie.augmentation_data
        else { return nil }
        let place = UnsafeRawPointer(data) - start
        guard place >= 0, place + cie.augmentation_data_size <= section.count else { return nil }
        let reader = ByteReader(Array(section[place..<place + cie.augmentation_data_size])) { CallFrameFault($0) }
        var cursor = ByteCursor(reader, at: 0)
        do {
            for letter in text.dropFirst() {
                let offset = place + cursor.offset
                switch letter {
                case UInt8(ascii: "R"): code = .init(offset: offset, value: try cursor.byte())
                case UInt8(ascii: "L"): lsda = .init(offset: offset, value: try cursor.byte())
                case UInt8(ascii: "P"):
                    let encoding = try cursor.byte()
                    personality = .init(offset: offset, value: encoding)
                    _ = try cursor.pointer(encoding: encoding & 0x0f)
                case UInt8(ascii: "S"), UInt8(ascii: "B"): break
                default: return nil
                }
            }
        } catch { return nil }
    }
}

/// A function's table of handlers and cleanups (LSDA, in `.gcc_except_table`), as far as its parts have to be told apart:
/// the linker changes nothing of it but the references to types at its end.
package struct LSDA: Sendable {
    /// Bytes, padding behind it not included.
    package var size: Int
    /// How it refers to types (`DW_EH_PE_…`); nil where it refers to none.
    package var typeEncoding: UInt8?

    /// - Returns: nil for a form that compilers don't use, and for one that is cut off.
    package init?(_ data: [UInt8], at start: Int) {
        guard data.indices.contains(start) else { return nil }
        let bytes = Array(data[start...])
        var cursor = ByteCursor(ByteReader(bytes) { CallFrameFault($0) }, at: 0)
        do {
            // No base of its own for the landing pads; then the types' encoding, and the distance to their end.
            guard try cursor.byte() == 0xff else { return nil }
            let encoding = try cursor.byte()
            var types: UInt64?
            if encoding != 0xff {
                let distance = try cursor.uleb()
                types = UInt64(cursor.offset) &+ distance
                typeEncoding = encoding
            }
            // The table of call sites, in ULEB128 or in words of four bytes.
            let form = try cursor.byte()
            guard form == 1 || form == 3 else { return nil }
            let length = try cursor.uleb()
            let end = types ?? UInt64(cursor.offset) &+ length
            guard end >= UInt64(cursor.offset), end <= UInt64(bytes.count) else { return nil }
            size = Int(end)
        } catch { return nil }
    }
}
