import ObjectFiles
import TestSupport
import Testing

@testable import CodeModel
@testable import Comparing

/// Whatever changes in an object, the comparison names who holds it or reads it.
@Suite struct MutationTests {
    private static let rounds = 25

    private func subject(_ flags: [String]) throws -> ObjectBytes {
        let sections = ["-ffunction-sections", "-fdata-sections", "-c"]
        return try ObjectBytes(readBytes(Fixture.compile(mutationSubject, flags + sections, output: "subject.o")))
    }

    /// Names that the comparison finds changed, functions and data.
    private func found(_ original: ObjectView, _ bytes: [UInt8]) throws -> Set<String> {
        let new = ObjectView(try ObjectFile.parse(bytes: bytes, name: "mutated.o"))
        let unit = compareUnit(
            LoadedUnit(
                name: "subject.o", source: "subject.c", isCPlusPlus: false, plain: original, original: original,
                new: new))
        let report = DiffReport(unit, object: "subject.o")
        return Set(report.functions.map(\.name) + report.data.map(\.name))
    }

    /// Each kind gets as many rounds, so that at least 200 mutations are made for either set of flags.
    @Test(arguments: [["-O2", "-fPIE"], ["-O1", "-fPIC"], ["-O2", "-fno-pie"]])
    func `every mutation is found`(_ flags: [String]) throws {
        let subject = try subject(flags)
        let original = ObjectView(subject.file)
        #expect(try found(original, subject.bytes).isEmpty)
        let seed = UInt64.random(in: 0 ... .max)
        var mutator = Mutator(subject, seed: seed)
        var made = 0
        for (kind, mutate) in Mutator.kinds {
            var count = 0
            for _ in 0..<400 where count < Self.rounds {
                guard let mutation = mutate(&mutator) else { continue }
                count += 1
                let missed = mutation.expected.subtracting(try found(original, mutation.bytes))
                #expect(missed.isEmpty, "seed \(seed): \(kind): \(mutation.description): \(missed.sorted()) not found")
            }
            #expect(count == Self.rounds || kind == "jump table", "\(kind): only \(count) could be made")
            made += count
        }
        #expect(made >= 200)
    }
}
