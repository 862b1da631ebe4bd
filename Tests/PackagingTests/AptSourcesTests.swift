import Testing

@testable import Packaging

/// The machine's package sources as a copy with source packages enabled.
@Suite struct AptSourcesTests {
    @Test func `a line gets one for source packages beside it, with its options`() {
        let text = """
            # the archive
            deb [arch=amd64 signed-by=/usr/share/keyrings/archive.gpg] http://deb.example/debian bookworm main contrib # main
            deb http://deb.example/security bookworm-security main
            #deb http://deb.example/off bookworm main
            """
        #expect(
            AptSources.withSourcePackages(lines: text) == """
                deb [arch=amd64 signed-by=/usr/share/keyrings/archive.gpg] http://deb.example/debian bookworm main contrib
                deb-src [arch=amd64 signed-by=/usr/share/keyrings/archive.gpg] http://deb.example/debian bookworm main contrib
                deb http://deb.example/security bookworm-security main
                deb-src http://deb.example/security bookworm-security main

                """)
    }

    @Test func `what is there for source packages already is not there twice`() {
        let text = "deb http://deb.example/debian bookworm main\ndeb-src http://deb.example/debian bookworm main\n"
        #expect(AptSources.withSourcePackages(lines: text) == text)
        #expect(
            AptSources.withSourcePackages(lines: "deb-src http://deb.example x main")
                == "deb-src http://deb.example x main\n")
    }

    @Test func `discs and other words are left out`() {
        let text = "deb cdrom:[Debian 12]/ bookworm main\nrpm http://x y z\n\ndebian http://x y z\n"
        #expect(AptSources.withSourcePackages(lines: text) == "")
    }

    @Test func `a stanza gets source packages, and keeps its key and its other fields`() {
        let text = """
            # of the installer
            Types: deb
            URIs: http://deb.example/debian
             http://mirror.example/debian
            Suites: bookworm bookworm-updates
            # none but free software
            Components: main
            Signed-By:
             -----BEGIN PGP PUBLIC KEY BLOCK-----
             .
             mQINBF
             -----END PGP PUBLIC KEY BLOCK-----
            """
        #expect(
            AptSources.withSourcePackages(stanzas: text) == """
                Types: deb deb-src
                URIs: http://deb.example/debian
                 http://mirror.example/debian
                Suites: bookworm bookworm-updates
                Components: main
                Signed-By:\u{20}
                 -----BEGIN PGP PUBLIC KEY BLOCK-----
                 .
                 mQINBF
                 -----END PGP PUBLIC KEY BLOCK-----

                """)
    }

    @Test(arguments: ["no", "No", "false", "0", "off", "without", "disable"])
    func `a disabled stanza is left out`(word: String) {
        let text = """
            Types: deb
            URIs: http://deb.example/one
            Suites: bookworm
            Enabled: \(word)

            types: deb deb-src
            uris: http://deb.example/two
            suites: bookworm
            enabled: yes
            """
        let kept = AptSources.withSourcePackages(stanzas: text)
        #expect(!kept.contains("/one"))
        #expect(kept == "types: deb deb-src\nuris: http://deb.example/two\nsuites: bookworm\nenabled: yes\n")
    }

    @Test func `a stanza of source packages alone stays so, and one without addresses goes`() {
        let text = "Types: deb-src\nURIs: http://deb.example/\nSuites: x\n\n\nTypes: deb\nSuites: y\n"
        #expect(
            AptSources.withSourcePackages(stanzas: text) == "Types: deb-src\nURIs: http://deb.example/\nSuites: x\n")
    }

    @Test func `a release is fetched from the first address that names it`() {
        let lines =
            "deb [arch=amd64] http://one.example/debian bookworm-updates main\ndeb http://two.example bookworm main\n"
        #expect(AptSources.address(of: "bookworm", lines: lines) == "http://two.example")
        #expect(AptSources.address(of: "trixie", lines: lines) == nil)
        let stanzas = "Types: deb\nURIs: http://a.example http://b.example\nSuites: bookworm-security bookworm\n"
        #expect(AptSources.address(of: "bookworm", stanzas: stanzas) == "http://a.example")
        #expect(AptSources.address(of: "book", stanzas: stanzas) == nil)
        #expect(AptSources.address(of: "bookworm", stanzas: stanzas + "Enabled: no\n") == nil)
    }

    @Test func `libraries of a program are those that ldd found, but for the C library's`() {
        let text = """
            \tlinux-vdso.so.1 (0x00007ffd)
            \tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f)
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)
            \tlibgone.so.1 => not found
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)
            """
        #expect(libraries(ldd: text) == ["/lib/x86_64-linux-gnu/libelf.so.1"])
    }

    @Test func `lines may end as on other systems`() {
        #expect(
            AptSources.withSourcePackages(
                lines: "deb http://deb.example x main\r\ndeb-src http://two.example y main\r\n")
                == "deb http://deb.example x main\ndeb-src http://deb.example x main\ndeb-src http://two.example y main\n"
        )
        let stanza = "Types: deb\r\nURIs: http://deb.example\r\n\r\nTypes: deb\r\nURIs: http://two.example\r\n"
        #expect(stanzas(of: stanza).map { $0["URIs"] } == ["http://deb.example", "http://two.example"])
    }

    @Test func `texts that are no package sources give nothing`() {
        for text in ["", "\n\n", ":", ": :\n :", " deb", "#", "Types deb", "[deb] x", "\u{0}\u{FF}: x\n"] {
            #expect(AptSources.withSourcePackages(stanzas: text) == "")
            #expect(AptSources.withSourcePackages(lines: text).isEmpty || text == " deb")
        }
    }
}
