import Disassembly
import ObjectFiles
import PatchFormat

/// Where two modules of one target first differ, in words: section and offset, and the function where there is one.
///
/// - Parameter target: as the bundle describes it; its functions tell where code lies.
func moduleDifference(_ bundle: [UInt8], rebuilt: [UInt8], target: ManifestTarget) -> String {
    guard let theirs = try? ObjectFile.parse(bytes: bundle, name: "bundle"),
        let ours = try? ObjectFile.parse(bytes: rebuilt, name: "rebuild")
    else { return byteDifference(bundle, rebuilt, of: "the file", at: 0) }
    let names = theirs.sections.map(\.name)
    guard names == ours.sections.map(\.name) else {
        let (one, other) = zip(names, ours.sections.map(\.name)).first { $0 != $1 } ?? ("none", "none")
        return "the sections differ: the bundle has \(names.count), the rebuild \(ours.sections.count);"
            + " first \(one) in the bundle, \(other) in the rebuild"
    }
    // Code first: what else differs often follows from it.
    let pairs = zip(theirs.sections, ours.sections).filter { $0.data != $1.data || $0.address != $1.address }
    guard let (one, other) = pairs.first(where: { $0.0.isExecutable }) ?? pairs.first else {
        return byteDifference(bundle, rebuilt, of: "the file, outside of all sections", at: 0)
    }
    guard one.data != other.data else {
        return
            "section \(one.name) lies at 0x\(hex(one.address)) in the bundle, at 0x\(hex(other.address)) in the rebuild"
    }
    return sectionDifference(one, other, target)
}

private func sectionDifference(_ one: Section, _ other: Section, _ target: ManifestTarget) -> String {
    let at = zip(one.data, other.data).prefix { $0 == $1 }.count
    let sizes = one.data.count == other.data.count ? "" : " (\(one.data.count) bytes there, \(other.data.count) here)"
    let section = "section \(one.name)\(sizes)"
    let address = one.address &+ UInt64(at)
    guard one.isExecutable, let (function, part, range) = place(address, in: target), one.address <= range.address,
        at < one.data.count, at < other.data.count
    else {
        return byteDifference(one.data, other.data, of: section, at: one.address)
    }
    let start = Int(range.address &- one.address)
    let code = (instruction(one.data, from: start, at: at), instruction(other.data, from: start, at: at))
    return "\(section), \(part) of \(function.name) (\(function.object)), byte +0x\(hex(UInt64(at - start)))"
        + " of \(range.size): the bundle has \(code.0), the rebuild \(code.1)"
}

/// The function whose code lies at an address of the module.
private func place(_ address: UInt64, in target: ManifestTarget) -> (PatchedFunction, String, AddressRange)? {
    for function in target.functions {
        for (part, ranges) in [("the new body", function.newRanges), ("the copy of the old body", function.oldRanges)] {
            // The sum can't overflow: the manifest's ranges lie within the module.
            if let range = ranges.first(where: { $0.address <= address && address < $0.end }) {
                return (function, part, range)
            }
        }
    }
    return nil
}

/// The instruction that holds the byte `at`, decoded from the function's `start`.
private func instruction(_ code: [UInt8], from start: Int, at: Int) -> String {
    var text = "0x" + hex(UInt64(code[at]))
    forEachInstruction(code[start...], at: UInt64(start), operands: true) { instruction in
        let first = Int(instruction.address)
        guard first <= at, at < first + instruction.length else { return }
        let bytes = code[first..<first + instruction.length].map { Digest.hexadecimal([$0]) }.joined(separator: " ")
        text = "`\(instruction.mnemonic)\(instruction.operands.isEmpty ? "" : " ")\(instruction.operands)` (\(bytes))"
    }
    return text
}

/// The first byte that differs.
func byteDifference(_ one: [UInt8], _ other: [UInt8], of what: String, at address: UInt64) -> String {
    let at = zip(one, other).prefix { $0 == $1 }.count
    guard at < one.count, at < other.count else {
        return "\(what): \(one.count) bytes in the bundle, \(other.count) in the rebuild, equal as far as both go"
    }
    return "\(what), at 0x\(hex(address &+ UInt64(at))): the bundle has 0x\(hex(UInt64(one[at]))),"
        + " the rebuild 0x\(hex(UInt64(other[at])))"
}

private func hex(_ number: UInt64) -> String { String(number, radix: 16) }
