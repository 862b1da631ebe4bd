import TestSupport

/// A package archive in a directory, with a package of one small program in several versions; and apt's configuration for it.
struct MiniArchive {
    let root: String
    var configuration: String { root + "/etc" }
    var cache: String { root + "/cache" }

    init() throws {
        root = "\(temporaryDirectory)/patchbuild-archive-\(UInt64.random(in: 0 ... .max))"
        for name in ["archive", "etc"] { try makeDirectory(root + "/" + name) }
        try writeText("deb [trusted=yes] file:\(root)/archive ./\n", to: root + "/etc/sources.list")
        try shell(
            """
            mkdir -p hello-1.0/debian/source hello-1.0/debian/patches
            cd hello-1.0
            cat >hello.c <<'END'
            \(Self.main)
            END
            cat >greet.c <<'END'
            \(Self.greet)
            END
            cat >probe.c <<'END'
            int main(void) { return 0; }
            END
            cat >Makefile <<'END'
            \(Self.makefile)
            END
            echo nothing >README
            tar -C .. -czf ../hello-mini_1.0.orig.tar.gz --exclude=debian hello-1.0
            cat >debian/rules <<'END'
            \(Self.rules)
            END
            chmod +x debian/rules
            cat >debian/control <<'END'
            \(Self.control)
            END
            echo '3.0 (quilt)' >debian/source/format
            """)
        try addVersion("1.0-1", says: "First.")
    }

    func remove() { removeTree(root) }

    /// Builds the next version of the package, binary and source, into the archive.
    /// - Parameter patches: names, and `sed` commands for a file.
    func addVersion(
        _ version: String, says: String, patches: [(name: String, file: String, edit: String)] = []
    ) throws {
        try shell(
            """
            cd hello-1.0
            touch debian/changelog
            (printf 'hello-mini (\(version)) unstable; urgency=low\\n\\n  * \(says)\\n\\n'
            printf ' -- Nobody <nobody@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\\n\\n'
            cat debian/changelog) >new && mv new debian/changelog
            """)
        for patch in patches {
            try shell(
                """
                rm -rf a b && cp -r hello-1.0 a && cp -r a b && sed -i '\(patch.edit)' b/\(patch.file)
                diff -u a/\(patch.file) b/\(patch.file) >hello-1.0/debian/patches/\(patch.name) || [ $? = 1 ]
                rm -rf a b && cd hello-1.0
                echo \(patch.name) >>debian/patches/series
                QUILT_PATCHES=debian/patches dpkg-source --before-build . >/dev/null
                """)
        }
        try shell(
            """
            cd hello-1.0
            dpkg-buildpackage -us -uc -d >../log 2>&1 || { cat ../log; exit 1; }
            debian/rules clean >/dev/null
            cd .. && mv -f *.dsc *.deb *.debian.tar.* archive && cp -f *.orig.tar.gz archive
            """)
        try list()
    }

    /// A patch of the series has other contents from the next version on.
    func revise(_ patch: String, edit: String) throws {
        try shell("sed -i '\(edit)' hello-1.0/debian/patches/\(patch)")
    }

    /// The original program has another version: with an edit, and no patches of the distribution.
    func newOriginal(_ version: String, edit: String, of file: String) throws {
        try shell(
            """
            rm -rf hello-1.0/debian/patches hello-1.0/.pc && mkdir hello-1.0/debian/patches
            sed -i '\(edit)' hello-1.0/\(file)
            tar -czf hello-mini_\(version).orig.tar.gz --exclude=debian hello-1.0
            """)
    }

    /// The archive no longer has these files.
    func forget(_ pattern: String) throws {
        try shell("rm archive/\(pattern)")
        try list()
    }

    private func list() throws {
        try shell(
            """
            cd archive
            dpkg-scanpackages -m . >Packages 2>/dev/null
            dpkg-scansources . >Sources 2>/dev/null
            """)
    }

    private func shell(_ script: String) throws {
        let output = try run("sh", ["-ec", script], in: root)
        guard output.status == 0 else { throw SystemFailure("\(script)\n\(output)") }
    }

    private static let main = """
        #include <stdio.h>
        extern int limit;
        const char *greeting(int count);
        int main(int argc, char **argv)
        {
            (void)argv;
            puts(greeting(argc));
            return argc > limit;
        }
        """

    private static let greet = """
        int limit = 50;
        int calls;
        const char *greeting(int count)
        {
            calls++;
            if (count > 100)
                return "too many";
            return count > 1 ? "hello, all" : "hello";
        }
        int unrelated(int count)
        {
            calls--;
            return count * 3 + calls;
        }
        """

    private static let makefile = """
        all: hello probe
        hello: hello.o greet.o
        \t$(CC) -Wl,--build-id=sha1 -o $@ hello.o greet.o
        probe: probe.o
        \t$(CC) -o $@ probe.o
        %.o: %.c
        \t$(CC) -O2 -g -c -o $@ $<
        """

    private static let rules = """
        #!/usr/bin/make -f
        build build-arch build-indep:
        \t$(MAKE) CC=gcc
        clean:
        \trm -rf *.o hello probe debian/hello debian/files debian/*.substvars
        binary-indep:
        binary binary-arch: build
        \trm -rf debian/hello
        \tmkdir -p debian/hello/usr/bin debian/hello/DEBIAN
        \tstrip -o debian/hello/usr/bin/hello-mini hello
        \tdpkg-gencontrol -phello-mini -Pdebian/hello
        \tdpkg-deb --root-owner-group -b debian/hello ..
        """

    private static let control = """
        Source: hello-mini
        Maintainer: Nobody <nobody@example.org>
        Standards-Version: 4.6.2
        Rules-Requires-Root: no

        Package: hello-mini
        Architecture: any
        Description: says hello
         Nothing more.
        """
}
