import Disassembly
import ObjectFiles
import Targets

/// Why a function of an object is not what the target has.
enum Mismatch: Error {
    /// The same place, other bytes: those of the object, those of the target, the first that differs, and the address.
    case bytes([UInt8], [UInt8], at: Int, address: UInt64)
    case other(String)

    var text: String {
        switch self {
        case .other(let text): return text
        case .bytes(let expected, let found, let at, let address):
            let (ours, theirs) = (instruction(of: expected, at, address), instruction(of: found, at, address))
            return "byte +0x\(String(at, radix: 16)) of \(expected.count) differs: compiled again it is \(ours.text),"
                + " the target has \(theirs.text) at 0x\(String(address, radix: 16))"
        }
    }
}

private struct Spelled {
    var mnemonic = ""
    var bytes: ArraySlice<UInt8> = []
    var operands = ""

    var text: String {
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
        return "`\(mnemonic)\(operands.isEmpty ? "" : " " + operands)` (\(hex))"
    }
}

/// The instruction that holds the byte `at`.
private func instruction(of code: [UInt8], _ at: Int, _ address: UInt64) -> Spelled {
    var spelled = Spelled()
    forEachInstruction(code[...], at: address, operands: true) { instruction in
        let start = Int(instruction.address &- address)
        guard start <= at, at < start + instruction.length else { return }
        spelled = Spelled(
            mnemonic: instruction.mnemonic, bytes: code[start..<start + instruction.length],
            operands: instruction.operands)
    }
    return spelled
}

/// Another compiler, other flags, or another source, as far as the differences tell.
func likelyCause(
    _ mismatches: some Collection<Mismatch>, matched: Int, object: ObjectFile, target: ObjectFile
) -> String {
    guard !mismatches.isEmpty else { return "" }
    let compilers = compilerDifference(target, object)
    if !compilers.isEmpty { return compilers }
    let differing = mismatches.compactMap { mismatch -> (ours: Spelled, theirs: Spelled, at: Int)? in
        guard case .bytes(let expected, let found, let at, let address) = mismatch else { return nil }
        return (instruction(of: expected, at, address), instruction(of: found, at, address), at)
    }
    let isProtected = differing.filter { ($0.ours.mnemonic == "endbr64") != ($0.theirs.mnemonic == "endbr64") }
    if isProtected.count * 2 > mismatches.count { return "; it looks like another -fcf-protection" }
    // One function may differ by chance; all of a unit do so by its flags.
    if matched * 4 < mismatches.count {
        let isFramed = differing.filter {
            $0.at < 8 && $0.ours.operands.hasSuffix("%rbp") != $0.theirs.operands.hasSuffix("%rbp")
        }
        if isFramed.count * 2 > mismatches.count { return "; it looks like another -O level or -fomit-frame-pointer" }
        return "; most of the unit differs, which looks like other flags (-O, -f, -m) or another compiler"
    }
    let isConstant = differing.contains { ours, theirs, _ in
        ours.mnemonic == theirs.mnemonic && ours.bytes.count == theirs.bytes.count && ours.operands != theirs.operands
            && registers(ours.operands) == registers(theirs.operands)
    }
    if isConstant {
        return "; it is the same instruction with another constant, which looks like another source, header or -D"
    }
    return "; most of the unit is equal, so that compiler and flags are right: it looks like another source, header or"
        + " -D"
}

/// Operands without their numbers.
private func registers(_ operands: String) -> [Substring] {
    operands.split { $0 == "," || $0 == "(" || $0 == ")" }.filter { $0.hasPrefix("%") }
}
