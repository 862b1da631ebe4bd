import Testing

@testable import Reproducing

@Suite struct DifferenceTests {
    private func difference(_ one: String, _ other: String, leavingOut: Set<String> = []) throws -> JSONDifference? {
        JSONDifference(try JSONValue(Array(one.utf8)), try JSONValue(Array(other.utf8)), at: "", leavingOut: leavingOut)
    }

    @Test func equalDocuments() throws {
        #expect(try difference(#"{"a": 1, "b": [true, null]}"#, #"{"b": [true, null], "a": 1}"#) == nil)
    }

    @Test func namesPathAndBothValues() throws {
        let one =
            #"{"targets": [{"file": "served", "functions": [{"name": "f", "size": 3}, {"name": "g", "size": 4}]}]}"#
        let other =
            #"{"targets": [{"file": "served", "functions": [{"name": "f", "size": 3}, {"name": "g", "size": 5}]}]}"#
        let found = try #require(try difference(one, other))
        #expect(found.path == "targets[0 served].functions[1 g].size")
        #expect(found.values.first == "4" && found.values.second == "5")
    }

    @Test func lists() throws {
        let longer = try #require(try difference(#"{"cves": ["A"]}"#, #"{"cves": ["A", "B"]}"#))
        #expect(longer.path == "cves" && longer.values.first == "1 elements" && longer.values.second == "2 elements")
        let other = try #require(try difference(#"{"cves": ["A", "B"]}"#, #"{"cves": ["A", "C"]}"#))
        #expect(other.path == "cves[1]" && other.values.first == "\"B\"" && other.values.second == "\"C\"")
    }

    @Test func whatIsMissing() throws {
        let found = try #require(try difference(#"{"created": "2026"}"#, "{}"))
        #expect(found.path == "created" && found.values.second == "nothing")
    }

    /// Addresses have more digits than a floating-point number keeps.
    @Test func largeNumbers() throws {
        let found = try #require(try difference(#"{"a": 9223372036854775807}"#, #"{"a": 9223372036854775806}"#))
        #expect(found.values.first == "9223372036854775807")
    }

    @Test func whatIsLeftOut() throws {
        #expect(try difference(#"{"a": 1, "b": 2}"#, #"{"a": 1, "b": 3}"#, leavingOut: ["b"]) == nil)
    }

    /// The bundle may be anybody's.
    @Test func nothingOfTheBundleReachesTheTerminalAsControl() throws {
        let found = try #require(try difference(#"{"a": "\u001b[31mred"}"#, "{}"))
        #expect(found.values.first == "\"\\u{1B}[31mred\"")
    }

    @Test func bytes() {
        #expect(byteDifference([1, 2, 3], [1, 9, 3], of: "x", at: 0x10).contains("x, at 0x11: the bundle has 0x2"))
        #expect(byteDifference([1, 2], [1, 2, 3], of: "x", at: 0).contains("2 bytes in the bundle, 3 in the rebuild"))
    }
}
