/// What a build starts from.
package enum PatchInput: Sendable {
    /// A source tree and what changes in it: diffs, or a second tree.
    case diffs(source: String, compileCommands: String?, diffs: [String])
    case newSource(source: String, compileCommands: String?, newSource: String)
    /// Objects that were compiled already, pair by pair.
    case objects([ObjectPair])

    package var isSource: Bool { if case .objects = self { false } else { true } }
}

/// One unit as two object files.
package struct ObjectPair: Sendable {
    var original: String
    var new: String
    package init(original: String, new: String) {
        self.original = original
        self.new = new
    }
}
