import Diagnostics
import FoundationEssentials
import Glibc
import SourceChanges
import Toolchain

/// The three objects of one unit.
struct CompiledUnit: Sendable {
    var unit: CompileUnit
    /// Made by the recorded command with nothing but the output changed (trap short-jumps).
    var plainObject: String
    /// The same source, with `-ffunction-sections -fdata-sections` and debug information.
    var originalObject: String
    /// The changed source, compiled like `originalObject`.
    var newObject: String
    /// The new object was compiled with line numbers pinned (trap line-pinning), as far as its files allow it.
    var pinned: Bool
    /// The lines whose numbers both objects share; nil where they are not `pinned`.
    var keptLines: KeptLines?
    /// `plainObject` is the one of the user's build tree.
    var reused: Bool
}

/// All objects of a build, and where the time went.
struct CompiledUnits: Sendable {
    var units: [CompiledUnit]
    /// Units that fail with the original source too.
    var failed: [UncompiledSource]
    /// Units that only the new source breaks: refusals, unless no target was linked from them.
    var broken: [UncompiledSource]
    /// What an engineer should know, such as a file whose lines could not be pinned.
    var notes: [String]
    /// Wall-clock seconds spent on preparing the two views of the tree.
    var preparing: Double
    /// Wall-clock seconds spent on compiling.
    var compiling: Double
}

/// Compiles every unit from the original and from the changed source, by its recorded command, without writing in the
/// tree: both are seen at the tree's own path (trap same-paths).
///
/// - Parameters:
///   - scratch: a directory outside of the tree, in which objects and changed files are left for the caller to remove.
///   - database: where the units come from; nil: objects of the build tree are never reused.
///   - dependencies: for each unit, what it reads, where the compiler was asked already.
///   - launcher: a command that each compile command is given to, such as `ccache`.
/// - Throws: `Refusals` compile-failed where the recorded command works no more; source-and-generator where new code calls
///   what nothing declares; `Failure`.
func compileTwice(
    _ units: [CompileUnit], change: SourceChange, scratch: String, database: CompileDatabase? = nil,
    dependencies: [Set<String>?] = [], launcher: [String] = []
) async throws -> CompiledUnits {
    let clock = ContinuousClock()
    let start = clock.now
    var compilation = try await Compilation(
        units: units, change: change, scratch: resolvedScratch(scratch), launcher: launcher)
    let prepared = clock.now
    let known = zip(units.indices, dependencies).compactMap { index, files in files.map { (index, $0) } }
    try await compilation.compile(database: database, dependencies: Dictionary(uniqueKeysWithValues: known))
    return CompiledUnits(
        units: compilation.results, failed: compilation.failed, broken: compilation.broken,
        notes: compilation.notes,
        preparing: (prepared - start) / .seconds(1),
        compiling: (clock.now - prepared) / .seconds(1))
}

private func resolvedScratch(_ scratch: String) throws -> String {
    try createDirectory(scratch + "/objects")
    return resolvedPath(scratch)
}

private struct Compilation {
    enum Role: String { case plain, original, new }

    let units: [CompileUnit]
    let change: SourceChange
    let scratch: String
    let view: SourceView
    /// The changed files with pinned lines, and as they came.
    let pinned: SourceLayer
    let raw: SourceLayer
    let launcher: Launcher
    let environment: [String: String?]
    var notes: [String] = []
    var results: [CompiledUnit] = []
    var failed: [UncompiledSource] = []
    var broken: [UncompiledSource] = []
    /// No file needed a `#line`, so that both layers are the same.
    private var isPlain = true
    private var kept: [String: KeptText] = [:]
    /// A changed file says itself what its lines are called (`#line`), and by the name of which file.
    private var namesLines = false

    init(units: [CompileUnit], change: SourceChange, scratch: String, launcher: [String]) async throws {
        self.units = units
        self.change = change
        self.scratch = scratch
        view = try await SourceView.make(root: change.root, scratch: scratch)
        let precompiled = try PrecompiledHeaders(units: units, root: change.root)
        if view.method == .copies { try precompiled.requireNone() }
        let removed = change.files.filter { $0.new == nil }.map(\.path) + precompiled.inTree
        pinned = SourceLayer(
            name: "pinned", directory: scratch + "/pinned", removed: removed, hidden: precompiled.outside)
        raw = SourceLayer(name: "new", directory: scratch + "/new", removed: removed, hidden: precompiled.outside)
        self.launcher = Launcher(words: launcher)
        environment = compilerEnvironment.merging(["SOURCE_DATE_EPOCH": buildDate(root: change.root)]) { $1 }
            .merging(self.launcher.environment) { $1 }
        try await self.launcher.check(view, scratch: scratch, compilers: Set(units.map(\.compiler)))
        try writeLayers()
        try writeEmptySources()
        try await view.prepare(layers: isPlain ? [nil, raw] : [nil, raw, pinned])
    }

