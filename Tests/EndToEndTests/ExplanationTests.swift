import Diagnostics
import TestSupport
import Testing

@testable import Guarding

/// Each rule is explained, the same everywhere.
@Suite struct ExplanationTests {
    @Test func everyRuleIsExplainedOnce() {
        let explained = RuleGroup.all.flatMap(\.rules)
        #expect(Set(explained) == Set(Rule.allCases))
        #expect(explained.count == Rule.allCases.count)
        for rule in Rule.allCases {
            let text = rule.explanation
            #expect(text.meaning.count > 40 && text.example.count > 10 && text.wayOut.count >= 8, "\(rule.rawValue)")
            #expect(text.remedy.count >= 8, "\(rule.rawValue)")
        }
    }

    @Test func whatCanBeDecidedIsWhatBuildAllows() {
        let decided = Rule.allCases.filter(\.isDecidable)
        for rule in Rule.allCases {
            #expect(((try? AllowedRule("\(rule.rawValue)=x")) != nil) == decided.contains(rule), "\(rule.rawValue)")
        }
        let page = readText(packageRoot + "/Documentation/rules.md")
        let sentence = page.split(separator: "\n\n").first { $0.contains("rules can be decided so") } ?? ""
        for rule in Rule.allCases {
            #expect(sentence.contains("`\(rule.rawValue)`") == decided.contains(rule), "\(rule.rawValue)")
        }
    }

    @Test func aRuleThatIsNoneIsBadUsageAndTheNearestAreNamed() throws {
        for tool in ["patchbuild", "livepatch"] {
            let output = try run(toolPath(tool), ["help", "type-layuot"])
            #expect(output.status == 2 && output.stderr.contains("type-layout"), "\(output)")
            #expect(try run(toolPath(tool), ["help", tool == "patchbuild" ? "build" : "apply"]).status == 0)
            #expect(try run(toolPath(tool), ["help", "type-layout"]).status == 0)
        }
    }

    @Test func badPlacesAndIDsAreBadUsage() throws {
        let objects = ["build", "--original", "a.o", "--new", "b.o", "--target", "/bin/true"]
        for arguments in [["-o", "/no/such/folder/x.lpatch"], ["-o", "x.lpatch", "--id", "a/b"]] {
            let output = try run(toolPath("patchbuild"), objects + arguments)
            #expect(output.status == 2, "\(output)")
        }
    }

    /// A rule of a build that no test names has nothing that proves the refusal. Rules of processes are listed by what
    /// makes such a process, in PatchApplyingTests.
    @Test func everyRuleIsNamedByATest() throws {
        let files = try run("grep", ["-rl", "--include=*.swift", "", packageRoot + "/Tests"]).stdout
        let texts = files.split(separator: "\n").filter { !$0.hasSuffix("ExplanationTests.swift") }
            .map { readText(String($0)) }.joined()
        let building = RuleGroup.all.filter { $0.title != "Processes" }.flatMap(\.rules)
        let silent = building.filter { !texts.contains("\"\($0.rawValue)") && !texts.contains(".\($0)") }
        #expect(silent.map(\.rawValue) == [])
        let traps = [
            "short-jumps", "linker-relaxations", "same-paths", "line-pinning", "source-and-generator", "many-objects",
            "ipa-contract", "changed-constant-escapes", "meaning-without-layout", "aliases", "tls-silent",
            "link-visibility", "pie-library-data", "binding-scope", "noreturn-end", "loop-to-entry", "data-in-entry",
            "shorter-alias",
        ]
        #expect(traps.filter { !texts.contains("trap \($0): ") } == [])
    }
}

extension EndToEnd {
    @Suite struct HelpTests {
        @Test(arguments: [
            ["help", "type-layout"], ["--explain", "type-layout"], ["--explain=type-layout"],
            ["explain", "type-layout"],
        ])
        func ruleIsExplained(_ arguments: [String]) throws {
            let output = try run(toolPath("patchbuild"), arguments)
            #expect(output.status == 0, "\(output)")
            for part in ["type-layout", "For example", "The way out", "--allow type-layout=", "struct session"] {
                #expect(output.stdout.contains(part), "\(part)")
            }
        }

        @Test(arguments: [["help", "rules"], ["--explain"], ["explain"]])
        func allRulesAreListed(_ arguments: [String]) throws {
            let output = try run(toolPath("patchbuild"), arguments)
            #expect(output.status == 0, "\(output)")
            for rule in Rule.allCases { #expect(output.stdout.contains("  \(rule.rawValue)"), "\(rule.rawValue)") }
        }

        @Test func theApplierExplainsToo() throws {
            let output = try run(toolPath("livepatch"), ["--explain", "foreign-stacks"])
            #expect(output.status == 0 && output.stdout.contains("--consistency entry"), "\(output)")
        }

        @Test func unknownRulesAreBadUsage() throws {
            for tool in ["patchbuild", "livepatch"] {
                #expect(try run(toolPath(tool), ["--explain", "frobnicate"]).status == 2)
            }
            #expect(try patchbuild("explain", "frobnicate").status == 2)
            #expect(try patchbuild("help", "build").stdout.contains("--compile-commands"))
        }

        @Test func aRefusalSaysWhereToReadOn() throws {
            let bundle = try Workshop.directory("nothing") + "/fix.lpatch"
            let output = try patchbuild(
                "build", "--original", "/dev/null", "--new", "/dev/null", "--target", "/dev/null", "-o", bundle)
            #expect(output.status == 1, "\(output)")
            #expect(output.stderr.split(separator: "\n").filter { $0.contains("patchbuild help bad-input") }.count == 1)
        }
    }
}
