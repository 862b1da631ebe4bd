/// What a check of the guard found: the rule that it belongs to stands in the table.
package struct Finding: Hashable, Sendable {
    /// What the rule was broken by: a function, a variable, a file.
    var subject: String
    /// Why going on could be wrong, in one or two sentences.
    var why: String
    /// A better way out than the rule's usual one.
    var remedy: String?
    /// No decision helps: what the rule would have a decision do can't be done here.
    var isFinal: Bool

    init(subject: String, why: String, remedy: String? = nil, isFinal: Bool = false) {
        self.subject = subject
        self.why = why
        self.remedy = remedy
        self.isFinal = isFinal
    }
}
