import Closing
import Diagnostics
import ElfFormat
import ObjectFiles
import PatchFormat

/// What a relocation points at, seen from the module.
enum ReferenceTarget {
    /// A byte of the module: section of the object, and offset, to which the addend is added.
    case local(section: SectionIndex, offset: Int64)
    /// Something else; the addend is counted from the binding's value.
    case outside(Binding, addend: Int64)
}

extension ModuleBuilder {
    /// What `relocation` of `site` points at; nil after a refusal.
    mutating func resolve(_ relocation: Relocation, at site: TravellingSection) -> ReferenceTarget? {
        guard let symbol = symbol(relocation.symbol, site.key.unit, site.key.side) else {
            refuse(.badInput, site.section.name, "a relocation names a symbol that is not in the object")
            return nil
        }
        let unit = plan.units[site.key.unit]
        let references = site.key.side == .new ? unit.newReferences : unit.originalReferences
        let reference = references[symbol.index]
        if case .otherUnit(let name) = reference, let export = exports[name] {
            return .local(section: export.section, offset: Int64(export.offset))
        }
        if let section = symbol.sectionIndex {
            let key = SectionKey(unit: site.key.unit, side: site.key.side, section: section)
            if let number = sectionNumbers[key] {
                return resolveTravelling(relocation, symbol, reference, site, key, number)
            }
        }
        switch reference {
        case .outside(let binding):
            return .outside(binding, addend: relocation.addend)
        case .here where symbol.place == .common:
            let key = SymbolKey(unit: site.key.unit, side: site.key.side, symbol: symbol.index)
            return .local(section: commonSection(symbol, key), offset: 0)
        case .here, .otherUnit, nil: break
        }
        let subject = symbol.name.isEmpty ? unitSectionName(symbol, site) : symbol.name
        refuse(
            .unresolvedSymbol, subject,
            "\(site.name(at: relocation.offset)) refers to it, but it neither travels nor stands for anything outside")
        return nil
    }

    private func unitSectionName(_ symbol: Symbol, _ site: TravellingSection) -> String {
        let sections = objectFile(site.key.unit, site.key.side).sections
        return symbol.sectionIndex.flatMap { sections.indices.contains($0) ? sections[$0].name : nil } ?? "?"
    }

    /// The symbol's section travels. A section symbol (by which the assembler names static functions) may stand both
    /// for the entry of a replaced function, which is the target's entry, and for places inside its new body: jump
    /// tables and `.cold` halves.
    private func resolveTravelling(
        _ relocation: Relocation, _ symbol: Symbol, _ reference: Reference?, _ site: TravellingSection,
        _ key: SectionKey,
        _ number: SectionIndex
    ) -> ReferenceTarget {
        let here = ReferenceTarget.local(section: number, offset: Int64(bitPattern: symbol.value))
        let isSectionSymbol = symbol.kind == .section
        if case .outside(let binding) = reference, !isSectionSymbol {
            return .outside(binding, addend: relocation.addend)
        }
        if let pointed = pointedOffset(relocation, symbol, site), let entry = replacedEntries[key]?[pointed] {
            let distance = Int64(bitPattern: symbol.value) &- Int64(bitPattern: pointed)
            return .outside(entry, addend: relocation.addend &+ distance)
        }
        let isCode = objectFile(key.unit, key.side).sections[key.section].isExecutable
        if case .outside(let binding) = reference, !isCode { return .outside(binding, addend: relocation.addend) }
        return here
    }

    /// Offset in the symbol's section that the reference means; nil where it can't be a function's entry: a
    /// PC-relative field in data is an entry of a jump table.
    private func pointedOffset(_ relocation: Relocation, _ symbol: Symbol, _ site: TravellingSection) -> UInt64? {
        switch relocation.type {
        case let type where type.isNear:
            guard site.section.isExecutable else { return nil }
            return symbol.value &+ UInt64(bitPattern: relocation.addend &+ 4)
        case .abs64, .abs32, .abs32s: return symbol.value &+ UInt64(bitPattern: relocation.addend)
        default: return symbol.value
        }
    }
}
