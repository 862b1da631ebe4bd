import ObjectFiles

/// A symbol's name with its version, as `.symver` and the linker write it: `api@@V2` is what a name without a version means,
/// `api@V1` is for programs that were linked when V1 was the default (Drepper, How to write shared libraries, 3.8).
package struct VersionedName: Equatable {
    package let base: String
    package let version: String?
    /// Not what a name without a version means.
    package let isOld: Bool

    package init(_ name: String) {
        guard let at = name.firstIndex(of: "@") else {
            (base, version, isOld) = (name, nil, false)
            return
        }
        base = String(name[..<at])
        let rest = name[at...].drop { $0 == "@" }
        version = rest.isEmpty ? nil : String(rest)
        isOld = name[at...].prefix { $0 == "@" }.count == 1
    }

    /// A dynamic symbol's version lies beside its name.
    package init(_ symbol: Symbol) {
        let written = VersionedName(symbol.name)
        guard written.version == nil, let version = symbol.version else {
            self = written
            return
        }
        (base, self.version, isOld) = (written.base, version, symbol.versionHidden)
    }

    /// A definition under one of `names` is what a symbol of the linked file shows: its version is a name's, or it has none that
    /// the object's names know of, as by a version script.
    package func isShown(of names: [String]) -> Bool {
        let own = names.map(VersionedName.init).filter { $0.base == base }
        return own.contains { $0.version == nil || version == nil || $0.version == version }
    }
}
