import PatchFormat

/// What must be called for a patch, and where the calls and their record lie in the process.
package struct RegisteredCalls: Codable, Hashable, Sendable {
    package var stub: UInt64
    /// `CallList`: registrations of unwind data first, then choices of implementations, then initialisers.
    package var load: UInt64
    /// `CallList`: the registrations taken back.
    package var unload: UInt64
    package var registrations: Int
    package var initialisers: Int
    /// Implementations of IFUNCs that are asked for; nil in records of formats before 4.
    package var choices: Int?
    /// The object that holds the process's unwinder.
    package var unwinderBias: UInt64
    package var unwinderBuildID: String?
    /// What the unwinder was told of.
    package var unwind: [ModuleUnwind]
    /// What went wrong in a call.
    package var failure: String?

    package init(
        stub: UInt64, load: UInt64, unload: UInt64, registrations: Int, initialisers: Int, choices: Int? = nil,
        unwinderBias: UInt64, unwinderBuildID: String? = nil, unwind: [ModuleUnwind], failure: String? = nil
    ) {
        self.stub = stub
        self.load = load
        self.unload = unload
        self.registrations = registrations
        self.initialisers = initialisers
        self.choices = choices
        self.unwinderBias = unwinderBias
        self.unwinderBuildID = unwinderBuildID
        self.unwind = unwind
        self.failure = failure
    }

    package var loadCount: Int { registrations + (choices ?? 0) + initialisers }
}

/// How far a borrowed thread has come with a list.
package struct CallProgress: Sendable {
    package var count: Int
    package var begun: UInt64
    package var returned: UInt64

    package init(count: Int, begun: UInt64, returned: UInt64) {
        self.count = count
        self.begun = begun
        self.returned = returned
    }

    package var isDone: Bool { returned == UInt64(count) }
    /// A call that was begun has not returned.
    package var isOpen: Bool { begun != returned }
}
