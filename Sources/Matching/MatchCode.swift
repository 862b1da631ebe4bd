import CodeModel
import ObjectFiles
import Targets

/// Where an object's functions lie.
extension Matcher {
    mutating func placeCode() {
        for (section, entities) in plain.entitiesInSection.pairs {
            guard plain.file.sections[section].isExecutable else { continue }
            var votes: [UInt64: Int] = [:]
            for index in entities {
                let entity = plain.entities[index]
                let places = Set(definitions(of: entity, guesses: true).map { $0.value &- entity.offset })
                for place in places { votes[place, default: 0] += 1 }
            }
            let candidates = votes.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(64)
            place(section, entities, candidates.map { ($0.key, $0.value) })
        }
        decide()
    }

    private func trial(_ entities: [EntityIndex], at place: UInt64) -> Trial {
        var trial = Trial(place: place)
        for index in entities {
            switch verify(index, at: place &+ plain.entities[index].offset) {
            case .success(let readings): trial.good[index] = readings
            case .failure(let mismatch): trial.bad[index] = mismatch
            }
        }
        return trial
    }

    /// Takes the candidate at which most functions have the right bytes; of several at which all have, others decide.
    private mutating func place(
        _ section: SectionIndex, _ entities: [EntityIndex], _ candidates: [(place: UInt64, votes: Int)]
    ) {
        var best: Trial?
        var perfect: [Trial] = []
        for candidate in candidates {
            // At the right place every function has its name.
            if !perfect.isEmpty, candidate.votes < (candidates.first?.votes ?? 0) { break }
            let trial = trial(entities, at: candidate.place)
            if trial.bad.isEmpty { perfect.append(trial) }
            if best.map({ trial.good.count > $0.good.count }) ?? true { best = trial }
        }
        if perfect.count > 1 { undecided[section] = perfect } else if let best { take(best, section) }
    }

    private mutating func take(_ trial: Trial, _ section: SectionIndex) {
        places[section] = trial.place
        verified.merge(trial.good) { old, _ in old }
        for (index, mismatch) in trial.bad where !findElsewhere(index) {
            mismatches[index] = mismatches[index] ?? mismatch
        }
    }

    /// In another link's target a function of another size may lie before it, so that the section is in pieces.
    private mutating func findElsewhere(_ index: EntityIndex) -> Bool {
        guard target.translated != nil else { return false }
        for address in Set(definitions(of: plain.entities[index]).map(\.value)) {
            guard case .success(let readings) = verify(index, at: address) else { continue }
            verified[index] = readings
            moved[index] = address
            return true
        }
        return false
    }

    /// Equal copies (a static function of a header, in each unit a section of its own) are told apart by what functions
    /// with a known place call; never by guessing, since each may have static data of its own.
    private mutating func decide() {
        var named: [SectionIndex: Set<UInt64>] = [:]
        var work: [SectionIndex] = []
        func learn(_ readings: some Sequence<FieldReading>) {
            for (section, place) in readings.compactMap({ sectionPlace($0) })
            where undecided[section] != nil && named[section, default: []].insert(place).inserted {
                work.append(section)
            }
        }
        learn(verified.sorted { $0.key < $1.key }.flatMap(\.value))
        while let section = work.popLast() {
            guard let fitting = undecided[section]?.filter({ named[section]?.contains($0.place) == true }),
                fitting.count == 1
            else { continue }
            take(fitting[0], section)
            undecided[section] = nil
            learn(fitting[0].good.values.joined())
        }
        for (section, trials) in undecided {
            for index in plain.entitiesInSection[section, default: []] {
                mismatches[index] = .other(
                    "the target has \(trials.count) equal functions of its name, and nothing tells which is this unit's"
                )
            }
        }
    }
}
