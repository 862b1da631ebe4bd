import Disassembly
import ObjectFiles
import PatchFormat
import Reviewing

/// What the modules themselves say of the listings: they are what a process will run.
struct ModuleCheck {
    /// Listings with their functions' names, that are the module's code, instruction by instruction.
    var agreed = 0
    /// What the review shows otherwise than the module has it.
    var differences: [String] = []
    /// By target and function: the module's own code, where the review has no listing of it.
    var listings: [[Listing?]] = []

    init(_ bundle: Bundle, _ review: Review?) {
        for (index, target) in bundle.manifest.targets.enumerated() {
            let module = try? ObjectFile.parse(bytes: bundle.modules[target.module] ?? [], name: target.module)
            let functions = review?.targets[index].functions
            listings.append(
                target.functions.enumerated().map { number, function in
                    let shown = functions?[number]
                    check(shown?.new, function.newRanges, function.name, module, side: "new")
                    // Padded entries need no copy of the old code.
                    if !function.oldRanges.isEmpty {
                        check(shown?.original, function.oldRanges, function.name, module, side: "original")
                    }
                    return shown?.new == nil ? module.flatMap { read(function.newRanges, $0) } : nil
                })
        }
    }

    private mutating func check(
        _ listing: Listing?, _ ranges: [AddressRange], _ name: String, _ module: ObjectFile?, side: String
    ) {
        guard let listing else { return }
        guard let module, let code = read(ranges, module) else {
            return differences.append("\(name): its \(side) code is not in the module")
        }
        guard code.parts == listing.parts, code.offsets == listing.offsets else {
            return differences.append("\(name): the \(side) code has other instructions in the module")
        }
        if let row = code.text.indices.first(where: { !isSame(code.text[$0], listing.text[$0], listing.targets[$0]) }) {
            let place = listing.label(row)
            return differences.append(
                "\(name): at \(place) the \(side) code is `\(code.text[row])` in the module, and not `\(listing.shown(row))`"
            )
        }
        agreed += 1
    }

    /// The instructions of these ranges of the module.
    private func read(_ ranges: [AddressRange], _ module: ObjectFile) -> Listing? {
        var listing = Listing()
        for range in ranges {
            guard range.size <= 16 << 20, let bytes = module.bytes(address: range.address, size: Int(range.size)) else {
                return nil
            }
            let before = listing.text.count
            forEachInstruction(bytes[...], at: range.address, operands: true) { instruction in
                let start = Int(instruction.address - range.address)
                listing.offsets.append(start)
                listing.text.append(
                    instruction.spelled(bytes.dropFirst(start).prefix(instruction.length)))
                listing.targets.append(-1)
                listing.lines.append(-1)
            }
            listing.parts.append(listing.text.count - before)
            listing.size += bytes.count
        }
        return listing
    }

    /// The module has a number where the listing has a name, and nothing else may differ.
    private func isSame(_ code: String, _ shown: String, _ target: Int) -> Bool {
        if code == shown { return true }
        let (words, others) = (code.split(separator: " ", maxSplits: 1), shown.split(separator: " ", maxSplits: 1))
        guard let word = words.first, word == others.first else { return false }
        let (operands, named) = (words.dropFirst().first ?? "", others.dropFirst().first ?? "")
        // A branch: where it leads to is a place in the function, or a name.
        if target >= 0 || operands.hasPrefix("0x") && !operands.contains("(") { return true }
        return numbers(in: operands).contains { number in
            let (before, after) = (operands[..<number.lowerBound], operands[number.upperBound...])
            return named.hasPrefix(before) && named.hasSuffix(after)
                && named.utf8.count >= before.utf8.count + after.utf8.count
                && !(named.dropFirst(before.count).first?.isNumber ?? true)
        }
    }

    /// Where operands have a number: `0x…` with or without a sign.
    private func numbers(in operands: Substring) -> [Range<Substring.Index>] {
        operands.ranges(of: "0x").map { range in
            let end = operands[range.upperBound...].firstIndex { !$0.isHexDigit } ?? operands.endIndex
            let start =
                operands[..<range.lowerBound].last == "-" ? operands.index(before: range.lowerBound) : range.lowerBound
            return start..<end
        }
    }
}
