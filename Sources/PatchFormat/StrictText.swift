import Diagnostics

/// The form that every JSON text of a bundle must have, for members that this room does not decode.
public enum StrictText {
    /// - Parameter name: the member, for a refusal.
    /// - Throws: `Refusal` of rule bad-bundle for what decoders disagree about: keys that stand twice, numbers that are no
    ///   integers, text that is not UTF-8, deep nesting.
    public static func check(_ bytes: [UInt8], name: String) throws {
        do throws(FormatError) {
            try StrictJSON.check(bytes)
        } catch {
            throw error.refusal(subject: name)
        }
    }
}
