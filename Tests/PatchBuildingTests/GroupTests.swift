import PatchFormat
import Testing

@testable import PatchBuilding
@testable import Releasing

/// Which targets must be patched together: the rule alone.
@Suite struct GroupTests {
    private func program(_ name: String, uses: Set<String> = [], imports: Set<String> = []) -> GroupMember {
        var member = GroupMember(buildID: name, isExecutable: true, soname: name)
        (member.uses, member.imports) = (uses, imports.union(uses))
        return member
    }

    private func library(
        _ name: String, exports: Set<String> = [], broken: Set<String> = [], uses: Set<String> = []
    ) -> GroupMember {
        var member = GroupMember(buildID: name, isExecutable: false, soname: name)
        (member.exports, member.broken) = (exports.union(broken), broken)
        (member.uses, member.imports) = (uses, uses)
        return member
    }

    @Test func `one target has no groups`() {
        #expect(groupTargets([]) == nil)
        #expect(groupTargets([library("a", broken: ["f"])]) == nil)
    }

    @Test func `programs are never coupled`() {
        var (day, night) = (program("day"), program("night"))
        (day.subjects, night.subjects) = (["type-layout struct s"], ["type-layout struct s"])
        #expect(groupTargets([day, night]) == [["day"], ["night"]])
    }

    @Test func `new code that uses what a library has needs the library, which does not need it`() {
        let members = [program("served", uses: ["f"]), library("libx", exports: ["f"])]
        #expect(groupTargets(members) == [["served", "libx"], ["libx"]])
        #expect(groupTargets([members[1], members[0]]) == [["libx"], ["libx", "served"]])
    }

    @Test func `old code that uses it does not`() {
        let members = [program("served", imports: ["f"]), library("libx", exports: ["f"])]
        #expect(groupTargets(members) == [["served"], ["libx"]])
    }

    @Test func `what is needed needs others in turn`() {
        let members = [
            program("served", uses: ["f"]), library("libx", exports: ["f"], uses: ["g"]),
            library("liby", exports: ["g"]),
        ]
        #expect(groupTargets(members) == [["served", "libx", "liby"], ["libx", "liby"], ["liby"]])
    }

    @Test func `a library whose function is called in another way has no group without a program that calls it`() {
        let members = [
            library("libx", broken: ["f"]), program("one", imports: ["f"]), program("two", imports: ["f"]),
            program("three"),
        ]
        #expect(groupTargets(members) == [["libx", "one"], ["libx", "two"], ["three"]])
    }

    @Test func `all libraries that call it must be there: they may be mapped later`() {
        var plugin = library("plugin")
        plugin.imports = ["f"]
        let members = [program("one", imports: ["f"]), library("libx", broken: ["f"]), plugin]
        #expect(groupTargets(members) == [["one", "libx", "plugin"], ["libx", "plugin"]])
        #expect(groupTargets(members + [program("two")]) == [["one", "libx", "plugin"], ["libx", "plugin"], ["two"]])
    }

    @Test func `one group of all is what a manifest without groups says`() {
        #expect(groupTargets([program("one", imports: ["f"]), library("libx", broken: ["f"])]) == nil)
    }

    @Test func `a library that relies on one that is not patched alone goes where that goes`() {
        var user = library("liby", uses: ["g"])
        user.needed = ["libx"]
        let members = [
            program("one", imports: ["f"]), program("two", imports: ["f"]),
            library("libx", exports: ["g"], broken: ["f"]), user,
        ]
        #expect(
            groupTargets(members) == [
                ["one", "libx"], ["two", "libx"], ["one", "libx", "liby"], ["two", "libx", "liby"],
            ])
    }

    @Test func `a shared decision couples what may meet`() {
        func members(_ subjects: Set<String>) -> [GroupMember] {
            var members = [program("one"), program("two"), library("libx"), library("liby")]
            for index in [0, 1, 2] { members[index].subjects = subjects }
            return members
        }
        #expect(groupTargets(members([])) == [["one"], ["two"], ["libx"], ["liby"]])
        #expect(groupTargets(members(["type-layout struct s"])) == [["one", "libx"], ["two", "libx"], ["liby"]])
    }

    @Test func `two libraries that share a decision go together`() {
        var (one, two) = (library("libx"), library("liby"))
        (one.subjects, two.subjects) = (["meaning LIMIT"], ["meaning LIMIT", "other"])
        #expect(groupTargets([one, two, program("p")]) == [["libx", "liby"], ["p"]])
    }

    @Test func `a callback that is called in another way couples those that call each other`() {
        var (caller, callee) = (library("libx", exports: []), program("one", imports: ["each"]))
        caller.exports = ["each"]
        callee.handsOnBroken = true
        #expect(groupTargets([callee, caller, program("two")]) == [["one", "libx"], ["two"]])
        caller.exports = []
        #expect(groupTargets([callee, caller, program("two")]) == [["one"], ["libx"], ["two"]])
    }

    @Test func `of libraries that have the same name for it, the one that is needed counts`() {
        var user = program("one", uses: ["f"])
        let libraries = [library("libx", exports: ["f"]), library("liby", exports: ["f"])]
        #expect(groupTargets([user] + libraries) == [["one", "libx", "liby"], ["libx"], ["liby"]])
        user.needed = ["liby"]
        #expect(groupTargets([user] + libraries) == [["one", "liby"], ["libx"], ["liby"]])
    }

    @Test func `a library may use what one of several programs has`() {
        var (one, two) = (program("one"), program("two"))
        (one.exports, two.exports) = (["register"], ["register"])
        #expect(
            groupTargets([one, two, library("plugin", uses: ["register"])]) == [
                ["one"], ["two"], ["one", "plugin"], ["two", "plugin"],
            ])
    }

    @Test func `what no process can have together is never taken in part`() {
        let members = [
            program("one", imports: ["f"]), program("two", imports: ["g"]),
            library("libx", exports: ["p"], broken: ["f"]), library("liby", exports: ["q"], broken: ["g"]),
            library("libz", uses: ["p", "q"]),
        ]
        #expect(groupTargets(members) == [["one", "libx"], ["two", "liby"], ["one", "two", "libx", "liby", "libz"]])
    }

    @Test func `groups are said in plain words`() {
        func target(_ name: String) -> ManifestTarget {
            ManifestTarget(
                file: name, buildID: name, functions: [], bindings: [], data: [],
                layout: ModuleLayout(switchAddress: 0, bindingTable: 0, bindingCount: 0, memorySize: 1))
        }
        var manifest = Manifest(id: "fix", targets: ["served", "libx.so"].map(target))
        #expect(describeGroups(manifest) == ["served and libx.so are patched together, or not at all"])
        manifest.groups = [["served", "libx.so"], ["libx.so"]]
        #expect(
            describeGroups(manifest) == ["libx.so may be patched alone", "served is patched together with libx.so"])
        manifest.targets.removeLast()
        #expect(describeGroups(manifest).isEmpty)
    }
}
