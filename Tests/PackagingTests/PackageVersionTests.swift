import Diagnostics
import Testing

@testable import Packaging

/// Names and versions of packages, as people and the tools of the distribution write them.
@Suite struct PackageVersionTests {
    @Test func `a package is asked for by its name, or with a version`() throws {
        #expect(try PackageName("libstdc++6").name == "libstdc++6")
        let package = try PackageName("redis-server=5:7.0.15-1~deb12u7")
        #expect(package.name == "redis-server" && package.version == "5:7.0.15-1~deb12u7")
    }

    @Test(arguments: ["", "=1", "a=", "-o", "a b", "../x", "a=1 2", "a=-1", "a;b", "a=$(x)"])
    func `what is no name of a package is bad usage`(text: String) {
        #expect(throws: UsageError.self) { try PackageName(text) }
    }

    @Test func `the source of a binary package may have another name and version`() {
        let plain = SourceVersion(field: nil, package: "nginx", version: "1.22.1-9")
        #expect(plain == SourceVersion(source: "nginx", version: "1.22.1-9"))
        let other = SourceVersion(field: "redis", package: "redis-server", version: "5:7.0.15-1")
        #expect(other == SourceVersion(source: "redis", version: "5:7.0.15-1"))
        let rebuilt = SourceVersion(field: "glibc (2.36-9)", package: "libc6", version: "2.36-9+b1")
        #expect(rebuilt == SourceVersion(source: "glibc", version: "2.36-9"))
    }

    @Test func `the version of the original program is told from the rest`() {
        func upstream(_ version: String) -> String { SourceVersion(source: "x", version: version).upstream }
        #expect(upstream("5:7.0.15-1~deb12u7") == "7.0.15")
        #expect(upstream("2.9.14+dfsg-1.3~deb12u6") == "2.9.14+dfsg")
        #expect(upstream("1.0-rc1-2") == "1.0-rc1")
        #expect(upstream("20230311") == "20230311")
    }

    @Test func `packages that were removed are not installed`() {
        let text = """
            libarchive13\t3.6.2-1+deb12u5\tlibarchive\t3.6.2-1+deb12u5\tinstalled
            libxyz\t1.0-1+b2\txyz\t1.0-1\tinstalled
            old\t1\told\t1\tconfig-files
            broken line
            """
        let listed = InstalledPackage.list(text)
        #expect(listed.map(\.name) == ["libarchive13", "libxyz"])
        #expect(listed.last?.source == SourceVersion(source: "xyz", version: "1.0-1"))
    }

    @Test func `the archive lists versions of sources and of binary packages`() {
        let text = """
                 redis | 5:7.0.15-1~deb12u10 | http://deb.example/security bookworm-security/main amd64 Packages
                 redis | 5:7.0.15-1~deb12u7 | http://deb.example/debian bookworm/main Sources
                 redis | 5:7.0.15-1~deb12u7 | http://mirror.example/debian bookworm/main Sources
            redis-server | 5:7.0.15-1~deb12u7 | http://deb.example/debian bookworm/main amd64 Packages
            N: a remark
            """
        let listed = PrivateApt.versions(madison: text, of: "redis")
        #expect(
            listed == [
                PrivateApt.Listed(version: "5:7.0.15-1~deb12u10", isSource: false),
                PrivateApt.Listed(version: "5:7.0.15-1~deb12u7", isSource: true),
            ])
    }

    @Test func `what a build misses is told as dpkg lists it`() {
        let text =
            "dpkg-checkbuilddeps: error: Unmet build dependencies: libx-dev:any (>= 3.5) debhelper-compat (= 13)\n"
        #expect(unmetDependencies(text) == "libx-dev:any (>= 3.5) debhelper-compat (= 13)")
        #expect(unmetDependencies("dpkg-checkbuilddeps: error: no control file\n").contains("no control file"))
    }

    @Test(.needs("dpkg")) func `versions are sorted as dpkg does`() async throws {
        let versions = ["1.0-1+deb12u10", "1.0-1+deb12u9", "1:0.1-1", "1.0-1~bpo1", "1.0-1+deb12u9", "1.0-1"]
        #expect(
            try await sortedVersions(versions) == ["1.0-1~bpo1", "1.0-1", "1.0-1+deb12u9", "1.0-1+deb12u10", "1:0.1-1"])
    }
}
