import FoundationEssentials
import Glibc
import SourceChanges
import Toolchain

/// What compilers say that their units read (`-M`), and what can be told from that about touched files.
struct CompilerAnswers {
    private let units: [CompileUnit]
    private let change: SourceChange
    private let answers: [Int: UnitDependencies]
    /// Units of which compilers don't tell all, and in what way: by files of theirs that let the assembler read others, or that
    /// ask whether there are others.
    private let embedding: Set<Int>
    private let asking: Set<Int>
    /// Units whose source is not there, or not yet: what those of the target may read is asked about later.
    private let gone: Set<Int>

    /// Asks the compiler of every unit, unless a fresh dependency file of its own command answers.
    init(_ change: SourceChange, _ units: [CompileUnit]) async throws {
        // What the build wrote leaves out what is in a precompiled header.
        let precompiled = try PrecompiledHeaders(units: units, root: change.root)
        let gone = Set(units.indices.filter { access(units[$0].file, F_OK) != 0 })
        let answers = try await unitDependencies(
            of: units.indices.filter { !gone.contains($0) }.map { ($0, units[$0]) }, trustingFiles: precompiled.isEmpty)
        self.gone = gone
        (self.units, self.change, self.answers) = (units, change, answers)
        let adds = change.files.contains { $0.original == nil }
        var marks: [String: (embeds: Bool, asks: Bool)] = [:]
        var (embedding, asking): (Set<Int>, Set<Int>) = ([], [])
        for (number, answer) in answers {
            for path in answer.files.union([units[number].file]) where !path.hasPrefix("/usr/") {
                let found = marks[path] ?? Self.marks(in: path, adds: adds)
                marks[path] = found
                if found.embeds { embedding.insert(number) }
                if found.asks { asking.insert(number) }
            }
        }
        (self.embedding, self.asking) = (embedding, asking)
    }

    private static func marks(in path: String, adds: Bool) -> (embeds: Bool, asks: Bool) {
        guard let data = FileManager.default.contents(atPath: path) else { return (true, true) }
        let text = [UInt8](data)
        return (
            contains(text, "incbin") || contains(text, ".include"), adds && contains(text, "__has_include")
        )
    }

    /// The units that read a file, by what their compilers say.
    func readers(of file: ChangedFile) -> Set<Int> {
        let path = change.path(of: file)
        return Set(units.indices.filter { units[$0].file == path || answers[$0]?.files.contains(path) == true })
    }

    /// Units that may read a file besides: all whose compiler does not tell, or that have the assembler read files.
    ///
    /// A file that the change adds may be read by those that read another one of its name, or ask whether there is one. Who
    /// begins to read it reads a changed file.
    func possibleReaders(of file: ChangedFile) -> Set<Int> {
        Set(
            units.indices.filter { number in
                if gone.contains(number) { return false }
                guard let answer = answers[number], !embedding.contains(number) else { return true }
                return file.original == nil && (answer.names.contains(file.name) || asking.contains(number))
            })
    }

    /// All that a unit reads; nil where that is not known.
    func files(readBy number: Int) -> Set<String>? {
        embedding.contains(number) ? nil : answers[number].flatMap { $0.isWhole ? $0.files : nil }
    }

    /// Files that units read and that are what touched files were: copies that the build has made (`cp src/api.h include/`).
    /// A link to the touched file is none.
    var copies: [CopiedFile] {
        let touched = Set(change.files.map { change.path(of: $0) })
        let sized = Dictionary(
            grouping: change.files.filter { !($0.original ?? []).isEmpty && $0.original != $0.new },
            by: { $0.original?.count ?? 0 })
        var readers: [String: Int] = [:]
        for (number, answer) in answers {
            for path in answer.files where !touched.contains(path) {
                readers[path] = min(number, readers[path] ?? number)
            }
        }
        return readers.sorted { $0.key < $1.key }.flatMap { path, number -> [CopiedFile] in
            guard let candidates = sizeOfFile(path).flatMap({ sized[$0] }),
                let data = FileManager.default.contents(atPath: path)
            else { return [] }
            let bytes = [UInt8](data)
            return candidates.filter { $0.original == bytes }.map {
                CopiedFile(original: $0, path: path, reader: units[number].file)
            }
        }
    }
}

/// A file that is what a touched file was, and that a unit reads in its place.
struct CopiedFile {
    var original: ChangedFile
    /// The copy's.
    var path: String
    /// The source of a unit.
    var reader: String
}

private func sizeOfFile(_ path: String) -> Int? {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : nil
}

/// Whether `word` stands somewhere in the text.
func contains(_ text: [UInt8], _ word: StaticString) -> Bool {
    let length = word.utf8CodeUnitCount
    return text.withUnsafeBytes { bytes in
        guard let start = bytes.baseAddress else { return false }
        var rest = bytes.count
        while rest >= length,
            let next = memchr(start + (bytes.count - rest), Int32(word.utf8Start[0]), rest - length + 1)
        {
            if memcmp(next, word.utf8Start, length) == 0 { return true }
            rest = bytes.count - (UnsafeRawPointer(next) - start) - 1
        }
        return false
    }
}
