import CodeModel
import ObjectFiles
import Targets

/// Which datum a field means, where the object says so for certain. The assembler lets fields count from the start of a
/// section where the datum is local: then the end of one is the start of the next.
extension Matcher {
    /// - Parameter original: the unit compiled with each datum in a section of its own.
    mutating func addExact(_ original: ObjectView?) {
        for (index, readings) in verified {
            let referents = original.map { namedReferents(of: index, in: $0) } ?? [:]
            verified[index] = readings.map { reading in
                var reading = reading
                reading.exact = exact(reading, referents[reading.relocation.offset])
                return reading
            }
        }
    }

    private func exact(
        _ reading: FieldReading, _ named: (entity: EntityIndex, delta: Int64)?
    ) -> (entity: EntityIndex, address: UInt64)? {
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard !mayBeOverridden(symbol) else { return nil }
        if let place = reading.thread {
            guard let entity = plain.entityOfSymbol[reading.relocation.symbol],
                let offset = target.threadLocals.offset(place)
            else { return nil }
            return (entity, offset &- (symbol.value &- plain.entities[entity].offset))
        }
        guard let address = reading.symbolAddress else { return nil }
        if let named {
            return (named.entity, address &+ UInt64(bitPattern: reading.relocation.addend &- named.delta))
        }
        guard let entity = plain.entityOfSymbol[reading.relocation.symbol], plain.entities[entity].kind == .data else {
            return nil
        }
        return (entity, address)
    }

    /// By the offset of a function's field: the datum that the same field of `other` names, and how far from its start.
    private func namedReferents(of index: EntityIndex, in other: ObjectView) -> [UInt64: (
        entity: EntityIndex, delta: Int64
    )] {
        guard let twin = other.entityNamed[plain.entities[index].name] else { return [:] }
        let (ours, theirs) = (plain.dataReferences(of: index), other.dataReferences(of: twin))
        guard ours.count == theirs.count, zip(ours, theirs).allSatisfy({ $0.type == $1.type }) else { return [:] }
        let section = other.file.sections[other.entities[twin].section]
        var found: [UInt64: (entity: EntityIndex, delta: Int64)] = [:]
        for (our, their) in zip(ours, theirs) {
            guard case .entity(let number, let delta) = other.referent(of: their, in: section),
                other.entities[number].kind == .data, let entity = plain.entityNamed[other.entities[number].name],
                plain.entities[entity].kind == .data, plain.entities[entity].size == other.entities[number].size
            else { continue }
            found[our.offset] = (entity, delta)
        }
        return found
    }

    /// Where matched code proves that the unit's data lies; none of what it contradicts itself about.
    func exactAddresses() -> [EntityIndex: UInt64?] {
        var found: [EntityIndex: UInt64?] = [:]
        for (entity, address) in verified.values.joined().compactMap(\.exact) {
            if let known = found[entity], known != address {
                found[entity] = .some(nil)
            } else {
                found[entity] = address
            }
        }
        return found
    }
}

extension ObjectView {
    /// A function's relocations that refer to what is defined here and is no code.
    fileprivate func dataReferences(of index: EntityIndex) -> [Relocation] {
        let entity = entities[index]
        return relocations(section: entity.section, from: entity.offset, to: entity.end).filter { relocation in
            file.symbols[relocation.symbol].sectionIndex.map { !file.sections[$0].isExecutable } ?? false
        }
    }
}
