import Diagnostics
import SourceChanges

/// Decides for each touched file whether compiling the units that read it is all that the change asks for, where no record
/// tells what the build did with it.
///
/// Compilers say what they read, so that sources and headers need no more. Of anything else nobody knows what the build
/// makes: it is refused, unless it is documentation, or a second tree was built with the change in it, by the same commands.
struct PlainVerdict {
    private(set) var refusals: [Refusal] = []
    private(set) var ignored: [IgnoredFile] = []
    /// Refusals that stand unless the targets turn out to be linked without these sources.
    private(set) var unread: [UncompiledSource] = []
    private let change: SourceChange
    private let newBuild: NewBuild?
    /// Why there is no record, to follow "and".
    private let missing: String
    /// All recorded units of C and C++ ask for debug information.
    private let describesUnits: Bool

    init(change: SourceChange, newBuild: NewBuild?, missing: String, describesUnits: Bool) {
        self.change = change
        self.newBuild = newBuild
        self.missing = missing
        self.describesUnits = describesUnits
    }

    private var isBuilt: Bool { change.origin == .newSource(built: true) }

    mutating func judge(_ file: ChangedFile, readers: [CompileUnit]) {
        let language = Language(file: file.path, arguments: [])
        if file.new == nil, readers.contains(where: { $0.file == change.path(of: file) }) {
            return refuse(
                .noCompileCommand, file, "it is removed, and how the program is linked without it is not known")
        }
        // Wherever they are.
        if language != nil || [.source, .header].contains(FileClass(path: file.name)) {
            if readers.isEmpty { judgeUnread(file, language) }
        } else if FileClass(path: file.path) == .documentation, readers.isEmpty {
            ignored.append(
                IgnoredFile(path: file.path, why: "no unit reads it; it is \(FileClass.documentation.words)"))
        } else {
            judgeOther(file, readers: readers)
        }
    }

    /// A copy that a unit reads in the place of a touched file.
    mutating func judge(_ copy: CopiedFile) {
        guard !isBuilt, !refusals.contains(where: { $0.subject == copy.original.path }) else { return }
        refuse(
            .sourceAndGenerator, copy.original,
            "\(copy.path) is a copy of it, which \(copy.reader) reads; compiling alone would leave that as it was",
            remedy: Self.record)
    }

    private mutating func judgeUnread(_ file: ChangedFile, _ language: Language?) {
        if language == nil, file.original == nil || file.new == nil {
            return ignored.append(IgnoredFile(path: file.path, why: "no unit reads it"))
        }
        if file.original == nil {
            // Another file may include it.
            if isBuilt, let newBuild, newBuild.difference == nil { return pass(file) }
            return refuse(
                .noCompileCommand, file, "it is new, and no recorded command compiles it",
                remedy: "build a second tree with the change by `patchbuild record`, and give it with --new-source")
        }
        let refusal = Refusal(
            .unreadSource, subject: file.path,
            why: language == nil
                ? "it is \(FileClass.header.words), but no recorded unit reads it, and \(missing)"
                : "it is \(FileClass.source.words), but no recorded unit reads it, and the target may hold it",
            remedy: Self.record)
        if language != nil {
            let isDescribed = [.c, .cplusplus].contains(language) && describesUnits
            unread.append(UncompiledSource(path: file.path, refusal: refusal, isDescribed: isDescribed))
        } else if isBuilt {
            // What is made of it is compared too. Whether the target has units that were not recorded is checked later.
            unread.append(UncompiledSource(path: file.path, refusal: refusal, reach: .readers))
        } else {
            refusals.append(refusal)
        }
    }

    private mutating func judgeOther(_ file: ChangedFile, readers: [CompileUnit]) {
        if isBuilt, let newBuild, newBuild.difference == nil {
            if readers.isEmpty { pass(file) }
            return
        }
        let why = newBuild?.difference.map { " (\($0))" } ?? ""
        refuse(
            readers.isEmpty ? .unreadSource : .sourceAndGenerator, file,
            "it is \(FileClass(path: file.path).words), and \(missing)\(why)",
            remedy: isBuilt
                ? "record the builds of both trees with `patchbuild record -- BUILD-COMMAND`"
                : Self.record + ", or leave the file out of the diff if nothing of the program is made of it")
    }

    private mutating func pass(_ file: ChangedFile) {
        ignored.append(IgnoredFile(path: file.path, why: NewBuild.same))
    }

    private static let record = "record a clean build with `patchbuild record -- BUILD-COMMAND`"

    private mutating func refuse(_ rule: Rule, _ file: ChangedFile, _ why: String, remedy: String? = nil) {
        refusals.append(Refusal(rule, subject: file.path, why: why, remedy: remedy))
    }
}
