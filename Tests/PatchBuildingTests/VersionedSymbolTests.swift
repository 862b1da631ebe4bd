import PatchFormat
import TestSupport
import Testing

@testable import Closing
@testable import Targets

private let library = """
    extern int extra(int);
    int first(int x) { return x + 1; }
    int second(int x) { volatile int y = x; return y + extra(x); }
    __asm__(".symver first, api@V1");
    __asm__(".symver second, api@@V2");

    """
private let script = "V1 { local: *; };\nV2 { } V1;\n"

/// A library that defines one name in two versions, linked with the version script.
private func patching(
    _ edits: [String: [(String, String)]], library: String = library, more: String = "int extra(int x) { return x; }\n"
) throws -> Patching {
    let map = try Fixture.cached(["version-script", script]) { try writeText(script, to: $0 + "/v.map") } + "/v.map"
    return try Patching(
        ["lib.c": library, "more.c": more], edits, flags: ["-O2", "-fPIC"],
        link: ["-shared", "-Wl,--version-script,\(map)"])
}

@Suite struct VersionedSymbolTests {
    @Test(arguments: [("y + extra", "y - extra", "second"), ("x + 1", "x + 2", "first")])
    func `a function with a version is patched as any other`(old: String, new: String, name: String) throws {
        let patch = try patching(["lib.c": [(old, new)]])
        #expect(patch.functions == [name])
    }

    @Test func `a name without a version means the default one`() throws {
        let more = "int api(int); int extra(int x) { volatile int y = x; return y; }\n"
        let patch = try patching(["more.c": [("return y", "return y + api(x)")]], more: more)
        #expect(patch.functions == ["extra"])
        let second = try #require(patch.target.definitions(of: "second").first)
        let first = try #require(patch.target.definitions(of: "first").first)
        #expect(patch.target.definitions(of: "api").map(\.value) == [second.value])
        #expect(patch.target.definitions(of: "api@V1").map(\.value) == [first.value])
        // Where the program may have another `api`, the process tells, by name and version.
        let bound = patch.plan?.units.flatMap(\.newReferences.values).compactMap { reference -> Binding? in
            guard case .outside(let binding) = reference, binding.symbol == "api" else { return nil }
            return binding
        }
        let binding = try #require(bound?.first)
        #expect(binding.kind == .target ? binding.address == second.value : binding.version == "V2")
    }

    @Test func `an old version of a library's function is asked for by its version`() throws {
        let old =
            "#include <string.h>\nvoid *old(void *, const void *, unsigned long);\n"
            + "__asm__(\".symver old, memcpy@GLIBC_2.2.5\");\nint buffer[64];\n"
            + "int extra(int x) { old(buffer, &buffer[x], 4 * x); return buffer[1]; }\n"
        let patch = try patching(["more.c": [("4 * x", "2 * x")]], more: old)
        #expect(patch.functions == ["extra"])
        let versions = patch.plan?.units.flatMap(\.newReferences.values).compactMap { reference -> String? in
            guard case .outside(let binding) = reference, binding.symbol == "memcpy" else { return nil }
            return binding.version
        }
        #expect(versions == ["GLIBC_2.2.5"])
    }

    @Test func `trap binding-scope: of two versions that the target takes from a library, the one that is meant`()
        throws
    {
        let both =
            "void *memcpy(void *, const void *, unsigned long);\nint buffer[64];\n"
            + "void *old(void *, const void *, unsigned long);\n"
            + "__asm__(\".symver old, memcpy@GLIBC_2.2.5\");\n"
            + "int extra(int x) { old(buffer, &buffer[x], 4 * x); return buffer[1]; }\n"
            + "int more(int x) { memcpy(buffer, &buffer[x], 4 * x); return buffer[2]; }\n"
        let patch = try patching(
            ["more.c": [("memcpy(buffer, &buffer[x], 4", "memcpy(buffer, &buffer[x], 2")]], more: both)
        #expect(patch.functions == ["more"])
        let versions = patch.plan?.units.flatMap(\.newReferences.values).compactMap { reference -> String? in
            guard case .outside(let binding) = reference, binding.symbol == "memcpy" else { return nil }
            return binding.version
        }
        #expect(versions == ["GLIBC_2.14"])
    }
}
