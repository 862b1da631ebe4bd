import ElfFormat
import ObjectFiles

extension ObjectView {
    /// Whether a definition has the content of another object's: bytes, and what they refer to by name.
    package func holdsSame(_ old: Entity, as new: Entity, of other: ObjectView) -> Bool {
        guard old.size == new.size, old.isWritable == new.isWritable,
            bytes(section: old.section, from: old.offset, to: old.end)
                == other.bytes(section: new.section, from: new.offset, to: new.end),
            let left = namedReferences(of: old), let right = other.namedReferences(of: new)
        else { return false }
        return left == right
    }

    /// Place, type, distance and name of each; nil when one has no name.
    private func namedReferences(of entity: Entity) -> [String]? {
        var found: [String] = []
        for relocation in relocations(section: entity.section, from: entity.offset, to: entity.end) {
            let place = "\(relocation.offset - entity.offset) \(relocation.type)"
            switch referent(of: relocation, in: file.sections[entity.section]) {
            case .undefined(let name, let delta): found.append("\(place) \(delta) \(name)")
            case .entity(let number, let delta): found.append("\(place) \(delta) \(entities[number].name)")
            default: return nil
            }
        }
        return found
    }
}
