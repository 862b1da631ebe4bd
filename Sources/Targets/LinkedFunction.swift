import Glibc
import MachineCode
import ObjectFiles

/// A place of 4 bytes in linked code whose value depends on where the linker put something outside of the function.
struct LinkedField: Hashable {
    /// In the function.
    var offset: Int
    /// What a distance counts from, in the function: the instruction's end. Nil: the field holds the address itself.
    var end: Int?
    /// The instruction reads or writes what the field refers to.
    var isAccess = false
    /// How far from what the field refers to a later instruction reads or writes through its address.
    var access: Int32?

    /// The address that the field refers to, where the function `bytes` lies at `address`.
    func target(in bytes: ArraySlice<UInt8>, at address: UInt64) -> UInt64 {
        let value = UInt64(bitPattern: Int64(field32(bytes, bytes.startIndex + offset)))
        guard let end else { return value & 0xffff_ffff }
        return address &+ UInt64(end) &+ value
    }
}

/// A function of a linked file, taken apart into what every link of it has and what a link decides.
struct LinkedFunction {
    var address: UInt64
    /// Where it lies in its section's data.
    var range: Range<Int>
    /// In order.
    var fields: [LinkedField]
    /// Distances from the thread pointer at which it reads or writes.
    var threadAccesses: [Int32] = []
    /// Where 4 bytes of it may be a distance from the thread pointer. Another link may have exchanged two thread-locals,
    /// which makes one function look like another.
    var threadFields: [Int] = []

    /// Parts between the fields, relative to the function: equal wherever the same function is linked.
    var fixedParts: [Range<Int>] { parts(between: fields.map(\.offset)) }

    /// The parts by which the function can be told from others.
    var ownParts: [Range<Int>] {
        threadFields.isEmpty ? fixedParts : parts(between: (fields.map(\.offset) + threadFields).sorted())
    }

    private func parts(between fields: [Int]) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var at = 0
        for field in fields {
            if field > at { parts.append(at..<field) }
            at = field + 4
        }
        if at < range.count { parts.append(at..<range.count) }
        return parts
    }

    /// The same code as `found`, fields aside.
    func isEqual(_ bytes: UnsafeRawBufferPointer, to found: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count == found.count, let ours = bytes.baseAddress, let theirs = found.baseAddress else {
            return false
        }
        return fixedParts.allSatisfy { memcmp(ours + $0.lowerBound, theirs + $0.lowerBound, $0.count) == 0 }
    }
}

/// Decodes the function at `range` of a section of code.
///
/// - Parameter image: the addresses of a file that is linked to fixed ones; there, any 4 bytes at the end of an
///   instruction that look like one of them may be one.
/// - Parameter threadBlock: the size of the file's block of thread-locals.
func linkedFunction(
    _ range: Range<Int>, of section: Section, image: Range<UInt64>?, threadBlock: UInt64 = 0
) -> LinkedFunction {
    let address = section.address &+ UInt64(range.lowerBound)
    let bytes = section.data[range]
    var fields: [LinkedField] = []
    var (threadAccesses, threadFields): ([Int32], [Int]) = ([], [])
    var exact = ExactAccess()
    forEachInstruction(bytes, at: address) { instruction in
        let start = Int(instruction.address &- address)
        let end = start + instruction.length
        let encoded = bytes[bytes.startIndex + start..<bytes.startIndex + end]
        if let (field, distance) = exact.follow(encoded), fields[field].access == nil {
            fields[field].access = distance
        }
        if let target = instruction.target ?? instruction.ripRelativeTarget {
            // A place inside of the function lies equally far away in every link.
            if target &- address < UInt64(range.count) { return }
            let isBranch = instruction.target != nil
            if let offset = fieldOffset(bytes, start, end, distance: target &- instruction.end, isBranch: isBranch) {
                fields.append(
                    LinkedField(offset: offset, end: end, isAccess: !isBranch && !instruction.takesAddress))
                if instruction.takesAddress { exact.takeAddress(encoded, field: fields.count - 1) }
            }
            return
        }
        if threadBlock > 0 {
            if let access = threadAccess(encoded) { threadAccesses.append(access) }
            let offsets = [4, 5, 6, 8].map { end - $0 }.filter { $0 > start }
            let found = offsets.first { offset in
                let value = Int64(field32(bytes, bytes.startIndex + offset))
                return value < 0 && value.magnitude <= threadBlock
            }
            if let found { threadFields.append(found) }
        }
        if let image {
            let offsets = stride(from: end - 4, through: start + 1, by: -1)
            let found = offsets.first {
                image.contains(UInt64(UInt32(bitPattern: field32(bytes, bytes.startIndex + $0))))
            }
            if let found { fields.append(LinkedField(offset: found)) }
        }
    }
    return LinkedFunction(
        address: address, range: range, fields: fields, threadAccesses: threadAccesses, threadFields: threadFields)
}

/// Where the instruction in `[start, end)` holds its distance: last in a branch, behind a ModRM byte that says
/// rip-relative in all others. Nil where it has 1 byte only.
private func fieldOffset(
    _ bytes: ArraySlice<UInt8>, _ start: Int, _ end: Int, distance: UInt64, isBranch: Bool
) -> Int? {
    let candidates = isBranch ? [end - 4] : Array(stride(from: end - 4, through: start + 2, by: -1))
    return candidates.first { offset in
        guard offset > start, field32(bytes, bytes.startIndex + offset) == Int32(truncatingIfNeeded: distance) else {
            return false
        }
        return isBranch || Encoding.isRIPRelative(bytes[bytes.startIndex + offset - 1])
    }
}

private func field32(_ bytes: ArraySlice<UInt8>, _ at: Int) -> Int32 {
    Int32(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) })
}
