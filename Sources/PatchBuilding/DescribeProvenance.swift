import Diagnostics
import FoundationEssentials
import ModuleLinking
import PatchFormat
import Recompiling
import SourceChanges
import Targets
import Toolchain

/// What else decides the bundle's bytes, so that whoever repeats the build can tell why it comes out otherwise.
/// - Throws: `Refusal` bad-input where a target can't be read again, `Failure`.
func addTools(
    to provenance: inout Provenance, targets: [LoadedTarget], compilers: [String], root: String?
) async throws {
    provenance.compilers = compilers.map { compiler in root.map { portable(compiler, root: $0) } ?? compiler }
    provenance.builder = "patchbuild \(patchbuildVersion)"
    provenance.linker = try await linkerName()
    provenance.targets = try targets.map(\.image).map { image in
        var origin: SymbolsOrigin?
        if image.symbolFile.path != image.file.path {
            origin = image.symbolFile.buildID == image.buildID ? .sameBuild : .rebuild
        }
        return TargetInput(
            file: image.name, buildID: image.buildID, digest: try fileDigest(image.file.path), symbols: origin)
    }
}
