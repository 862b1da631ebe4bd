/// Changes of types that leave every byte where and what it was, and yet may say something to a reviewer: a qualifier, a
/// member's name, a type of the same layout under another name, the signedness of what a pointer points to.
///
/// Together with `layoutDifferences` nothing that `abidiff` reports of a type's members is left out.
public func layoutRemarks(original: DebugUnit, new: DebugUnit) -> [LayoutDifference] {
    let types = original.types.keys.sorted().flatMap { key -> [LayoutDifference] in
        guard let before = original.types[key], let after = new.types[key], before != after else { return [] }
        return remarks(before, after).map { LayoutDifference(subject: key, description: $0) }
    }
    let variables = original.variables.sorted { $0.key < $1.key }.compactMap { name, before -> LayoutDifference? in
        guard let after = new.variables[name], after != before else { return nil }
        return LayoutDifference(
            subject: name, description: "the variable's type changes from `\(before)` to `\(after)`")
    }
    return types + variables
}

private func remarks(_ before: TypeLayout, _ after: TypeLayout) -> [String] {
    let members = after.flattened
    return before.flattened.compactMap { old in
        guard let new = members.first(where: { $0.name == old.name }) else {
            guard let other = members.first(where: { $0.hasSamePlace(as: old) }) else { return nil }
            return "\(old.title) is now called `\(other.name)`"
        }
        if old.qualifiers != new.qualifiers {
            func text(_ member: Member) -> String { (member.qualifiers + ["\(member.type)"]).joined(separator: " ") }
            return "\(old.title) changes from `\(text(old))` to `\(text(new))`"
        }
        guard old.type != new.type else { return nil }
        return "\(old.title) changes from `\(old.type)` to `\(new.type)`"
    }
}
