import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessImage

/// Targets that the process has mapped since a patch was loaded.
struct LateTargets {
    let process: LoadedProcess

    /// A patch is never said to be in place while a target of its bundle runs unpatched.
    func refuse(_ patch: RegisteredPatch, _ whole: Bundle? = nil) throws {
        guard let late = process.unpatched(patch).first else { return }
        var remedy = LateTargets.remedy(patch)
        do { if let whole { _ = try TargetSelection(process: process).take(whole) } } catch let refusal as Refusal {
            remedy = "restart the process: \(refusal.subject): \(refusal.why)"
        }
        throw Refusal(
            .patchState, subject: "\(late.file) in \(process.subject)",
            why: "it was mapped after \(patch.id) was loaded, and is not patched", remedy: remedy)
    }

    /// For the reader: what came while the patch was being applied.
    func notes(_ patch: RegisteredPatch) -> [String] {
        process.unpatched(patch).map {
            "\($0.file) was mapped meanwhile and is not patched: \(LateTargets.remedy(patch))"
        }
    }

    static func remedy(_ patch: RegisteredPatch) -> String {
        patch.state == .loaded ? "unload the patch and load it again" : "revert the patch and apply it again"
    }
}
