import ElfFormat
import ObjectFiles

package struct Constructor {
    package var name: String
    /// The section that lists it, whose name holds the priority.
    package var list: String
    package var text: String { "\(name) in \(list)" }
}

/// The functions that tables of an object name.
package func constructors(_ view: ObjectView) -> [Constructor] {
    view.file.sections.filter { $0.listsConstructors && $0.type != SHT.rela }.flatMap { section in
        section.relocations.map { relocation in
            switch view.referent(of: relocation, in: section) {
            case .entity(let number, _): Constructor(name: view.entities[number].name, list: section.name)
            case .undefined(let name, _): Constructor(name: name, list: section.name)
            default: Constructor(name: section.name, list: section.name)
            }
        }
    }
}

extension Section {
    package var listsConstructors: Bool {
        [".init_array", ".preinit_array", ".fini_array", ".ctors", ".dtors"].contains { name.hasPrefix($0) }
    }
}
