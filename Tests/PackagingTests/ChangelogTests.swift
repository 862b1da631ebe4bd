import Testing

@testable import Packaging

private let changelog = """
    mosquitto (2.0.11-1.2+deb12u2) bookworm; urgency=medium

      [ Philippe Coval ]
      * d/p/series: Add patches for CVE-2024-8376

      [ Andreas Henriksson ]
      * d/p/0016-Fix-crash-on-bridge.patch
        - cherry-pick upstream fix for CVE-2024-3935
      * debian/patches/0017-Don-t-allow-SUBACK.patch: fix for cve-2024-10525,
        and more.
      * d/patches: Further fix for CVE-2023-28366.

     -- Philippe Coval <x@example.org>  Sun, 11 May 2025 21:31:01 +0200

    mosquitto (2.0.11-1.2+deb12u1) bookworm-security; urgency=high

      * CVE-2023-28366: memory.

     -- Somebody <y@example.org>  Sat, 30 Sep 2023 00:24:21 +0200
    """

/// Which CVEs a fix is for.
@Suite struct ChangelogTests {
    @Test func `entries have their items, each whole`() throws {
        let all = changelogEntries(changelog)
        #expect(all.map(\.version) == ["2.0.11-1.2+deb12u2", "2.0.11-1.2+deb12u1"])
        #expect(try #require(all.first).items.count == 6)
        #expect(entries(all, after: "2.0.11-1.2+deb12u1").count == 1)
        #expect(entries(all, after: "2.0.11-1.2+deb12u2").isEmpty)
        #expect(entries(all, after: "1.0").isEmpty)
    }

    @Test func `an item that names a fix gives it the item's CVEs`() {
        let new = entries(changelogEntries(changelog), after: "2.0.11-1.2+deb12u1")
        #expect(vulnerabilities(ofFix: "0016-Fix-crash-on-bridge.patch", text: "", changelog: new) == ["CVE-2024-3935"])
        #expect(vulnerabilities(ofFix: "0017-Don-t-allow-SUBACK.patch", text: "", changelog: new) == ["CVE-2024-10525"])
        #expect(vulnerabilities(ofFix: "0018-Further-fix.patch", text: "", changelog: new) == [])
    }

    @Test func `the name and the header give a fix its CVEs, and the code does not`() {
        let text = """
            Subject: [PATCH] bound the length (CVE-2022-2309)
            Bug-Debian: https://bugs.example/1039991
            Origin: cve-2022-40303
            ---
            --- a/x.c
            +++ b/x.c
            @@ -1 +1 @@
            -/* CVE-2001-0001 */
            +/* CVE-2001-0002 */
            """
        #expect(
            vulnerabilities(ofFix: "net/cve-2020-12345_1.patch", text: text, changelog: [])
                == ["CVE-2020-12345", "CVE-2022-2309", "CVE-2022-40303"])
    }

    @Test func `CVEs are told by their form`() {
        #expect(vulnerabilities(in: "CVE-2024-1 CVE-24-1234 XCVE2024-1234 CVE-2024-12a45 CVE--2024-1") == [])
        #expect(vulnerabilities(in: "fix-CVE-2024-8376-1of3.patch,CVE-2024-8376") == ["CVE-2024-8376"])
        #expect(
            vulnerabilities(in: "") == [] && vulnerabilities(in: "CVE") == [] && vulnerabilities(in: "CVE-2024") == [])
    }

    @Test func `of a newer series, the patches from the first that only the newer changelog names are added`() {
        let series = [
            "debian-config.patch", "CVE-2023-28366.patch", "CVE-2023-28366-regression.patch",
            "CVE-2024-8376-1of3.patch",
            "0015-Fix-QoS.patch", "0018-Further-fix-for-CVE-2023-28366.patch",
        ]
        let all = changelogEntries(changelog)
        #expect(addedPatches(series: series, changelog: all, after: "2.0.11-1.2+deb12u1") == Array(series[3...]))
        #expect(addedPatches(series: series, changelog: all, after: "2.0.11-1.2+deb12u2") == [])
        #expect(addedPatches(series: series, changelog: all, after: "1.0") == [])
        #expect(addedPatches(series: ["a.patch"], changelog: all, after: "2.0.11-1.2+deb12u1") == [])
    }

    @Test func `a series has comments and options`() {
        #expect(
            patchNames(series: "# first\na.patch -p1\n\n  b/c.diff  # why\n#off.patch\n") == ["a.patch", "b/c.diff"])
    }
}
