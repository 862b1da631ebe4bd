import CodeModel
import ObjectFiles

/// Whether the guard has to look at a unit even if no code and no data of it change.
func changesLists(_ original: ObjectView, _ new: ObjectView, _ correlation: Correlation) -> Bool {
    !areSame(constructors(original), constructors(new)) || !movedData(original, new, correlation).isEmpty
        || new.entities.indices.contains { correlation.originalOf[$0] == nil && new.isListed($0) }
        || original.entities.indices.contains { correlation.newOf[$0] == nil && original.isListed($0) }
        || original.lists != new.lists || !movedNames(original, new, correlation).isEmpty
}

package func areSame(_ original: [Constructor], _ new: [Constructor]) -> Bool {
    original.map { stem($0.name) + $0.list } == new.map { stem($0.name) + $0.list }
}

/// Variables that get into such a section or out of it: entities of the new object, with both sections.
package func movedData(
    _ original: ObjectView, _ new: ObjectView, _ correlation: Correlation
) -> [(entity: EntityIndex, before: String, after: String)] {
    correlation.newOf.sorted { $0.value < $1.value }.compactMap { old, number in
        guard new.entities[number].kind != .function else { return nil }
        let before = original.file.sections[original.entities[old].section].name
        let after = new.file.sections[new.entities[number].section].name
        guard before != after, !before.hasPrefix(".") || !after.hasPrefix(".") else { return nil }
        return (number, before, after)
    }
}

package func movedNames(
    _ original: ObjectView, _ new: ObjectView, _ correlation: Correlation
) -> [(name: String, old: EntityIndex, new: EntityIndex)] {
    original.entityNamed.sorted { $0.key < $1.key }.compactMap { name, old in
        guard original.entities[old].isGlobal, stem(name) == name, let other = new.entityNamed[name],
            let partner = correlation.newOf[old], partner != other
        else { return nil }
        return (name, old, other)
    }
}

extension ObjectView {
    /// Memory that no symbol names and no code of the unit reads as a literal.
    package func isList(_ section: Section) -> Bool {
        let known = [
            ".rodata", ".data.rel.ro", ".eh_frame", ".gcc_except_table", ".note", ".stapsdt",
            "__patchable_function_entries",
        ]
        return section.isAllocated && !section.isMergeable && !section.listsConstructors && section.size > 0
            && entitiesInSection[section.index, default: []].isEmpty && !known.contains { section.name.hasPrefix($0) }
            && !section.isExecutable
    }

    /// By name: contents of such sections, what they refer to by name.
    package var lists: [String: [String]] {
        var found: [String: [String]] = [:]
        for section in file.sections where isList(section) {
            let fields = section.relocations.map { relocation -> String in
                let place = "\(relocation.offset) \(relocation.type.rawValue) "
                return switch referent(of: relocation, in: section) {
                // A place inside of a function may move with its code.
                case .entity(let number, let delta):
                    place + stem(entities[number].name) + (entities[number].kind == .function ? "" : " \(delta)")
                case .undefined(let name, let addend): place + "\(name) \(addend)"
                case .anonymous(let other, _, _): place + file.sections[other].name
                case .absolute(let value): place + "\(value)"
                }
            }
            found[section.name, default: []] += ["\(section.size)", "\(section.data)"] + fields
        }
        return found
    }
}

extension ObjectView {
    /// Data in a section that other code reads as a whole, between the linker's `__start_` and `__stop_`.
    package func isListed(_ number: EntityIndex) -> Bool {
        entities[number].kind == .data && !file.sections[entities[number].section].name.hasPrefix(".")
    }
}
