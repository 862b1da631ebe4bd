import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// Compilers, optimisation levels and code models: a covering set, not the product. `PATCHBUILD_MATRIX=all` adds those
    /// that say little beyond the others.
    @Suite(.serialized) struct CompilerMatrixTests {
        struct Build: CustomStringConvertible, Sendable {
            var compiler: String
            var kind: String
            var flags: [String]
            var link: [String] = []
            var description: String { ([compiler, kind] + flags + link).joined(separator: " ") }
        }

        private static func gcc(_ kind: String, _ flags: String..., link: [String] = []) -> Build {
            Build(compiler: "gcc", kind: kind, flags: flags, link: link)
        }

        private static func clang(_ kind: String, _ flags: String..., link: [String] = []) -> Build {
            Build(compiler: Machine.clang, kind: kind, flags: flags, link: link)
        }

        static let always = [
            gcc("pie", "-O0", "-g"), gcc("fixed", "-O1"), gcc("shared", "-O2", "-g", "-fno-plt"),
            gcc("pie", "-O2", "-g1", "-fcf-protection", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"),
            gcc("fixed", "-O3", "-g"), gcc("shared", "-Os", "-ffunction-sections", "-fdata-sections"),
            gcc("shared", "-O2", "-mtls-dialect=gnu2"), gcc("fixed", "-O2", "-mcmodel=large"),
            clang("pie", "-O0", "-g"), clang("fixed", "-O2", "-g1"), clang("shared", "-O3", "-g"),
            clang("pie", "-O2", "-fcf-protection", "-fstack-protector-strong", link: ["-fuse-ld=lld"]),
        ]

        static let more = [
            gcc("shared", "-O0"), gcc("fixed", "-O0", "-g1"), gcc("pie", "-O1", "-fno-plt"),
            gcc("pie", "-O3", "-fno-plt"),
            gcc("fixed", "-Os", "-mcmodel=medium"), gcc("pie", "-O2", "-pg"), gcc("fixed", "-O2", "-pg", "-mfentry"),
            gcc("pie", "-O2", "-fpatchable-function-entry=5"), gcc("shared", "-O2", "-fpatchable-function-entry=16,14"),
            gcc("pie", "-O2", "-fstack-clash-protection", "-fno-omit-frame-pointer"),
            gcc("shared", "-O2", "-fno-semantic-interposition", link: ["-Wl,-Bsymbolic-functions"]),
            gcc("pie", "-O2", link: ["-Wl,-z,now", "-Wl,-z,relro"]),
            gcc("fixed", "-O2", "-fcommon", "-fno-asynchronous-unwind-tables"),
            gcc("pie", "-O2", "-ggdb3", "-gdwarf-4", "-fdebug-types-section"),
            gcc("pie", "-O2", link: ["-fuse-ld=gold"]),
            clang("fixed", "-O1", "-ffunction-sections", "-fdata-sections"), clang("shared", "-Os", "-fno-plt"),
            clang("pie", "-O3", "-D_FORTIFY_SOURCE=2"), clang("shared", "-O0", "-fcf-protection"),
            clang("pie", "-O2", "-fpatchable-function-entry=5"), clang("fixed", "-O2", "-mcmodel=medium"),
            clang("shared", "-O2", link: ["-fuse-ld=lld"]), clang("fixed", "-O2", "-faddrsig", link: ["-fuse-ld=lld"]),
        ]

        static var builds: [Build] { getenv("PATCHBUILD_MATRIX") == nil ? always : always + more }

        @Test(arguments: builds) func patchedAndReverted(_ build: Build) throws {
            if !isInstalled(build.compiler) { try Test.cancel("\(build.compiler) is not installed") }
            if build.link.contains("-fuse-ld=lld"), !isInstalled("ld.lld") { try Test.cancel("lld is not installed") }
            let kinds: [String: MatrixProgram.Kind] = ["pie": .pie, "fixed": .fixed, "shared": .shared]
            let kind = try #require(kinds[build.kind])
            let program = try MatrixProgram(
                compiler: build.compiler, kind: kind, flags: build.flags, link: build.link)
            let built = try run(
                toolPath("patchbuild"),
                [
                    "build", "--source", program.directory, "--diff", program.directory + "/fix.diff", "--target",
                    program.target, "--id", "fix", "-o", program.bundle, "--json",
                ])
            try #require(built.status == 0, "\(built)")
            #expect(try functions(program) == MatrixProgram.replaced)
            try check(program)
        }

        /// Names of replaced functions, without the suffixes of clones.
        private func functions(_ program: MatrixProgram) throws -> Set<String> {
            let shown = try JSON(try patchbuild("show", program.bundle, "--json").stdout)
            let changed = shown["targets"][0]["functions"].elements.filter { $0["change"].text == "changed" }
            let names = changed.compactMap { $0["name"].text }.map { String($0.prefix { $0 != "." }) }
            return Set(names.map { $0 == "alias_name" ? "real_name" : $0 })
        }

        private func check(_ program: MatrixProgram) throws {
            try withProcess(program.program, in: program.directory) { process in
                try process.waitForOutput("\n")
                let first = try process.nextLine()
                #expect(first == MatrixProgram.before)
                let applied = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                #expect(applied.status == 0, "\(applied)")
                let patched = try process.nextLine()
                #expect(patched == MatrixProgram.after)
                let reverted = try livepatch("revert", program.bundle, "--pid", "\(process.pid)")
                #expect(reverted.status == 0, "\(reverted)")
                let last = try process.nextLine()
                #expect(last == MatrixProgram.before)
                #expect(process.isRunning)
            }
        }
    }
}
