import Diagnostics
import SourceChanges
import Toolchain

/// The units whose code a change can reach, and what of the change reaches none.
public struct AffectedUnits: Sendable {
    /// In the database's order.
    public var units: [CompileUnit]
    /// Touched files that no compiler reads and that can't matter, with the reason; those of the diff are included.
    public var ignored: [IgnoredFile]
    /// Wall-clock seconds.
    public var seconds: Double
}
