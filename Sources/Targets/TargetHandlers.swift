import ObjectFiles

/// The handlers and cleanups of a linked file: where each function's table lies, as its unwind data says.
package struct TargetHandlers {
    /// By a function's first address: its table, 0 for none.
    package private(set) var tables: [UInt64: UInt64] = [:]
    /// The functions, and halves of them: compilers describe each by a record of its own, and stripping leaves it.
    private(set) var functions: [Range<UInt64>] = []
    /// Why nothing can be told.
    package private(set) var fault: String?

    init(_ file: ObjectFile) {
        guard let frames = file.section(named: ".eh_frame"), !frames.data.isEmpty else {
            fault = "it has no unwind data"
            return
        }
        if let reason = read(frames) { (fault, tables, functions) = (reason, [:], []) }
    }

    /// What of a record's shared part matters here (`DW_EH_PE_…`, LSB 10.5).
    private struct Common {
        var code: UInt8 = 0
        var table: UInt8?
    }

    private mutating func read(_ frames: Section) -> String? {
        let data = frames.data
        var commons: [Int: Common] = [:]
        var offset = 0
        while offset + 8 <= data.count {
            let length = Int(data.word(offset))
            // Each object's data may end with a terminator of its own.
            if length == 0 {
                offset += 4
                continue
            }
            let end = offset + 4 + length
            guard length >= 4, length < 0xffff_fff0, end <= data.count else { return "its unwind data is damaged" }
            let id = Int(data.word(offset + 4))
            if id == 0 {
                guard let common = common(data, offset + 8, end) else { return "its unwind data is of an unknown form" }
                commons[offset] = common
            } else {
                guard let common = commons[offset + 4 - id], describe(data, offset + 8, end, common, frames.address)
                else { return "its unwind data is of an unknown form" }
            }
            offset = end
        }
        return nil
    }

    private func common(_ data: [UInt8], _ start: Int, _ end: Int) -> Common? {
        guard start < end else { return nil }
        var cursor = Cursor(data: data, at: start + 1, end: end)
        guard data[start] == 1 || data[start] == 3, let text = cursor.text() else { return nil }
        // Code and data alignment, return register.
        guard text.first == UInt8(ascii: "z"), (0..<4).allSatisfy({ _ in cursor.number() != nil }) else { return nil }
        var common = Common()
        for letter in text.dropFirst() {
            switch letter {
            case UInt8(ascii: "R"): common.code = cursor.byte() ?? 0xff
            case UInt8(ascii: "L"): common.table = cursor.byte() ?? 0xff
            case UInt8(ascii: "P"):
                guard let form = cursor.byte(), cursor.pointer(form, at: 0) != nil else { return nil }
            case UInt8(ascii: "S"), UInt8(ascii: "B"): break
            default: return nil
            }
        }
        return common
    }

    private mutating func describe(
        _ data: [UInt8], _ start: Int, _ end: Int, _ common: Common, _ address: UInt64
    ) -> Bool {
        var cursor = Cursor(data: data, at: start, end: end)
        guard let code = cursor.pointer(common.code, at: address),
            let size = cursor.pointer(common.code & 0x0f, at: 0)?.raw, cursor.number() != nil
        else { return false }
        tables[code.value] = 0
        if size > 0, size < 1 << 32, code.value < .max - size { functions.append(code.value..<code.value + size) }
        guard let form = common.table, form != 0xff else { return true }
        guard let table = cursor.pointer(form, at: address) else { return false }
        if table.raw != 0 { tables[code.value] = table.value }
        return true
    }
}

/// A function's table of handlers and cleanups (LSDA), as far as its parts have to be told apart: the linker changes
/// nothing of it but the references to types at its end.
package struct HandlerTable {
    /// Bytes, padding behind it not included.
    package var size: Int
    /// How it refers to types; nil where it refers to none.
    package var typeForm: UInt8?

    /// - Returns: nil for a form that compilers don't use.
    package init?(_ data: [UInt8], at start: Int) {
        var cursor = Cursor(data: data, at: start, end: data.count)
        guard cursor.byte() == 0xff, let form = cursor.byte() else { return nil }
        var types: Int?
        if form != 0xff {
            guard let distance = cursor.number() else { return nil }
            types = cursor.at &+ distance
            typeForm = form
        }
        guard cursor.byte() == 1, let length = cursor.number() else { return nil }
        let end = types ?? cursor.at &+ length
        guard end >= cursor.at, end <= data.count else { return nil }
        size = end - start
    }
}

private struct Cursor {
    let data: [UInt8]
    var at: Int
    let end: Int

    mutating func byte() -> UInt8? {
        guard at < end else { return nil }
        at += 1
        return data[at - 1]
    }

    /// Up to its end, which is skipped.
    mutating func text() -> ArraySlice<UInt8>? {
        guard let stop = data[at..<end].firstIndex(of: 0) else { return nil }
        defer { at = stop + 1 }
        return data[at..<stop]
    }

    /// Of 7 bits a byte; the sign, which is not asked for, aside.
    mutating func number() -> Int? {
        var value = 0
        for shift in stride(from: 0, to: 35, by: 7) {
            guard let byte = byte() else { return nil }
            value |= Int(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
        }
        return nil
    }

    /// A pointer of an encoding of 4 or 8 bytes, absolute or counted from its place; `raw` is what stands there.
    mutating func pointer(_ form: UInt8, at address: UInt64) -> (raw: UInt64, value: UInt64)? {
        let isShort = [0x03, 0x0b].contains(form & 0x0f)
        guard isShort || [0x00, 0x04, 0x0c].contains(form & 0x0f), [0x00, 0x10].contains(form & 0x70),
            at + (isShort ? 4 : 8) <= end
        else { return nil }
        let place = address &+ UInt64(at)
        var raw = UInt64(data.word(at))
        if isShort {
            at += 4
        } else {
            raw |= UInt64(data.word(at + 4)) << 32
            at += 8
        }
        if isShort, form & 0x0f == 0x0b { raw = UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: Int64(raw)))) }
        return (raw, form & 0x70 == 0x10 ? place &+ raw : raw)
    }
}
