import Diagnostics
import PatchFormat

extension Trust {
    /// Why a bundle's time is over, by its own manifest or by the policy: somebody may be keeping newer ones away (TUF's
    /// freeze attack).
    public func refusals(ofAge manifest: Manifest, at now: Int64) -> [Refusal] {
        var refusals: [Refusal] = []
        if let expires = manifest.expires {
            // What is no date can't be proved to lie ahead.
            if Times.seconds(rfc3339: expires).map({ $0 < now }) ?? true {
                refusals.append(Refusal(.expired, subject: manifest.id, why: "it has expired on \(expires)"))
            }
        }
        if let longest = policy.longestAge, let why = objection(to: manifest.created, longest, now) {
            let remedy =
                manifest.created == nil
                ? "build it again with SOURCE_DATE_EPOCH in the environment: SOURCE_DATE_EPOCH=$(date +%s)" : nil
            refusals.append(
                Refusal(
                    .expired, subject: manifest.id, why: "\(why) (\(policy.name ?? "the policy"))", remedy: remedy))
        }
        return refusals
    }

    private func objection(to created: String?, _ longest: Int64, _ now: Int64) -> String? {
        guard let created else {
            return "the policy has a longest age, and the bundle does not say when it was made"
        }
        guard let made = Times.seconds(rfc3339: created), made <= now + 86_400 else {
            return "it says that it was made on \(created), which is no day of the past"
        }
        return now - made > longest ? "it was made on \(created), longer ago than the policy allows" : nil
    }
}
