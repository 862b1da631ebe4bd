/// Where the time of a build went.
package struct StageClock: Sendable {
    package struct Stage: Codable, Sendable {
        package var name: String
        package var seconds: Double
    }

    package private(set) var stages: [Stage] = []
    private var last = ContinuousClock.now

    package init() {}

    /// Ends a stage that began where the last one ended.
    package mutating func lap(_ name: String) {
        let now = ContinuousClock.now
        add(name, seconds: (now - last).inSeconds)
        last = now
    }

    /// Gives a part of one stage to another.
    package mutating func move(seconds: Double, from: String, to: String) {
        add(from, seconds: -seconds)
        add(to, seconds: seconds)
    }

    private mutating func add(_ name: String, seconds: Double) {
        if let index = stages.firstIndex(where: { $0.name == name }) {
            stages[index].seconds += seconds
        } else {
            stages.append(Stage(name: name, seconds: seconds))
        }
    }
}

extension Duration {
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
