import CodeModel
import Diagnostics
import ObjectFiles

/// What differs between two objects, for `patchbuild diff`.
package struct DiffReport: Codable, Sendable, CustomStringConvertible {
    struct Function: Codable, Sendable {
        var name: String
        var object: String
        /// `changed` or `new`.
        var change: String
        var reason: String
    }

    struct Datum: Codable, Sendable {
        var name: String
        /// `constant`, `initial value`, `size`, `protection`, `alignment` or `new`.
        var change: String
    }

    var functions: [Function]
    var data: [Datum]

    package var description: String {
        guard !functions.isEmpty || !data.isEmpty else { return "no difference in code or data" }
        let code = functions.map { "\($0.change)  \($0.name)  (\($0.reason))" }
        return (code + data.map { "data     \($0.name)  (\($0.change))" }).joined(separator: "\n")
    }
}

/// Compares two objects compiled with `-ffunction-sections -fdata-sections`.
///
/// - Throws: `Refusals` with `bad-input` or `lto-object`.
package func diffObjects(original: String, new: String) throws -> DiffReport {
    let views = try [original, new].map { path in
        let file = try readObject(path, name: path)
        let refusals = guardLTO(file, name: path)
        if !refusals.isEmpty { throw Refusals(refusals) }
        let view = ObjectView(file)
        try requireSections(view, path)
        return view
    }
    let unit = LoadedUnit(
        name: new, source: original, isCPlusPlus: false, plain: views[0], original: views[0], new: views[1])
    return DiffReport(compareUnit(unit), object: new)
}

/// Functions that share a section are compared as one piece of code, in which every distance counts.
private func requireSections(_ view: ObjectView, _ path: String) throws {
    for section in view.file.sections where section.isExecutable {
        let functions = view.entitiesInSection[section.index, default: []].filter {
            view.entities[$0].kind == .function
        }
        guard functions.count > 1 else { continue }
        throw Refusals(
            .badInput, subject: path, why: "\(functions.count) functions share its section \(section.name)",
            remedy: "compile both objects with -ffunction-sections -fdata-sections")
    }
}

extension DiffReport {
    init(_ unit: ComparedUnit, object: String) {
        let view = unit.unit.new
        functions = unit.changes.functions.map { number, reason in
            Function(
                name: view.ownName(of: view.entities[number]), object: object, change: "changed", reason: reason)
        }
        data = unit.changes.constants.map { Datum(name: view.entities[$0].name, change: "constant") }
        data += unit.changes.initialValues.map { Datum(name: view.entities[$0].name, change: "initial value") }
        data += unit.changes.sizes.map { Datum(name: view.entities[$0].name, change: "size") }
        data += unit.changes.commonSizes.map { Datum(name: $0, change: "size") }
        data += unit.attributeChanges.map { Datum(name: view.entities[$0.entity].name, change: $0.what) }
        for (number, entity) in view.entities.enumerated() where unit.correlation.originalOf[number] == nil {
            if entity.kind != .function {
                if !isFunctionNameLiteral(entity.name) { data.append(Datum(name: entity.name, change: "new")) }
            } else if entity.coldParent == nil {
                functions.append(
                    Function(
                        name: view.ownName(of: entity), object: object, change: "new",
                        reason: "only the new object has it"))
            }
        }
        functions.sort { ($0.change, $0.name) < ($1.change, $1.name) }
        data.sort { ($0.name, $0.change) < ($1.name, $1.change) }
    }
}

extension ComparedUnit {
    /// What a datum needs of its memory, beside its content: to be written, or another alignment.
    fileprivate var attributeChanges: [(entity: EntityIndex, what: String)] {
        correlation.newOf.flatMap { a, b -> [(entity: EntityIndex, what: String)] in
            let (old, new) = (unit.original.entities[a], unit.new.entities[b])
            guard new.kind != .function else { return [] }
            let (before, after) = (unit.original.file.sections[old.section], unit.new.file.sections[new.section])
            let protection = old.isWritable != new.isWritable ? [(entity: b, what: "protection")] : []
            let isAligned = before.alignment >= after.alignment || new.offset != 0
            return protection + (isAligned ? [] : [(entity: b, what: "alignment")])
        }
    }
}
