import ObjectFiles

/// What both files say of their compilers (`.comment`), when that is not the same; distributions often remove it.
package func compilerDifference(_ target: ObjectFile, _ other: ObjectFile) -> String {
    let (theirs, ours) = (compilers(target), compilers(other))
    guard !theirs.isEmpty, !ours.isEmpty, ours.isDisjoint(with: theirs) else { return "" }
    return "; another compiler: the target was made by \(theirs.sorted().joined(separator: " and ")),"
        + " this by \(ours.sorted().joined(separator: " and "))"
}

private func compilers(_ file: ObjectFile) -> Set<String> {
    guard let comment = file.section(named: ".comment") else { return [] }
    return Set(comment.data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) })
}
