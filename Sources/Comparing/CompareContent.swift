import CodeModel
import ObjectFiles

/// Data or an unnamed section of both objects, to be compared by content.
enum ContentPair: Hashable {
    case data(EntityIndex, EntityIndex)
    case sections(SectionIndex, SectionIndex)
}

/// What a look at two ranges finds by itself, and what else has to be equal for them to be equal.
struct Finding {
    struct Condition {
        var pair: ContentPair
        /// What to say when the pair differs.
        var reason: String
    }

    var reason: String?
    /// In the order of the references; those before `reason` only.
    var conditions: [Condition] = []
}

extension Comparer {
    /// The first difference, once everything that the ranges refer to is decided.
    mutating func settle(_ finding: Finding) -> String? {
        for condition in finding.conditions where isChanged(condition.pair) { return condition.reason }
        return finding.reason
    }

    /// Whether the content of a pair differs, in itself or in a constant that it refers to.
    ///
    /// Constants refer to each other in chains of any length, and in circles. So all that the pair reaches is collected
    /// first, and differences then spread from user to user: each pair is looked at once, and no deep recursion.
    mutating func isChanged(_ pair: ContentPair) -> Bool {
        if let verdict = verdicts[pair] { return verdict }
        var reached: Set<ContentPair> = [pair]
        var open = [pair]
        var users: [ContentPair: [ContentPair]] = [:]
        var changed: [ContentPair] = []
        while let next = open.popLast() {
            let found = finding(of: next)
            if found.reason != nil { changed.append(next) }
            for condition in found.conditions {
                if let verdict = verdicts[condition.pair] {
                    if verdict { changed.append(next) }
                } else {
                    users[condition.pair, default: []].append(next)
                    if reached.insert(condition.pair).inserted { open.append(condition.pair) }
                }
            }
        }
        for pair in reached { verdicts[pair] = false }
        while let next = changed.popLast() {
            if verdicts.updateValue(true, forKey: next) != true { changed += users[next, default: []] }
        }
        return verdicts[pair] ?? false
    }

    private func finding(of pair: ContentPair) -> Finding {
        switch pair {
        case .data(let a, let b): finding(ofEntity: a, and: b)
        case .sections(let a, let b):
            finding(
                Range(section: a, start: 0, end: original.file.sections[a].size),
                Range(section: b, start: 0, end: new.file.sections[b].size))
        }
    }
}

extension ObjectView {
    /// The bytes that references to an entity may read: with a section of its own, all of that, since unnamed content
    /// may follow what its symbol covers.
    package func extent(of number: EntityIndex) -> Comparer.Range {
        let entity = entities[number]
        let section = file.sections[entity.section]
        let isAlone = entity.offset == 0 && !section.isMergeable && entitiesInSection[entity.section]?.count == 1
        return Comparer.Range(
            section: entity.section, start: entity.offset, end: isAlone ? max(section.size, entity.end) : entity.end)
    }
}
