import Diagnostics

/// A source that the diff touches and that can't be compiled again: it matters to the programs that are linked from it.
package struct UncompiledSource: Sendable, Hashable {
    package enum Reach: Sendable {
        /// It is a unit of its own.
        case unit
        /// It is a header that no recorded unit reads: a unit that was not recorded may.
        case readers
        /// Nothing behind the linked files of the record has read it. A target that is none of these may have been made of it.
        case outsideOfRecord
    }

    package var path: String
    /// What is said when a target may be such a program.
    package var refusal: Refusal
    package var reach = Reach.unit
    /// Its command asks for debug information, or all that is known of the build do, which a target that has it bears then.
    package var isDescribed = false
}
