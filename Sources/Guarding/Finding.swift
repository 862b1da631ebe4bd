/// What a check of the guard found: the rule that it belongs to stands in the table.
package struct Finding: Hashable, Sendable {
    /// What the rule was broken by: a function, a variable, a file.
    var subject: String
    /// Why going on could be wrong, in one or two sentences.
    var why: String
    /// A better way out than the rule's usual one.
    var remedy: String?

    init(subject: String, why: String, remedy: String? = nil) {
        self.subject = subject
        self.why = why
        self.remedy = remedy
    }
}
