/// Stands in every bundle: another version may make other bytes of the same inputs.
public let patchbuildVersion = "0.1.0"
