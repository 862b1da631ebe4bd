import Testing

@testable import JSONCoding

@Suite struct ReaderTests {
    private func accepts(_ text: String) -> Bool { (try? JSONReader.read(Array(text.utf8))) != nil }

    @Test(arguments: [
        "{}", "[]", " {\"a\": [1, -2, true, false, null, \"x\\n\\u00e9\\ud83d\\ude00\"]} \n", "\"\"", "0",
        "18446744073709551615", "{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
    ])
    func accepted(text: String) { #expect(accepts(text)) }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "01", "-", "1.5", "1e3", "1 2", "nul", "\"\\x\"",
        "\"\u{1}\"", "\"\\ud800\"", "\"\\udc00x\"", "\"\\ud800\\u0041\"", "\"abc", "{} x", "NaN", "+1",
        "123456789012345678901", "18446744073709551616", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}",
    ])
    func refused(text: String) { #expect(!accepts(text)) }

    @Test func deepNestingIsRefusedWithoutRecursion() {
        #expect(!accepts(String(repeating: "[", count: 1_000_000)))
    }

    @Test func canonicallyEqualKeysAreOneKey() {
        #expect(!accepts("{\"\u{e9}\":1,\"e\u{301}\":2}"))
    }

    @Test func invalidUTF8IsRefused() {
        #expect((try? JSONReader.read([0x22, 0xff, 0x22])) == nil)
        #expect((try? JSONReader.read([0x22, 0xc0, 0x80, 0x22])) == nil)
    }
}
