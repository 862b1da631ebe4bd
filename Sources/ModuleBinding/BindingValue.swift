import PatchFormat

/// What a binding is worth in one process.
package enum BindingValue: Sendable, Hashable {
    case address(UInt64)
    case threadLocal(ThreadLocal)
    /// An IFUNC whose implementation nothing in the process shows: the function at this address is asked at load. A call may
    /// instead go where the target's own slot leads, which its first call will bind.
    case chosen(by: UInt64, unbound: UInt64?)
}

/// Where a thread-local of the target lies.
package struct ThreadLocal: Sendable, Hashable {
    /// Offset in the target's TLS segment.
    var offset: UInt64
    /// Distance of the TLS segment's first byte from the thread pointer (negative on x86-64); nil when not static.
    var staticOffset: Int64?
    /// The module id that ld.so gave the target; nil when it can't be known.
    var moduleID: UInt64?
}

/// A library's symbol that a relocation of the module names.
package struct ImportedSymbol: Sendable, Hashable {
    var name: String
    var version: String?
    var library: String?
    var isWeak: Bool
}

extension ImportedSymbol {
    init(_ binding: Binding) {
        self.init(
            name: binding.symbol, version: binding.version, library: binding.library, isWeak: binding.weak)
    }
}
