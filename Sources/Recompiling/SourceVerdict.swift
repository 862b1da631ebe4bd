import Diagnostics
import SourceChanges

/// Decides for each touched file whether compiling the units that read it is all that the change asks for.
///
/// Read by units: yes, unless the build scripts show that source is generated from it as well (trap
/// source-and-generator). Read by none: code and build scripts are refused; what a generator may read is refused if it
/// is made for generators (`.y`, `.l`, `.in`) or a build script names it; documentation, tests and packaging are
/// passed over, as is a file of unknown use that no build script names, or only to the linker. In a new tree that was built, the products of
/// generators are compared as well, so their input is passed over.
struct SourceVerdict {
    var refusals: [Refusal] = []
    var ignored: [IgnoredFile] = []
    /// Refusals that stand unless the targets turn out to be linked without these sources.
    var unread: [UncompiledSource] = []
    private let change: SourceChange
    private let scripts: BuildScripts
    private let systems: BuildSystems
    private let newBuild: NewBuild?

    init(change: SourceChange, scripts: BuildScripts, systems: BuildSystems, newBuild: NewBuild?) {
        self.change = change
        self.scripts = scripts
        self.systems = systems
        self.newBuild = newBuild
    }

    mutating func judge(_ file: ChangedFile, readers: [CompileUnit]) {
        let kind = FileClass(path: file.path)
        if readers.isEmpty { return judgeUnread(file, kind) }
        if file.new == nil, readers.contains(where: { $0.file == change.path(of: file) }) {
            return refuse(
                .noCompileCommand, file, "it is removed, and how the program is linked without it is not known")
        }
        guard change.origin != .newSource(built: true), let place = scripts.generates(from: file.path) else { return }
        refuse(
            .sourceAndGenerator, file,
            "a unit reads it, and \(place) makes source from it too, which compiling alone would leave as it was")
    }

    /// Copies that the build has made of touched files.
    mutating func judge(_ copies: [CopiedFile]) {
        for copy in copies where !refusals.contains(where: { $0.subject == copy.original }) {
            refusals.append(
                Refusal(
                    .sourceAndGenerator, subject: copy.original,
                    why:
                        "\(copy.copy) is a copy of it, which \(copy.reader) reads; compiling alone would leave that as it was"
                ))
        }
    }

    private mutating func judgeUnread(_ file: ChangedFile, _ kind: FileClass) {
        let built = change.origin == .newSource(built: true)
        if isRegenerated(file) { return ignore(file, "the autotools made it anew; what they make it from is the same") }
        switch kind {
        case .tests, .packaging: ignore(file, "no unit reads it; it is \(kind.words)")
        case .source where file.original == nil:
            refuse(
                .noCompileCommand, file, "it is new, and no recorded command compiles it",
                remedy: "build a second tree with the change by `patchbuild record`, and give it with --new-source")
        case .header where file.original == nil || file.new == nil: ignore(file, "no unit reads it")
        case .source:
            let refusal = Refusal(
                .unreadSource, subject: file.path,
                why: "it is a source file, but no recorded unit reads it, and the target may hold it")
            let isCompiled = [.c, .cplusplus].contains(Language(file: file.path, arguments: []))
            unread.append(
                UncompiledSource(
                    path: file.path, refusal: refusal, isDescribed: isCompiled && systems.describesUnits))
        case .header where built:
            // What is made of it is compared too. Whether the target has units that were not recorded is checked later.
            unread.append(
                UncompiledSource(
                    path: file.path, refusal: unreadHeader(file), reach: .readers))
        case .header: refusals.append(unreadHeader(file))
        case .buildScript:
            judgeScript(file)
        case .documentation:
            if !built, let place = scripts.generates(from: file.path) { return refuseGenerator(file, place) }
            ignore(file, "no unit reads it; it is \(kind.words)")
        case .generatorInput, .data:
            if built { return ignore(file, "no unit reads it; what is made of it is compared too") }
            if let place = scripts.names(file.path) { return refuseGenerator(file, place) }
            if scripts.exports(by: file.path) != nil {
                return ignore(file, "the linker alone reads it; what a loaded library exports stays as it is")
            }
            if isMadeForGenerators(file.path) {
                return refuse(.unreadSource, file, "no unit reads it, but a generator may turn it into source")
            }
            ignore(file, "no unit reads it and no build script names it")
        }
    }

    private mutating func judgeScript(_ file: ChangedFile) {
        if let why = systems.doNotRead(file.path) { return ignore(file, why) }
        if let newBuild, newBuild.difference == nil {
            return ignore(file, "by the new tree's record, all that the original has is compiled as before")
        }
        let why = newBuild?.difference.map { " (\($0))" } ?? ""
        refuse(
            .unreadSource, file,
            "it is \(FileClass.buildScript.words); a patch is made with the recorded commands\(why)",
            remedy: "leave it out of the diff if the patched units' commands stay the same; if it adds sources, build a"
                + " second tree with the change by `patchbuild record` and give it with --new-source; else restart")
    }

    private func unreadHeader(_ file: ChangedFile) -> Refusal {
        Refusal(
            .unreadSource, subject: file.path,
            why: "it is \(FileClass.header.words), but no recorded unit reads it")
    }

    /// In a second tree: a file of the autotools of another version, while all they work from is as it was.
    private func isRegenerated(_ file: ChangedFile) -> Bool {
        guard change.origin != .diffs else { return false }
        let names: Set<String> = [
            "configure", "aclocal.m4", "ltmain.sh", "config.guess", "config.sub", "Makefile.in", "config.h.in",
            "install-sh",
            "missing", "depcomp", "compile", "test-driver", "libtool.m4", "ltoptions.m4", "ltsugar.m4", "ltversion.m4",
            "lt~obsolete.m4", "ylwrap", "mkinstalldirs",
        ]
        let inputs = change.files.contains { other in
            other.name.hasSuffix(".am") || other.name == "configure.ac" || other.name == "configure.in"
        }
        return names.contains(file.name) && !inputs
    }

    /// Grammars and templates have no other use; `foo.conf.in` has that of `foo.conf`.
    private func isMadeForGenerators(_ path: String) -> Bool {
        let type = path.split(separator: ".").last.map(String.init) ?? ""
        if type == "in" {
            let product = FileClass(path: String(path.dropLast(3)))
            return ![.documentation, .tests, .packaging, .data].contains(product)
        }
        return [
            "y", "yy", "ypp", "yxx", "l", "ll", "lex", "lpp", "lxx", "gperf", "rl", "re", "re2c", "proto", "thrift",
            "td",
            "tbl", "awk", "tmpl", "tpl", "template", "asn1", "asn", "idl", "pyx", "vala", "peg", "g4",
        ].contains(type)
    }

    private mutating func ignore(_ file: ChangedFile, _ why: String) {
        ignored.append(IgnoredFile(path: file.path, why: why))
    }

    private mutating func refuse(_ rule: Rule, _ file: ChangedFile, _ why: String, remedy: String? = nil) {
        refusals.append(Refusal(rule, subject: file.path, why: why, remedy: remedy))
    }

    private mutating func refuseGenerator(_ file: ChangedFile, _ place: String) {
        refuse(
            .unreadSource, file, "no unit reads it, but \(place) names it: source may be generated from it")
    }
}
