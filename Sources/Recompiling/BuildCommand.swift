import FoundationEssentials
import Glibc

/// How a tree was built, as `record` notes it beside the compile commands.
struct BuildCommand: Codable, Hashable {
    var directory: String
    var arguments: [String]
    /// Variables that builds commonly listen to, as they were set.
    var environment: [String: String]

    init(_ arguments: [String], _ place: BuildPlace = BuildPlace()) {
        self.arguments = arguments
        directory = place.directory
        let names = [
            "PATH", "CC", "CXX", "CPP", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "DEB_BUILD_OPTIONS",
            "DEB_BUILD_PROFILES",
            "SOURCE_DATE_EPOCH",
        ]
        let values = names.compactMap { name -> (String, String)? in
            let value = place.environment[name] ?? getenv(name).map { String(cString: $0) }
            return value.map { (name, $0) }
        }
        environment = Dictionary(values) { first, _ in first }
    }

    /// nil when the compile commands came from elsewhere.
    static func read(besides database: String) -> BuildCommand? {
        FileManager.default.contents(atPath: path(besides: database)).flatMap {
            try? JSONDecoder().decode(BuildCommand.self, from: $0)
        }
    }

    /// What can't be written is missed only when a generator must run again, and then the refusal says what to do.
    func write(besides database: String) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try? encoder.encode(self).write(to: URL(filePath: Self.path(besides: database)), options: .atomic)
    }

    private static func path(besides database: String) -> String { database + ".build" }
}
