/// What the user said on the command line.
public struct TrustClaims: Sendable {
    public var allowUnsigned: Bool
    public var allowRollback: Bool
    /// A file of signers that takes the place of the host's.
    public var allowedSigners: String?
    public init(allowUnsigned: Bool = false, allowRollback: Bool = false, allowedSigners: String? = nil) {
        (self.allowUnsigned, self.allowRollback) = (allowUnsigned, allowRollback)
        self.allowedSigners = allowedSigners
    }
}
