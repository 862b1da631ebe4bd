import SourceChanges

/// What no rule can decide and a reviewer should look at.
func reviewNotes(_ units: [ComparedUnit], sources: CompiledInput) -> [String] {
    units.flatMap(lostState) + (units.contains { !$0.changes.functions.isEmpty } ? sources.changedMacros : [])
}

/// A variable under a new name starts anew: what the process has in the old one is not carried over.
private func lostState(_ unit: ComparedUnit) -> [String] {
    let gone = unit.original.entities.indices.filter {
        unit.original.entities[$0].isWritable && unit.original.entities[$0].kind == .data
            && unit.correlation.newOf[$0] == nil
    }.map { unit.original.entities[$0] }
    let fresh = unit.new.entities.indices.filter {
        unit.new.entities[$0].isWritable && unit.new.entities[$0].kind == .data
            && unit.correlation.originalOf[$0] == nil
    }.map { unit.new.entities[$0] }
    return gone.flatMap { old in
        fresh.filter { $0.size == old.size }.map { new in
            "\(unit.name): \(old.name) is gone and \(new.name), of its size, is new: if it is the same variable, its value is lost"
        }
    }
}

/// Trap meaning-without-layout: a macro with another value, though no layout differs.
func changedMacros(_ change: SourceChange) -> [String] {
    change.files.flatMap { file -> [String] in
        guard let original = file.original, let new = file.new else { return [] }
        let (before, after) = (macros(original), macros(new))
        return before.sorted { $0.key < $1.key }.compactMap { name, value in
            guard let other = after[name], other != value else { return nil }
            return
                "\(file.path): \(name) changes from \(value) to \(other): what the process made with the old value stays"
        }
    }
}

/// Macros without parameters that are defined once, by name.
private func macros(_ text: [UInt8]) -> [String: String] {
    var values: [String: String] = [:]
    var twice: Set<String> = []
    for line in text.split(separator: 10) {
        let line = String(decoding: line, as: UTF8.self)
        let words = line.split(maxSplits: 2, whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        guard words.count == 3, words[0] == "#define", !words[1].contains("(") else { continue }
        let value = words[2].firstRange(of: "/*").map { String(words[2][..<$0.lowerBound]) } ?? words[2]
        if values.updateValue(value.split(separator: " ").joined(separator: " "), forKey: words[1]) != nil {
            twice.insert(words[1])
        }
    }
    return values.filter { !twice.contains($0.key) }
}
