import MachineCode
import TestSupport

/// A few bytes of machine code with the labels in it.
struct Assembled {
    /// Address 0x1000 of `.text`, so that nothing lies at 0.
    static let base: UInt64 = 0x1000
    var bytes: [UInt8]
    var labels: [String: UInt64]

    func address(_ label: String) -> UInt64 { labels[label] ?? 0 }

    func offset(_ label: String) -> Int { Int(address(label) &- Assembled.base) }

    func part(_ from: String, _ to: String) -> CodePart {
        CodePart(address: address(from), bytes: Array(bytes[offset(from)..<offset(to)]))
    }

    /// The function from label `f` to label `f_end`, with what lies around it.
    func function(cold: [CodePart] = [], symbols: [SymbolSpan] = [], knownTargets: [UInt64] = []) -> FunctionCode {
        FunctionCode(
            main: part("f", "f_end"), coldParts: cold, before: Array(bytes[..<offset("f")]),
            after: Array(bytes[offset("f_end")...]), symbols: symbols, knownTargets: knownTargets)
    }
}

/// Assembles AT&T source; every label that does not begin with `.L` is known by name afterwards.
func assemble(_ source: String) throws -> Assembled {
    let object = try Fixture.compile(["code.S": source + "\n"], ["-c"], output: "code.o")
    let directory = object.split(separator: "/").dropLast().joined(separator: "/")
    let linked = try Fixture.cached(["assembled", object]) { scratch in
        let place = "-Ttext=0x\(String(Assembled.base, radix: 16))"
        try runOrThrow(
            "ld", [place, "-e", "0", "--noinhibit-exec", "/" + directory + "/code.o", "-o", scratch + "/code"])
        try runOrThrow("objcopy", ["-O", "binary", "-j", ".text", scratch + "/code", scratch + "/code.bin"])
    }
    let names = try runOrThrow("nm", [linked + "/code"]).stdout
    var labels: [String: UInt64] = [:]
    for line in names.split(separator: "\n") {
        let fields = line.split(separator: " ")
        if fields.count == 3 { labels[String(fields[2])] = UInt64(fields[0], radix: 16) }
    }
    return Assembled(bytes: readBytes(linked + "/code.bin"), labels: labels)
}
