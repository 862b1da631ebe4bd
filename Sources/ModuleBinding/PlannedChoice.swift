/// An implementation of an IFUNC that is to be asked for, and the module's slot (as an address in the module) that needs it.
package struct PlannedChoice: Sendable, Hashable {
    package var slot: UInt64
    package var resolver: UInt64
}
