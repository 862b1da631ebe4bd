import BuildGraph
import Diagnostics
import SourceChanges

/// Decides for each touched file whether compiling the units that read it is all that the change asks for, by what the recorded
/// build did with the file.
///
/// What nothing behind a linked file has read has no effect. What another command than a compiler has made a part of one from
/// is refused, and the build repeated where that helps (trap source-and-generator). What a command has read that decides about
/// others is refused: the recorded commands may not be those of the changed build.
struct GraphVerdict {
    private(set) var refusals: [Refusal] = []
    private(set) var ignored: [IgnoredFile] = []
    /// Refusals that stand for targets which are not of the record.
    private(set) var unread: [UncompiledSource] = []
    private let change: SourceChange
    private let newBuild: NewBuild?

    /// All recorded units of C and C++ ask for debug information, so that others of the build will have done so too.
    private let describesUnits: Bool

    init(change: SourceChange, newBuild: NewBuild?, describesUnits: Bool) {
        self.describesUnits = describesUnits
        self.change = change
        self.newBuild = newBuild
    }

    private var isBuilt: Bool { change.origin == .newSource(built: true) }

    mutating func judge(_ file: ChangedFile, _ reach: FileReach, readers: [CompileUnit]) {
        let kind = FileClass(path: file.path)
        if file.new == nil, readers.contains(where: { $0.file == change.path(of: file) }) {
            return refuse(
                .noCompileCommand, file, "it is removed, and how the program is linked without it is not known")
        }
        if let maker = reach.makers.first, !isBuilt {
            return refuse(
                readers.isEmpty ? .unreadSource : .sourceAndGenerator, file,
                "\(maker.relative(to: change.root).words), which compiling alone would leave as it was"
            )
        }
        // Tools of the distribution read their own files for purposes of their own; make and shells run what they read.
        let decider = reach.deciders.first {
            kind != .packaging || GraphReaders.isShell($0) || GraphReaders.goesByTimes($0)
        }
        if let decider { return judgeDecided(file, by: decider) }
        if let asked = reach.asked.first, !kind.isHarmless { return judgeDecided(file, by: asked.program) }
        if let onlooker = reach.onlookers.first, !kind.isHarmless {
            // It may say how to compile.
            if isBuilt, kind == .other { return judgeDecided(file, by: onlooker) }
            guard isBuilt else {
                return refuse(
                    readers.isEmpty ? .unreadSource : .sourceAndGenerator, file,
                    "\(onlooker) has looked at it, and may make source from it when it changes")
            }
        }
        guard readers.isEmpty else { return }
        if file.original == nil, kind == .source {
            // Another file may include it.
            if isBuilt, let newBuild, newBuild.difference == nil {
                return ignored.append(IgnoredFile(path: file.path, why: NewBuild.same))
            }
            return refuse(
                .noCompileCommand, file, "it is new, and no recorded command compiles it",
                remedy: "build a second tree with the change by `patchbuild record`, and give it with --new-source")
        }
        let why =
            if reach.isExportList {
                "the linker alone reads it; what a loaded library exports stays as it is"
            } else if reach.makers.isEmpty {
                "nothing that was linked has read it"
            } else {
                "what is made of it is compared too"
            }
        ignored.append(IgnoredFile(path: file.path, why: why))
        if !kind.isHarmless, !reach.isExportList { judgeForOthers(file, kind) }
    }

    /// A target that was made elsewhere may have been made of it.
    private mutating func judgeForOthers(_ file: ChangedFile, _ kind: FileClass) {
        // Nobody looked for it, so that it takes a changed file to name it.
        guard file.original != nil else { return }
        let isCompiled = [.c, .cplusplus].contains(Language(file: file.path, arguments: []))
        unread.append(
            UncompiledSource(
                path: file.path,
                refusal: Refusal(
                    .unreadSource, subject: file.path,
                    why: "nothing that the recorded build linked has read it, but the target is not one of those files",
                    remedy: "record the build that makes the target, or give the file that it made with --symbols"),
                reach: .outsideOfRecord, isDescribed: isCompiled && describesUnits))
    }

    private mutating func judgeDecided(_ file: ChangedFile, by program: String) {
        if let newBuild, newBuild.difference == nil {
            ignored.append(IgnoredFile(path: file.path, why: NewBuild.same))
            return
        }
        let why = newBuild?.difference.map { " (\($0))" } ?? ""
        refuse(
            .noCompileCommand, file,
            "\(program) has read it, which decides what is compiled and how; a patch is made with the recorded commands\(why)",
            remedy: "leave it out of the diff if the patched units' commands stay the same; if it adds sources, build a"
                + " second tree with the change by `patchbuild record` and give it with --new-source; else restart")
    }

    private mutating func refuse(_ rule: Rule, _ file: ChangedFile, _ why: String, remedy: String? = nil) {
        refusals.append(Refusal(rule, subject: file.path, why: why, remedy: remedy))
    }
}
