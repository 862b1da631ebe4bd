import ObjectFiles

/// The functions of a linked file, as its unwind data has them, in order: stripping leaves it. Compilers describe each
/// function, and each half of one, by a record of its own.
///
/// - Returns: nil where the file has none, or data of a form that is not GCC's or clang's usual one.
func unwindRanges(_ file: ObjectFile) -> [Range<UInt64>]? {
    guard let frames = file.section(named: ".eh_frame"), !frames.data.isEmpty else { return nil }
    let data = frames.data
    var isUsual: [Int: Bool] = [:]
    var ranges: [Range<UInt64>] = []
    var offset = 0
    while offset + 8 <= data.count {
        let length = Int(word(data, offset))
        // Each object's data may end with a terminator of its own.
        if length == 0 {
            offset += 4
            continue
        }
        guard length >= 4, length < 0xffff_fff0, offset + 4 + length <= data.count else { return nil }
        let id = Int(word(data, offset + 4))
        if id == 0 {
            isUsual[offset] = countsFromItself(data[offset + 8..<offset + 4 + length])
        } else {
            guard isUsual[offset + 4 - id] == true, length >= 12 else { return nil }
            let place = frames.address &+ UInt64(offset + 8)
            let start = place &+ UInt64(bitPattern: Int64(Int32(bitPattern: word(data, offset + 8))))
            ranges.append(start..<start &+ UInt64(word(data, offset + 12)))
        }
        offset += 4 + length
    }
    return ranges.sorted { $0.lowerBound < $1.lowerBound }
}

/// Whether the records of a CIE give addresses as 4-byte distances from their own place; `record` begins with its version.
private func countsFromItself(_ record: ArraySlice<UInt8>) -> Bool {
    var rest = record.dropFirst()
    guard record.first == 1 || record.first == 3, let end = rest.firstIndex(of: 0) else { return false }
    let letters = rest[..<end]
    rest = rest[(end + 1)...]
    guard letters.first == UInt8(ascii: "z") else { return false }
    // Factors of code and data, return register, length: numbers of 7 bits a byte.
    for _ in 0..<4 { rest = rest.drop { $0 & 0x80 != 0 }.dropFirst() }
    for letter in letters.dropFirst() {
        switch letter {
        case UInt8(ascii: "R"): return rest.first == 0x1b
        case UInt8(ascii: "L"): rest = rest.dropFirst()
        case UInt8(ascii: "P"):
            guard let form = rest.first, form & 7 == 3 else { return false }
            rest = rest.dropFirst(5)
        case UInt8(ascii: "S"), UInt8(ascii: "B"): break
        default: return false
        }
    }
    return false
}

private func word(_ data: [UInt8], _ offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(data[offset + $1]) << (8 * UInt32($1)) }
}
