import BuildGraph
import Diagnostics
import FoundationEssentials
import Guarding
import PatchBuilding
import PatchFormat
import Recompiling
import SourceChanges
import Targets
import Toolchain

/// Builds bundles of a recorded package's fixes.
struct PackagePatch: Sendable {
    /// What bundles are made of but the fixes.
    var package: RecordedPackage
    var shipped: ShippedFiles
    var root: String
    var official: [OfficialPackage]
    /// Where the bundle goes.
    var output: String
    var allowed: [AllowedRule]
    /// Said in each bundle.
    var remark: String

    /// What a bundle says of its fixes.
    struct Claims: Sendable, Hashable {
        var cves: [String] = []
        var remarks: [String] = []
    }

    /// Absolute paths of the files that a fix touches.
    func touched(by fix: Fix) throws -> [String] {
        try touchedPaths(of: fix).map { root + "/" + $0 }
    }

    /// The official files of some that the build here made, each with the file that has its symbols.
    /// - Throws: `Refusals` package-source where one can't be had: it would stay as it is.
    private func targets(_ files: [ShippedFile]) throws -> [TargetFiles] {
        var refusals: [Refusal] = []
        var targets: [TargetFiles] = []
        for file in files {
            guard let symbols = file.symbols, let path = officialFile(of: file, in: official)?.path else {
                let why =
                    file.symbols == nil ? "the build here left no symbols of it" : "its official build can't be had"
                refusals.append(
                    Refusal(
                        .packageSource, subject: "\(file.path) of \(file.package)",
                        why: "it was made of what the fix touches, but \(why), so that it would stay without the fix"))
                continue
            }
            targets.append(TargetFiles(path: path, symbols: symbols))
        }
        guard refusals.isEmpty else { throw Refusals(refusals) }
        return targets
    }

    /// - Throws: what is no verdict about the fixes: `Failure`, `JobFailure`.
    func attempt(_ fixes: [Fix], _ claims: Claims) async throws -> Attempt {
        do {
            let reached = shipped.reached(by: try fixes.flatMap(touched))
            // Where no file is reached, it is for the build to say why nothing has to be done.
            let whole = reached.isEmpty
            let bundle = try await build(fixes, for: whole ? usable : targets(reached), claims)
            // A unit of no target may be one of a file that only a repeated build has reached.
            guard !whole, !bundle.homeless.isEmpty else { return .built(bundle) }
            return .built(try await build(fixes, for: usable, claims))
        } catch {
            let refusals: [Refusal]
            switch error {
            case let error as Refusal: refusals = [error]
            case let error as Refusals: refusals = error.refusals
            default: throw error
            }
            let isIdle = refusals.allSatisfy { $0.rule == Rule.nothingToPatch.rawValue }
            return isIdle ? .nothing(refusals) : .refused(refusals)
        }
    }

    /// All targets that can be had.
    private var usable: [TargetFiles] { shipped.files.compactMap { try? targets([$0]).first } }

    private func build(_ fixes: [Fix], for targets: [TargetFiles], _ claims: Claims) async throws -> BuiltBundle {
        let input = PatchInput.diffs(source: root, compileCommands: package.shipped, diffs: fixes.map(\.path))
        var options = BuildOptions(input: input, targets: targets, output: output)
        options.allowed = allowed
        options.cves = claims.cves
        options.remarks = [remark] + claims.remarks
        return try await buildBundle(options)
    }

    /// What became of each fix, in their order.
    func verdicts(_ settlement: Settlement, _ fixes: [Fix]) throws -> [FixVerdict] {
        let behind = settlement.bundle.map { shipped.filesBehind(objectsOf: $0.manifest, root: root) } ?? []
        return try fixes.map { fix in
            if let refused = settlement.refused.first(where: { $0.fix == fix }) {
                return FixVerdict(name: fix.name, cves: fix.cves, verdict: .refused, refused: refused.refusals)
            }
            let paths = try touched(by: fix)
            if shipped.reached(by: paths).isEmpty {
                return idle(fix, "nothing that the package ships was made of the files that it touches")
            }
            if let why = settlement.idle[fix.name] { return idle(fix, why) }
            if behind.isDisjoint(with: paths) {
                return idle(fix, "what it touches compiles to the same code as before")
            }
            return FixVerdict(name: fix.name, cves: fix.cves, verdict: .patched, refused: [])
        }
    }

    /// Those of the official files that the bundle patches.
    func packagedTargets(in bundle: BuiltBundle) -> [PackagedTarget] {
        let patched = Set(bundle.manifest.targets.map(\.buildID))
        return shipped.files.compactMap { officialFile(of: $0, in: official)?.target }
            .filter { patched.contains($0.buildID) }
    }

    private func idle(_ fix: Fix, _ why: String) -> FixVerdict {
        FixVerdict(name: fix.name, cves: fix.cves, verdict: .nothingToPatch, refused: [], why: why)
    }
}

/// Relative to the root of the source.
func touchedPaths(of fix: Fix) throws -> [String] {
    guard let data = FileManager.default.contents(atPath: fix.path) else {
        throw Refusal(.badInput, subject: fix.path, why: "the diff can't be read")
    }
    return try touchedFiles(of: NamedBytes(name: fix.name, bytes: [UInt8](data)))
}

extension ShippedFiles {
    /// All files that the objects were made of in which a bundle replaces or adds something.
    fileprivate func filesBehind(objectsOf manifest: Manifest, root: String) -> Set<String> {
        let names = manifest.targets.flatMap { $0.functions.map(\.object) + $0.data.map(\.object) }
        let objects = Set(names.map { normalized($0, in: root) })
        // Values that are written into the target's own data name no object: then any may be meant.
        let isOpen = manifest.targets.contains { !$0.values.isEmpty }
        let versions = graph.versions.indices.filter {
            isOpen ? graph.versions[$0].kind == .object : objects.contains(graph.paths[graph.versions[$0].path])
        }
        return Set(graph.behind(versions).versions.map { graph.paths[graph.versions[$0].path] })
    }
}