    private mutating func writeLayers() throws {
        try createDirectory(pinned.directory)
        try createDirectory(raw.directory)
        for file in change.files {
            kept[change.path(of: file)] = KeptText()
            guard let new = file.new else { continue }
            try write(new, of: file, to: raw)
            var text = new
            if let original = file.original, canBePinned(file.path) {
                let result = pinLines(original: original, new: new)
                if result.numbersItself { namesLines = true }
                if let why = result.refusal { notes.append("\(file.path): line numbers are not kept: \(why)") }
                if result.directives > 0 { isPlain = false }
                kept[change.path(of: file)] = result.kept
                text = result.text
            }
            try write(text, of: file, to: pinned)
        }
    }

    /// What the original tree has in the place of a source that the change adds.
    private func writeEmptySources() throws {
        for index in units.indices where units[index].isNew {
            let isAssembler = [.assembler, .preprocessedAssembler].contains(units[index].language)
            let text = isAssembler ? "" : "extern int nothing;\n"
            guard FileManager.default.createFile(atPath: emptySource(index), contents: Data(text.utf8)) else {
                throw Failure("can't write \(emptySource(index))")
            }
        }
    }

    private func emptySource(_ index: Int) -> String { "\(scratch)/objects/\(index)-" + baseName(units[index].file) }

    /// Assembler has other comments; a grammar is not C.
    private func canBePinned(_ path: String) -> Bool {
        let kind = FileClass(path: path)
        return (kind == .source || kind == .header) && ![".S", ".s", ".sx", ".asm"].contains { path.hasSuffix($0) }
    }

    private func write(_ text: [UInt8], of file: ChangedFile, to layer: SourceLayer) throws {
        let path = layer.directory + "/" + file.path
        let directory = path.split(separator: "/").dropLast().joined(separator: "/")
        try createDirectory("/" + directory)
        guard FileManager.default.createFile(atPath: path, contents: Data(text)) else {
            throw Failure("can't write \(path)")
        }
        // `__TIMESTAMP__` is the file's time.
        guard let time = modificationTime(change.path(of: file)) else { return }
        let stamp = timespec(tv_sec: time / 1_000_000_000, tv_nsec: time % 1_000_000_000)
        _ = [stamp, stamp].withUnsafeBufferPointer { utimensat(AT_FDCWD, path, $0.baseAddress, 0) }
    }

    mutating func compile(database: CompileDatabase?, dependencies: [Int: Set<String>]) async throws {
        let reusable = try await reusableObjects(database, dependencies)
        var planned: [(role: Role, unit: Int)] = units.indices.flatMap { [(.new, $0), (.original, $0)] }
        planned += units.indices.filter { !reusable.contains($0) }.map { (.plain, $0) }
        // The longest first, so that no processor waits for one at the end.
        planned.sort { sourceSize($0.unit) > sourceSize($1.unit) }
        var outcomes = try await runJobs(planned, layer: isPlain ? raw : pinned)
        let failedPinned =
            isPlain ? [] : planned.indices.filter { planned[$0].role == .new && outcomes[$0].status != 0 }
        for (index, result) in zip(failedPinned, try await runJobs(failedPinned.map { planned[$0] }, layer: raw)) {
            outcomes[index] = result
            notes.append("\(name(planned[index].unit)): compiled without keeping line numbers")
        }
        let done = zip(planned, outcomes).map { (role: $0.role, unit: $0.unit, result: $1) }
        let failures = failures(done.filter { $0.role == .original }.map { ($0.unit, $0.result) })
        failed = failures.values.sorted { $0.path < $1.path }
        let whole = done.filter { failures[$0.unit] == nil }
        let breaks = self.failures(whole.filter { $0.role == .new }.map { ($0.unit, $0.result) })
        broken = breaks.values.sorted { $0.path < $1.path }
        try refuseFailures(whole.filter { $0.role == .plain }.map { ($0.unit, $0.result) })
        try refuseUndeclared(done.filter { breaks[$0.unit] == nil })
        let unpinned = Set(failedPinned.map { planned[$0].unit })
        let left = units.indices.filter { failures[$0] == nil && breaks[$0] == nil }
        let stale = reusable.intersection(left).filter {
            !sameProducer(units[$0].output, object(.original, $0))
        }
        let again = try await runJobs(stale.sorted().map { (.plain, $0) }, layer: nil)
        try refuseFailures(zip(stale.sorted(), again).map { ($0, $1) })
        results = left.map { index in
            let reused = reusable.contains(index) && !stale.contains(index)
            return CompiledUnit(
                unit: units[index], plainObject: reused ? units[index].output : object(.plain, index),
                originalObject: object(.original, index), newObject: object(.new, index),
                pinned: !unpinned.contains(index),
                keptLines: namesLines || unpinned.contains(index) ? nil : KeptLines(files: kept), reused: reused)
        }
    }

