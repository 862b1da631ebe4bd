import Closing
import CodeModel
import Comparing
import Matching
import ObjectFiles
import PatchFormat
import Reviewing

/// The data of a unit that travels in the module: what changes and what is new with its bytes, the rest by its size.
func reviewData(_ plan: UnitPlan, _ unit: MatchedUnit) -> [ReviewDatum] {
    plan.newSections.sorted().flatMap { index -> [ReviewDatum] in
        guard unit.new.file.sections.indices.contains(index) else { return [] }
        let section = unit.new.file.sections[index]
        guard section.isAllocated, !section.isExecutable, section.size > 0, !section.isReferenceWord else { return [] }
        let named = unit.new.entitiesInSection[index, default: []].filter { unit.new.entities[$0].kind != .function }
        if named.isEmpty {
            return [
                ReviewDatum(
                    name: section.name, object: unit.name, change: .unnamed, writable: false,
                    size: Int(clamping: section.size))
            ]
        }
        return named.map { datum($0, unit) }
    }
}

private func datum(_ number: EntityIndex, _ unit: MatchedUnit) -> ReviewDatum {
    let entity = unit.new.entities[number]
    let original = unit.correlation.originalOf[number]
    var datum = ReviewDatum(
        name: entity.name, object: unit.name, change: original == nil ? .new : .changed, writable: entity.isWritable,
        size: Int(clamping: entity.size))
    datum.new = content(entity, unit.new)
    datum.pointers = pointers(entity, ListingReader(view: unit.new, originals: unit))
    if let original {
        let entity = unit.original.entities[original]
        datum.original = content(entity, unit.original)
        datum.originalSize = Int(clamping: entity.size)
    }
    return datum
}

private let shownBytes = 1024

private func content(_ entity: Entity, _ view: ObjectView) -> String? {
    view.bytes(section: entity.section, from: entity.offset, to: entity.end).map {
        Digest.hexadecimal($0.prefix(shownBytes))
    }
}

private func pointers(_ entity: Entity, _ reader: ListingReader) -> [String] {
    let section = reader.view.file.sections[entity.section]
    let fields = reader.view.relocations(section: entity.section, from: entity.offset, to: entity.end)
    return fields.prefix(64).map { field in
        let place = "+0x" + String(field.offset &- entity.offset, radix: 16)
        return place + " " + reader.name(of: field, in: section, end: field.offset)
    }
}
