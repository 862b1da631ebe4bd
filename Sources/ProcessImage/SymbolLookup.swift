import ElfFormat

/// Lookups in one object's dynamic symbols, as ld.so does them (`do_lookup_x`, `check_match` in glibc's dl-lookup.c).
extension DynamicTables {
    /// The index of the symbol that a reference to `name` at `version` binds to in this object; nil when none does.
    ///
    /// An exact version is asked for; an unversioned reference takes the base or the only default version; hidden
    /// versions (`name@VERSION`) bind only by name.
    package func lookup(_ name: String, version: String?) throws -> Int? {
        var fallback: Int?
        var defaults = 0
        for index in try candidates(name) {
            guard index < symbols.count, try isMatch(index, name) else { continue }
            guard let versionIndices else { return index }
            let raw = versionIndices[index]
            if let version {
                if let own = versions[raw & 0x7fff] {
                    if own.name == version { return index }
                } else if raw & 0x8000 == 0 {
                    return index
                }
            } else if raw & 0x7fff < 3 {
                return index
            } else if raw & 0x8000 == 0 {
                defaults += 1
                if fallback == nil { fallback = index }
            }
        }
        return defaults == 1 ? fallback : nil
    }

    private func isMatch(_ index: Int, _ wanted: String) throws -> Bool {
        let symbol = symbols[index]
        // An undefined symbol with a value is a canonical PLT entry of an executable: it counts as a definition.
        guard symbol.isDefined || symbol.value != 0, symbol.binding != STB.local else { return false }
        guard
            symbol.kind <= STT.function || symbol.kind == STT.common || symbol.kind == STT.threadLocal
                || symbol.kind == STT.indirect
        else { return false }
        return try name(of: symbol) == wanted
    }

    private func candidates(_ name: String) throws -> [Int] {
        switch hash {
        case .none: return []
        case .gnu(let buckets, let first, let chain):
            return gnuCandidates(gnuHash(name), buckets, Int(first), chain)
        case .sysv(let buckets, let chain):
            guard !buckets.isEmpty else { return [] }
            var found: [Int] = []
            var index = Int(buckets[Int(sysvHash(name) % UInt32(buckets.count))])
            while index != 0, index < chain.count, found.count <= chain.count {
                found.append(index)
                index = Int(chain[index])
            }
            return found
        }
    }

    private func gnuCandidates(_ hash: UInt32, _ buckets: [UInt32], _ first: Int, _ chain: [UInt32]) -> [Int] {
        guard !buckets.isEmpty else { return [] }
        var index = Int(buckets[Int(hash % UInt32(buckets.count))])
        var found: [Int] = []
        while index >= first, index - first < chain.count {
            let entry = chain[index - first]
            if entry | 1 == hash | 1 { found.append(index) }
            if entry & 1 == 1 { break }
            index += 1
        }
        return found
    }
}

package func gnuHash(_ name: String) -> UInt32 {
    name.utf8.reduce(5381) { $0 &* 33 &+ UInt32($1) }
}

package func sysvHash(_ name: String) -> UInt32 {
    var hash: UInt32 = 0
    for byte in name.utf8 {
        hash = (hash << 4) &+ UInt32(byte)
        let high = hash & 0xf000_0000
        if high != 0 { hash ^= high >> 24 }
        hash &= ~high
    }
    return hash
}
