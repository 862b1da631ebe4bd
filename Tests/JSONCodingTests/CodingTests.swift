import FoundationEssentials
import JSONCoding
import PatchFormat
import Testing

/// Foundation's coders are the judge: the same bytes out, the same values in.
@Suite struct CodingTests {
    private func foundation(_ value: some Encodable, pretty: Bool) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private func ours(_ value: some Encodable, _ style: JSONStyle) throws -> String {
        String(decoding: try encodeJSON(value, style), as: UTF8.self)
    }

    private func expectSame(_ value: some Encodable) throws {
        #expect(try ours(value, .compact) == foundation(value, pretty: false))
        #expect(try ours(value, .pretty) == foundation(value, pretty: true))
    }

    struct Leaf: Codable, Hashable {
        var text: String
        var small: Int8
        var number: Int
        var large: UInt64
        var flag: Bool
        var absent: String?
        var present: String?
    }

    enum Kind: String, Codable { case one, two }

    enum Choice: Codable, Hashable {
        case plain
        case loaded(count: Int, names: [String])
        case unnamed(String)
    }

    struct Tree: Codable, Hashable {
        var leaves: [Leaf] = []
        var nested: [[Int]] = []
        var byName: [String: Int] = [:]
        var byNumber: [Int: String] = [:]
        var kinds: [Kind] = []
        var choices: [Choice] = []
        var optional: [Int?] = []
    }

    static let texts = [
        "", "plain", "with \"quotes\" and \\ and / and \u{7f}", "line\nfeed\r\ttab\u{8}\u{c}", "\u{0}\u{1}\u{1f}",
        "é ü \u{1f600} \u{2028}", "e\u{301}",
    ]

    static func tree() -> Tree {
        Tree(
            leaves: texts.map {
                Leaf(text: $0, small: .min, number: .min, large: .max, flag: $0.isEmpty, present: $0)
            },
            nested: [[], [1], [1, -2]], byName: ["b": 1, "a": 2, "A": 3, "_": 4], byNumber: [1: "one"],
            kinds: [.one, .two], choices: [.plain, .loaded(count: 0, names: ["x"]), .unnamed("y")],
            optional: [1, nil, 3])
    }

    @Test func writesWhatFoundationWrites() throws {
        try expectSame(Self.tree())
        try expectSame(Tree())
        try expectSame([Int]())
        try expectSame([String: Int]())
        try expectSame(Self.texts)
        try expectSame([[[Tree]]]())
    }

    @Test func manifestsAreTheSameBytes() throws {
        try expectSame(Self.manifest(functions: 3))
    }

    @Test func readsWhatItWroteAndWhatFoundationWrote() throws {
        let tree = Self.tree()
        #expect(try decodeJSON(Tree.self, from: encodeJSON(tree)) == tree)
        #expect(try decodeJSON(Tree.self, from: Array(foundation(tree, pretty: true).utf8)) == tree)
        let manifest = Self.manifest(functions: 3)
        #expect(try decodeJSON(Manifest.self, from: encodeJSON(manifest, .pretty)) == manifest)
    }

    /// Both decoders say yes, or both say no.
    @Test(arguments: [
        #"{}"#, #"{"text":1}"#, #"[]"#, #"null"#,
        #"{"text":"","small":1,"number":1,"large":1,"flag":true}"#,
        #"{"text":"","small":128,"number":1,"large":1,"flag":true}"#,
        #"{"text":"","small":-128,"number":-9223372036854775808,"large":0,"flag":true,"more":[{}]}"#,
        #"{"text":"","small":1,"number":-9223372036854775809,"large":1,"flag":true}"#,
        #"{"text":"","small":1,"number":1,"large":-1,"flag":true}"#,
        #"{"text":"","small":1,"number":1,"large":-0,"flag":true,"absent":null}"#,
        #"{"text":"","small":1,"number":1,"large":1,"flag":1}"#,
        #"{"text":null,"small":1,"number":1,"large":1,"flag":true}"#,
        #"{"text":"","small":1,"number":"1","large":1,"flag":true}"#,
    ])
    func agreesWithFoundationOnShapes(text: String) {
        let theirs = try? JSONDecoder().decode(Leaf.self, from: Data(text.utf8))
        #expect((try? decodeJSON(Leaf.self, from: Array(text.utf8))) == theirs)
    }

    @Test func anErrorSaysWhere() throws {
        let text =
            #"{"leaves":[],"nested":[[1],["x"]],"byName":{},"byNumber":{},"kinds":[],"choices":[],"optional":[]}"#
        let error = #expect(throws: DecodingError.self) { try decodeJSON(Tree.self, from: Array(text.utf8)) }
        guard case .typeMismatch(_, let context) = error else {
            Issue.record("another error: \(String(describing: error))")
            return
        }
        #expect(context.codingPath.map(\.stringValue) == ["nested", "1", "0"])
    }

    @Test func fractionsAreRefused() {
        #expect(throws: EncodingError.self) { try encodeJSON([1.5]) }
        #expect(throws: DecodingError.self) { try decodeJSON([Double].self, from: Array("[1]".utf8)) }
    }

    static func manifest(functions count: Int) -> Manifest {
        let functions = (0..<count).map { index in
            PatchedFunction(
                name: "function_\(index)", object: "src/unit.o", change: .changed, reason: "code differs: \"x\" / y",
                original: OriginalFunction(
                    range: AddressRange(address: 0x1200, size: 64), coldRanges: [], digest: Digest.sha256([1]),
                    entry: Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0), endsWithCall: false),
                newRanges: [AddressRange(address: 0x1000, size: 70)],
                oldRanges: [AddressRange(address: 0x1080, size: 64)], stub: 0x1100, oldSlot: .max)
        }
        let layout = ModuleLayout(switchAddress: 0x3008, bindingTable: 0x2000, bindingCount: 1, memorySize: 0x4000)
        let target = ManifestTarget(
            file: "served", buildID: "00ff", functions: functions,
            bindings: [Binding(kind: .target, symbol: "limit", address: 0x5000)], data: [], layout: layout)
        var manifest = Manifest(id: "FIX-1", targets: [target])
        manifest.cves = ["CVE-2099-0001"]
        return manifest
    }
}