    private func runJobs(_ planned: [(role: Role, unit: Int)], layer: SourceLayer?) async throws -> [JobResult] {
        let results = try await run(
            planned.map { role, index in
                let unit = units[index]
                let added = role == .plain ? [] : unit.sectionArguments
                let isEmpty = unit.isNew && role != .new
                let arguments = unit.compileArguments(
                    output: object(role, index), adding: added, of: isEmpty ? emptySource(index) : nil)
                let command = launcher.command([unit.compiler] + view.telling(arguments))
                return view.job(
                    command[0], Array(command.dropFirst()),
                    directory: unit.directory, layer: role == .new ? layer : isEmpty ? raw : nil,
                    environment: environment,
                    title: "compile \(name(index))")
            })
        return results.map(failingWhereTheTreeIsRead)
    }

    /// Without namespaces the change is in a copy of the tree: a unit that reads the tree itself would lose it.
    private func failingWhereTheTreeIsRead(_ result: JobResult) -> JobResult {
        guard result.status == 0, let file = view.readsOfTree(result).first else { return result }
        var result = result
        result.status = 1
        result.errors = Array(
            """
            error: it reads \(file) by a path that leads out of the copy which stands for the tree: no mount namespace can be \
            made here, in which it would see the change; build the patch as root, or where namespaces are allowed
            """.utf8)
        return result
    }

    private func object(_ role: Role, _ index: Int) -> String { "\(scratch)/objects/\(index)-\(role.rawValue).o" }

    private func name(_ index: Int) -> String { units[index].name(relativeTo: change.root) }

    private func sourceSize(_ index: Int) -> Int {
        var status = stat()
        return stat(units[index].file, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Units that can't be compiled. Before the change: the programs that a build tries to make, to see whether it can
    /// (`configure`, a generator's test of the compiler). After it: programs that the fix's author did not build.
    private func failures(_ outcomes: [(unit: Int, result: JobResult)]) -> [Int: UncompiledSource] {
        let failed = outcomes.filter { $0.result.status != 0 }.map { index, result in
            (
                index,
                UncompiledSource(
                    path: units[index].file, refusal: refusal(index, result), isDescribed: units[index].asksForDebugInfo
                )
            )
        }
        return Dictionary(failed) { first, _ in first }
    }

    private func refusal(_ index: Int, _ result: JobResult) -> Refusal {
        Refusal(.compileFailed, subject: name(index), why: result.message() + "\n" + result.job.title)
    }

    private func refuseFailures(_ outcomes: [(unit: Int, result: JobResult)]) throws {
        let refusals = outcomes.filter { $0.result.status != 0 }.map { refusal($0.unit, $0.result) }
        if !refusals.isEmpty { throw Refusals(refusals) }
    }
}

// MARK: declarations that are missing

extension Compilation {
    /// Where prototypes are generated, a new function has none yet: the compiler guesses its type, often wrongly.
    private func refuseUndeclared(_ outcomes: [(role: Role, unit: Int, result: JobResult)]) throws {
        func undeclared(_ role: Role, _ unit: Int) -> Set<String> {
            let results = outcomes.filter { $0.role == role && $0.unit == unit }
            return results.reduce(into: []) { $0.formUnion(undeclaredFunctions(inMessages: $1.result.errorText)) }
        }
        let refusals = units.indices.flatMap { unit in
            undeclared(.new, unit).subtracting(undeclared(.original, unit)).sorted().map { function in
                Refusal(
                    .sourceAndGenerator, subject: name(unit),
                    why: "its new code calls \(function), which nothing declares: the header that will may be generated"
                )
            }
        }
        if !refusals.isEmpty { throw Refusals(refusals) }
    }
}

/// The names in the warnings of GCC and Clang (in English) that a function is called without a declaration.
func undeclaredFunctions(inMessages text: String) -> Set<String> {
    var names: Set<String> = []
    for line in text.split(whereSeparator: \.isNewline) {
        for sign in ["implicit declaration of function '", "call to undeclared function '"] {
            guard let range = line.firstRange(of: sign) else { continue }
            names.insert(String(line[range.upperBound...].prefix { $0 != "'" }))
        }
    }
    return names
}

// MARK: objects of the build tree

extension Compilation {
    /// Units whose object in the build tree can be what the recorded command makes: newer than all that the unit reads,
    /// and not newer than the record of the commands.
    private func reusableObjects(
        _ database: CompileDatabase?, _ known: [Int: Set<String>]
    ) async throws -> Set<Int> {
        guard let database, let recorded = modificationTime(database.path) else { return [] }
        let candidates = units.indices.filter { index in
            guard let made = modificationTime(units[index].output), made <= recorded else { return false }
            return isRelocatableObject(units[index].output)
        }
        let answers = try await unitDependencies(
            of: candidates.filter { known[$0] == nil }.map { ($0, units[$0]) }, trustingFiles: false)
        return Set(
            candidates.filter { index in
                guard let files = known[index] ?? answers[index]?.files,
                    let made = modificationTime(units[index].output)
                else { return false }
                return files.allSatisfy { isOlder($0, than: made) }
            })
    }

    /// Packages keep the times of their files, so what lies outside of the tree is judged by when it was installed.
    private func isOlder(_ path: String, than made: Int) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return false }
        let time = path.hasPrefix(change.root + "/") ? status.st_mtim : status.st_ctim
        return time.tv_sec &* 1_000_000_000 &+ time.tv_nsec < made
    }
}

