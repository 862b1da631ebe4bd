import Diagnostics
import SourceChanges
import Toolchain

/// The three objects of one unit.
public struct CompiledUnit: Sendable {
    public var unit: CompileUnit
    /// Made by the recorded command with nothing but the output changed (trap short-jumps).
    public var plainObject: String
    /// The same source, with `-ffunction-sections -fdata-sections` and debug information.
    public var originalObject: String
    /// The changed source, compiled like `originalObject`.
    public var newObject: String
    /// The new object was compiled with line numbers pinned (trap line-pinning).
    public var pinned: Bool
}

/// All objects of a build, and where the time went.
public struct CompiledUnits: Sendable {
    public var units: [CompiledUnit]
    /// What an engineer should know: a file that could not be pinned, a plain object that was reused.
    public var notes: [String]
    /// Wall-clock seconds spent compiling.
    public var seconds: Double
}
