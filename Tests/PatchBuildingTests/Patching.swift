import Diagnostics
import ObjectFiles
import PatchFormat
import TestSupport

@testable import Closing
@testable import CodeModel
@testable import Comparing
@testable import Guarding
@testable import Matching
@testable import Targets

/// What the passes from match to guard say of a change to a small program.
struct Patching {
    /// Names and changes of the plan's functions, in order; empty when the patch is refused.
    var functions: [String] = []
    /// Names with addresses in the target that the new code is bound to.
    var bindings: [String: UInt64] = [:]
    var plan: ModulePlan?
    /// Rules of all refusals, in order.
    var rules: [String] = []
    var target: TargetImage
    /// The units that the target holds.
    var matched: [MatchedUnit] = []

    /// - Parameters:
    ///   - sources: texts by file name; all `.c`, `.cc` and `.S` files are units.
    ///   - edits: by file, text to be replaced and its replacement; an empty first text appends.
    ///   - variants: more flags; every unit is compiled once more with them, as libtool does, but not linked in.
    ///   - targetFlags: more flags for the units that are linked into the target only.
    ///   - compiler: of C++ units.
    ///   - strip: what to take out of the target's symbol table.
    init(
        _ sources: [String: String], _ edits: [String: [(String, String)]], flags: [String] = ["-O2"],
        link: [String] = [], variants: [String]? = nil, targetFlags: [String] = [], strip: [String] = [],
        compiler: String = "g++"
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
        var loaded: [LoadedUnit] = []
        for more in [variants, []].compactMap({ $0 }) {
            let plain = try Self.compile(sources, flags + more, compiler)
            let original = try Self.compile(sources, flags + more + split, compiler)
            let new = try Self.compile(changed, flags + more + split, compiler)
            loaded += try units.map { unit in
                LoadedUnit(
                    name: more.joined() + unit, source: unit, isCPlusPlus: false, plain: try Self.view(plain, unit),
                    original: try Self.view(original, unit), new: try Self.view(new, unit),
                    variant: more.filter { $0.hasPrefix("-D") })
            }
        }
        do {
            let changed = loaded.map { ComparedUnit($0) }
            matched = try matchUnits(changed, in: target)
            _ = try requireHome(for: changed, in: [matched])
            let plan = try close(matched, target: target, sharesSwitch: false)
            let refusals =
                zip(matched, plan.units).flatMap { guardUnit($0, plan: $1) }
                + DebugFacts(units: matched).closureRefusals() + guardVanishedGlobals(matched, in: target)
            if !refusals.isEmpty { throw Refusals(refusals) }
            take(plan)
        } catch let error as Refusals { rules = error.refusals.map(\.rule) }
    }

    private mutating func take(_ plan: ModulePlan) {
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
        return try Fixture.cached(["units", cxx] + flags + files.flatMap { [$0.key, $0.value] }) { directory in
            for (name, text) in files { try writeText(text, to: directory + "/" + name) }
            for (name, _) in files where isUnit(name) {
                let compiler = name.hasSuffix(".cc") ? cxx : "gcc"
                try runOrThrow(compiler, flags + ["-c", name, "-o", name + ".o"], in: directory)
            }
        }
    }

    private static func isUnit(_ name: String) -> Bool { [".c", ".cc", ".S"].contains { name.hasSuffix($0) } }

    private static func view(_ directory: String, _ unit: String) throws -> ObjectView {
        ObjectView(try ObjectFile.read(path: "\(directory)/\(unit).o"))
    }

    /// `main` that calls functions of one integer.
    static func main(_ callees: String...) -> String {
        "int \(callees.map { $0 + "(int)" }.joined(separator: ", "));\n"
            + "int main(int c, char **v) { (void)v; return \(callees.map { $0 + "(c)" }.joined(separator: " + ")); }\n"
    }
}
