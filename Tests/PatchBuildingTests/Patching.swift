import Diagnostics
import Glibc
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Closing
@testable import CodeModel
@testable import Comparing
@testable import Guarding
@testable import Matching
@testable import PatchBuilding
@testable import Recompiling
@testable import Targets
@testable import Toolchain

/// What the product's own stages, from reading the objects to the guard (`planPatch`), say of a change to a small program.
///
/// A refusal that no test asks for fails: who does not read `rules` declares that there is none.
final class Patching {
    /// Names and changes of the plan's functions, in order; empty when the patch is refused.
    private(set) var functions: [String] = []
    /// Names with addresses in the target that the new code is bound to.
    private(set) var bindings: [String: UInt64] = [:]
    private(set) var plan: ModulePlan?
    let target: TargetImage
    private(set) var values: [ValuePatch] = []
    private(set) var decisions: [Decision] = []
    private(set) var notes: [String] = []
    /// The units that the target holds.
    private(set) var matched: [MatchedUnit] = []
    private var refusals: [Refusal] = []
    private var isDeclared = false

    /// Rules of all refusals, in order.
    var rules: [String] {
        isDeclared = true
        return refusals.map(\.rule)
    }

    /// What the refusals say one may do about them.
    var remedies: [String] {
        isDeclared = true
        return refusals.map(\.remedy)
    }

    /// The subjects that a rule refuses; the other rules count as declared, too.
    func subjects(of rule: Rule) -> [String] {
        isDeclared = true
        return refusals.filter { $0.rule == rule.rawValue }.map(\.subject)
    }

    deinit {
        guard !isDeclared, !refusals.isEmpty else { return }
        Issue.record("undeclared: \(refusals.map(\.description).joined(separator: "; "))")
    }

    /// - Parameters:
    ///   - sources: texts by file name; all `.c`, `.cc` and `.S` files are units.
    ///   - edits: by file, text to be replaced and its replacement; an empty first text appends.
    ///   - variants: more flags; every unit is compiled once more with them, as libtool does, but not linked in.
    ///   - targetFlags: more flags for the units that are linked into the target only.
    ///   - compiler: of C++ units.
    ///   - strip: what to take out of the target's symbol table.
    ///   - allowed: decisions, `RULE=SUBJECT`.
    init(
        _ sources: [String: String], _ edits: [String: [(String, String)]], flags: [String] = ["-O2"],
        link: [String] = [], variants: [String]? = nil, targetFlags: [String] = [], strip: [String] = [],
        compiler: String = "g++", allowed: [String] = []
    ) throws {
        var changed = sources
        for (file, list) in edits {
            for (old, new) in list {
                let text = changed[file] ?? ""
                changed[file] = old.isEmpty ? text + new : text.replacing(old, with: new, maxReplacements: 1)
            }
        }
        let units = sources.keys.filter(Self.isUnit).sorted()
        let linker = units.contains { $0.hasSuffix(".cc") } ? "g++" : "gcc"
        let split = ["-g", "-ffunction-sections", "-fdata-sections"]
        let plain = try Self.compile(sources, flags + targetFlags, compiler)
        let program =
            try Fixture.cached([plain, linker] + link + strip) { directory in
                try runOrThrow(
                    linker, flags + link + units.map { "\(plain)/\($0).o" } + ["-o", directory + "/program"])
                if !strip.isEmpty { try runOrThrow("strip", strip + [directory + "/program"]) }
            } + "/program"
        target = try TargetImage.load(path: program, symbolsPath: nil)
        var compiled = CompiledInput()
        for more in [variants, []].compactMap({ $0 }) {
            let plain = try Self.compile(sources, flags + more, compiler)
            let original = try Self.compile(sources, flags + more + split, compiler)
            let new = try Self.compile(changed, flags + more + split, compiler)
            compiled.units += units.map { unit in
                UnitObjects(
                    name: more.joined() + unit, source: unit, isCPlusPlus: unit.hasSuffix(".cc"),
                    plainObject: "\(plain)/\(unit).o", originalObject: "\(original)/\(unit).o",
                    newObject: "\(new)/\(unit).o", isAssembler: unit.hasSuffix(".S"),
                    variant: more.filter { $0.hasPrefix("-D") })
            }
        }
        do {
            var clock = StageClock()
            let planned = try planPatch(
                compiled, [LoadedTarget(image: target, debugInfo: nil)],
                allowed: try allowed.map { try AllowedRule($0) }, &clock)
            matched = planned.matched.flatMap { $0 }
            (values, decisions, notes) = (planned.values.flatMap { $0 }, planned.decisions, planned.notes)
            if let plan = planned.targets.first?.plan { take(plan) }
        } catch let error as Refusals { refusals = error.refusals }
    }

    private func take(_ plan: ModulePlan) {
        self.plan = plan
        functions = plan.functions.map {
            $0.description.change == .new ? "+" + $0.description.name : $0.description.name
        }
        for reference in plan.units.flatMap(\.newReferences.values) {
            guard case .outside(let binding) = reference, binding.kind == .target else { continue }
            bindings[binding.symbol] = binding.address
        }
    }

    private static func compile(_ sources: [String: String], _ flags: [String], _ cxx: String) throws -> String {
        let files = sources.sorted { $0.key < $1.key }
        return try Fixture.cached(["units at their place", cxx] + flags + files.flatMap { [$0.key, $0.value] }) {
            directory in
            for (name, text) in files { try writeText(text, to: directory + "/" + name) }
            for (name, _) in files where isUnit(name) {
                let compiler = name.hasSuffix(".cc") ? cxx : "gcc"
                // Debug information tells where the sources will be.
                let final = directory.firstRange(of: ".\(getpid()).").map { String(directory[..<$0.lowerBound]) }
                let map = "-fdebug-prefix-map=\(directory)=\(final ?? directory)"
                try runOrThrow(compiler, flags + [map, "-c", name, "-o", name + ".o"], in: directory)
            }
        }
    }

    private static func isUnit(_ name: String) -> Bool { [".c", ".cc", ".S"].contains { name.hasSuffix($0) } }

    /// `main` that calls functions of one integer.
    static func main(_ callees: String...) -> String {
        "int \(callees.map { $0 + "(int)" }.joined(separator: ", "));\n"
            + "int main(int c, char **v) { (void)v; return \(callees.map { $0 + "(c)" }.joined(separator: " + ")); }\n"
    }
}
