import Diagnostics
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Comparing
@testable import PatchBuilding
@testable import Recompiling
@testable import Releasing
@testable import Targets

/// Whatever a file holds, every command answers with a value or an error: no crash, no hang.
@Suite(.timeLimit(.minutes(5))) struct DamagedInputTests {
    private static let support = """
        int outside = 5, elsewhere[8]; int use(const void *p, ...) { return !p; }
        """
    private static let main = """

        int main(int c, char **v) { return choose(c) + wordy(c) + checked(c) + locals(c) + run((const unsigned char *)v); }
        """

    /// Paths of an original and a new object of the subject, and of a program with the original in it.
    private func files() throws -> (original: String, new: String, target: String) {
        let text = mutationSubject + Self.main
        let changed = text.replacing("return acc;", with: "return acc + 1;").replacing("\"made\"", with: "\"done\"")
        let flags = ["-O2", "-g", "-fPIE", "-ffunction-sections", "-fdata-sections"]
        let original = try Fixture.compile(text, flags + ["-c"], output: "subject.o")
        let new = try Fixture.compile(changed, flags + ["-c"], output: "subject.o")
        let target = try Fixture.cached([original, Self.support, "target"]) { directory in
            try writeText(Self.support, to: directory + "/support.c")
            try runOrThrow("gcc", ["-O2", original, "support.c", "-o", "target"], in: directory)
        }
        return (original, new, target + "/target")
    }

    /// A few bytes overwritten, mostly in the headers and tables at the end of the file, or the file cut short.
    private func damage(_ bytes: [UInt8], _ random: inout SplitMix) -> [UInt8] {
        if Int.random(in: 0..<8, using: &random) == 0 {
            return Array(bytes.prefix(.random(in: 0..<bytes.count, using: &random)))
        }
        let table = Int(bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 40, as: UInt64.self) })
        let areas = [0..<64, table..<bytes.count, bytes.count / 2..<bytes.count, 0..<bytes.count].filter { !$0.isEmpty }
        var damaged = bytes
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let place = Int.random(in: areas.randomElement(using: &random)!, using: &random)
            damaged[place] = [0, 1, 0x7f, 0x80, 0xff, .random(in: 0...255, using: &random)].randomElement(
                using: &random)!
        }
        return damaged
    }

    /// Damages the file at `path` anew for each round, and has `body` read the result; errors have to say something.
    private func rounds(
        _ count: Int, of path: String, _ body: (String) async throws -> Void
    ) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("DamagedInputTests: \(path.split(separator: "/").last ?? ""): seed \(seed)")
        var random = SplitMix(state: seed)
        let whole = readBytes(path)
        let file = "\(temporaryDirectory)/patchbuild-damaged-\(seed)"
        defer { removeTree(file) }
        for round in 0..<count {
            try writeBytes(damage(whole, &random), to: file, mode: 0o755)
            do { try await body(file) } catch {
                #expect(!"\(error)".isEmpty, "seed \(seed), round \(round)")
            }
        }
    }

    @Test func `a damaged object is compared, or refused`() async throws {
        let files = try files()
        try await rounds(90, of: files.new) { damaged in
            _ = try diffObjects(original: files.original, new: damaged)
        }
    }

    @Test func `a damaged object makes a bundle, or a refusal`() async throws {
        let files = try files()
        try await rounds(40, of: files.new) { try await build(files.original, $0, files.target) }
        try await rounds(40, of: files.original) { try await build($0, files.new, files.target) }
    }

    @Test func `a damaged target makes a bundle, or a refusal`() async throws {
        let files = try files()
        try await rounds(40, of: files.target) { try await build(files.original, files.new, $0) }
    }

    @Test func `a damaged target is compared with another link of it, or refused`() async throws {
        let program = try Relinked(flags: ["-O2"])
        let (official, rebuilt) = (program.directory + "/stripped", program.directory + "/rebuilt")
        try await rounds(60, of: official) { damaged in
            _ = try TargetImage.load(path: damaged, symbolsPath: rebuilt).buildID
        }
        try await rounds(60, of: rebuilt) { damaged in
            _ = try TargetImage.load(path: official, symbolsPath: damaged).buildID
        }
    }

    @Test func `the entries of a damaged target are listed, or refused`() async throws {
        let files = try files()
        try await rounds(60, of: files.target) { damaged in
            _ = try checkEntries(of: damaged).description
        }
    }

    @Test func `a damaged bundle is shown, or refused`() async throws {
        let files = try files()
        let bundle = try await build(files.original, files.new, files.target)
        let whole = "\(temporaryDirectory)/patchbuild-whole-\(UInt64.random(in: 0 ... .max)).lpatch"
        defer { removeTree(whole) }
        try writeBytes(bundle, to: whole)
        #expect(throws: Never.self) { _ = Show.text(try Bundle.read(path: whole)) }
        try await rounds(60, of: whole) { damaged in
            _ = Show.text(try Bundle.read(path: damaged))
        }
    }

    @discardableResult
    private func build(_ original: String, _ new: String, _ target: String) async throws -> [UInt8] {
        let pair = ObjectPair(original: original, new: new)
        let options = BuildOptions(
            input: .objects([pair]), targets: [TargetFiles(path: target, symbols: nil)], output: "fix.lpatch")
        return try await buildBundle(options).bytes
    }
}