private func isRelocatableObject(_ path: String) -> Bool {
    guard let file = fopen(path, "r") else { return false }
    defer { fclose(file) }
    var header = [UInt8](repeating: 0, count: 18)
    guard fread(&header, 1, header.count, file) == header.count else { return false }
    return header.starts(with: [0x7F, 0x45, 0x4C, 0x46]) && header[16] == 1 && header[17] == 0
}

/// Both objects say that the same compiler made them with the same flags, but for those that we added.
private func sameProducer(_ plain: String, _ sectioned: String) -> Bool {
    guard let plain = producer(plain), let sectioned = producer(sectioned) else { return false }
    let added: Set<Substring> = [
        "-ffunction-sections", "-fdata-sections", "-fmerge-constants", "-fno-eliminate-unused-debug-types",
        "-femit-class-debug-always",
        // Said by compilations of copies.
        "-H",
    ]
    return plain.split(separator: " ") == sectioned.split(separator: " ").filter { !added.contains($0) }
}

/// `DW_AT_producer`, found as the text that it is in `.debug_str`; nil when there is none, or more than one.
private func producer(_ path: String) -> String? {
    guard let data = FileManager.default.contents(atPath: path) else { return nil }
    let bytes = [UInt8](data)
    var found: Set<String> = []
    for pattern in ["GNU C", "clang version ", "GNU AS "].map({ Array($0.utf8) }) {
        var at = 0
        while let next = bytes[at...].firstIndex(of: pattern[0]) {
            at = next + 1
            // Before the section's first text stands the end of another section, whatever that is (GCC 14).
            guard bytes[next...].starts(with: pattern), next > 0, bytes[next - 1] < 0x20 else { continue }
            found.insert(String(decoding: bytes[next...].prefix { $0 != 0 }, as: UTF8.self))
        }
    }
    return found.count == 1 ? found.first : nil
}

/// Seconds since the epoch that `__DATE__` and `__TIME__` shall say: what the packaging of a distribution sets, so that
/// they come out as they did in the target; else one moment for all units.
private func buildDate(root: String) -> String {
    if let set = getenv("SOURCE_DATE_EPOCH") { return String(cString: set) }
    if let data = FileManager.default.contents(atPath: root + "/debian/changelog") {
        let lines = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
        let trailer = lines.first { $0.hasPrefix(" -- ") }
        if let date = trailer?.firstRange(of: ">  ").flatMap({ epoch(mailDate: trailer?[$0.upperBound...] ?? "") }) {
            return "\(date)"
        }
    }
    return "\(time(nil))"
}

/// `Tue, 14 Apr 2026 08:47:04 +0300` in seconds since the epoch.
func epoch(mailDate: Substring) -> Int? {
    let words = mailDate.split { $0 == " " || $0 == "," || $0 == ":" }.map(String.init)
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard words.count >= 8, let month = months.firstIndex(of: words[2]), let zone = Int(words[7]) else { return nil }
    let numbers = [words[1], words[3], words[4], words[5], words[6]].compactMap { Int32($0) }
    guard numbers.count == 5, (1900...9999).contains(numbers[1]), abs(zone) <= 1400 else { return nil }
    var fields = tm()
    fields.tm_mday = numbers[0]
    fields.tm_mon = Int32(month)
    fields.tm_year = numbers[1] - 1900
    (fields.tm_hour, fields.tm_min, fields.tm_sec) = (numbers[2], numbers[3], numbers[4])
    return timegm(&fields) - (zone / 100 * 3600 + zone % 100 * 60)
}
