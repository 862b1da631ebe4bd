import PatchFormat
import ProcessControl
import Signatures
import TrustedHost

/// What the command line asks for, besides the operation.
public struct ApplyOptions: Sendable {
    /// Longest that the process may stand still in one attempt, in milliseconds.
    public var maximumStop = 20
    /// Overrides the manifest's.
    public var consistency: Consistency?
    /// How long to go on trying, in seconds.
    public var timeout: Double = 10
    /// That this host accepts the bundle which is to be loaded.
    public var acceptance: Acceptance?
    /// A revert switches those patches on again that the patch had superseded.
    public var restore = false
    /// What has been withdrawn is not activated.
    public var revocations = Revocations()

    public init() {}

    /// When to give up, by CLOCK_MONOTONIC in nanoseconds.
    var end: UInt64 { monotonicNanoseconds() + UInt64(max(0, min(timeout, 3600)) * 1e9) }
}
