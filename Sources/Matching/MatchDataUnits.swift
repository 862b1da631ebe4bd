import CodeModel
import Comparing
import ObjectFiles
import Targets

/// Finds a unit that has no function in the target: tables, say, and nothing else. The names of its variables tell where
/// it lies, and their contents that they are this unit's.
///
/// - Returns: nil when the target has none of its variables under their names, or none of those that change.
func matchData(of item: ComparedUnit, in target: TargetImage) -> UnitMatch? {
    guard let unit = matchData(item.unit.plain, in: target) else { return nil }
    let changing = item.changedData
    // What is local to the unit may be there without a name.
    let isThere = changing.contains { entity in
        !entity.isGlobal || entity.names.contains { unit.addresses[$0] != nil || unit.mismatches[$0] != nil }
    }
    return changing.isEmpty || isThere ? unit : nil
}

private func matchData(_ plain: ObjectView, in target: TargetImage) -> UnitMatch? {
    let matcher = Matcher(plain: plain, target: target)
    var unit = UnitMatch()
    // Entries of linker's sets, and nothing that has a name elsewhere: the caller asks whether the target has the source.
    if plain.entities.allSatisfy({ $0.kind != .function && !$0.isGlobal }) {
        unit.matched = Set(plain.entities.flatMap(\.names))
    }
    for entity in plain.entities where entity.kind != .function && entity.isGlobal {
        let found = matcher.definitions(of: entity, guesses: true)
        guard !found.isEmpty else { continue }
        let addresses = Set(matcher.definitions(of: entity).map(\.value))
        let same = addresses.filter {
            entity.kind == .threadLocal
                || matcher.isSameData(entity.section, at: $0, from: entity.offset, size: entity.size)
        }
        for name in entity.names {
            if let address = same.first, same.count == 1 {
                unit.addresses[name] = address
                unit.matched.insert(name)
            } else {
                unit.mismatches[name] =
                    addresses.isEmpty
                    ? "nothing in the target proves where it lies"
                    : "the target's variable of that name has other contents"
            }
        }
    }
    return unit.matched.isEmpty && unit.mismatches.isEmpty ? nil : unit
}
