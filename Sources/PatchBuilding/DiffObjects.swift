import ObjectFiles

/// What differs between two objects, for `patchbuild diff`.
public struct DiffReport: Codable, Sendable, CustomStringConvertible {
    public struct Function: Codable, Sendable {
        public var name: String
        public var object: String
        /// `changed` or `new`.
        public var change: String
        public var reason: String
    }

    public struct Datum: Codable, Sendable {
        public var name: String
        /// `constant`, `initial value`, `size` or `new`.
        public var change: String
    }

    public var functions: [Function]
    public var data: [Datum]

    public var description: String {
        guard !functions.isEmpty || !data.isEmpty else { return "no difference in code or data" }
        let code = functions.map { "\($0.change)  \($0.name)  (\($0.reason))" }
        return (code + data.map { "data     \($0.name)  (\($0.change))" }).joined(separator: "\n")
    }
}

/// Compares two objects compiled with `-ffunction-sections -fdata-sections`.
///
/// - Throws: `Refusals` with `bad-input` or `lto-object`.
public func diffObjects(original: String, new: String) throws -> DiffReport {
    let loaded = try loadUnits([
        UnitObjects(
            name: new, source: original, isCPlusPlus: false, plainObject: original, originalObject: original,
            newObject: new)
    ])
    let unit = ChangedUnit(loaded[0])
    let view = unit.unit.new
    var functions = unit.changes.functions.map { number, reason in
        DiffReport.Function(name: view.entities[number].name, object: new, change: "changed", reason: reason)
    }
    var data = unit.changes.constants.map { DiffReport.Datum(name: view.entities[$0].name, change: "constant") }
    data += unit.changes.initialValues.map { DiffReport.Datum(name: view.entities[$0].name, change: "initial value") }
    data += unit.changes.sizes.map { DiffReport.Datum(name: view.entities[$0].name, change: "size") }
    for (number, entity) in view.entities.enumerated() where unit.correlation.originalOf[number] == nil {
        if entity.kind != .function {
            if !isFunctionNameLiteral(entity.name) { data.append(DiffReport.Datum(name: entity.name, change: "new")) }
        } else if entity.coldParent == nil {
            functions.append(
                DiffReport.Function(name: entity.name, object: new, change: "new", reason: "only the new object has it")
            )
        }
    }
    return DiffReport(
        functions: functions.sorted { ($0.change, $0.name) < ($1.change, $1.name) },
        data: data.sorted { $0.name < $1.name })
}
