/// Rules about the input of a build.
let explanationsOfSources: [(rule: Rule, text: RuleExplanation)] = [
    (
        .diffDoesNotApply,
        RuleExplanation(
            "A hunk of the diff does not find its lines. The source is not the one that the diff is for, or an earlier diff of a series is missing.",
            example: "patchbuild build --source redis-7.0.15 --diff fix-for-7.2.patch …",
            remedy: "give the diff against the very source the target was built from (it applies with -p1)",
            wayOut:
                "Give the source that the target was built from, and every diff in its order, each with --diff. Diffs apply with -p1."
        )
    ),
    (
        .unreadSource,
        RuleExplanation(
            "A touched file is neither source, nor header, nor documentation, and nobody knows what the build makes of it: a grammar, a template, a build script. Or it is a source or header that no unit reads. What it changes would be lost.",
            example: "--- a/src/parser.y        // bison makes parser.c of it, in the build",
            remedy:
                "record a clean build with `patchbuild record -- BUILD-COMMAND`, or give a rebuilt tree with --new-source",
            wayOut:
                "Record a clean build (`patchbuild record -- make`): the record tells what was made of the file. Or build a second tree with the change in it, record that too, and give it with --new-source."
        )
    ),
    (
        .sourceAndGenerator,
        RuleExplanation(
            "A touched file is read by units and by a generator as well, or new code needs a generated file. Compiling the units alone would leave what the generator made as it was.",
            example: "--- a/commands.def        // included by server.c, and read by a script that makes help.h",
            remedy:
                "record a clean build with `patchbuild record -- BUILD-COMMAND`, or give a rebuilt tree with --new-source",
            wayOut:
                "Record a clean build (`patchbuild record -- make`): the record tells what was made of the file. Or build a second tree with the change in it, record that too, and give it with --new-source."
        )
    ),
    (
        .noCompileCommand,
        RuleExplanation(
            "No recorded command compiles a unit that the change reaches: a new or removed source, or a unit of the target that may read a changed macro or type. Or a touched file decides which commands there are, such as a makefile.",
            example: """
                --- /dev/null
                +++ b/src/limits.c        // which flags, and which program is it linked into?
                """,
            remedy: "record the whole build with `patchbuild record -- BUILD-COMMAND`",
            wayOut:
                "Record the whole build (`patchbuild record -- make clean all`). For a new source, record the build of a second tree with the change and give it with --new-source, or put the new functions into a known unit."
        )
    ),
    (
        .compileFailed,
        RuleExplanation(
            "The recorded command fails, for the original or for the changed source, and the target may hold the unit (its debug information tells). The compiler's message is in the reason.",
            example: "src/a.c:12: error: unknown type name 'quota_t'",
            remedy: "read the compiler's message; the recorded command must still work in this tree",
            wayOut:
                "Make the tree as it was when the build was recorded: generated headers, installed packages, the compiler."
        )
    ),
    (
        .packageSource,
        RuleExplanation(
            "`patchbuild package` can't have what it takes: the package, its source or its build dependencies. The archive keeps old versions for a short time only.",
            example:
                "patchbuild package redis-server=5:7.0.11-1      // the archive has 5:7.0.15-1~deb12u7 and later ones",
            remedy: "add a package source that has the version (a snapshot of the archive)",
            wayOut:
                "Add a package source that has the version, such as a snapshot of the archive, to those of the machine. Let root install what is missing for the build; the refusal has the command."
        )
    ),
]

let explanationsOfTargets: [(rule: Rule, text: RuleExplanation)] = [
    (
        .badInput,
        RuleExplanation(
            "A file is not what it should be: not an ELF file of x86-64, damaged, or of another tree.",
            example: "patchbuild build --target /usr/bin/ldd …          // a shell script",
            remedy: "check the file",
            wayOut: "Check the file that the message names.")
    ),
    (
        .stripped,
        RuleExplanation(
            "The target has no symbol table, so that its functions can't be found by name.",
            example: "patchbuild build --target /usr/sbin/nginx …       // a stock file",
            remedy: "give --symbols: the unstripped ELF of the same build (a rebuild or a -dbgsym package)",
            wayOut: "Give --symbols: the unstripped ELF of a rebuild, or the package's -dbgsym file.")
    ),
    (
        .unmatchedFunction,
        RuleExplanation(
            "A function that the patch relies on, compiled again by the recorded command, is not what the target has, byte for byte. With another compiler, flag or source everything else would be guesswork. Or the target has code beside a unit's functions that the rebuild lacks, which may hold a copy of what changes.",
            example: "the target was built with -O3, the recorded command says -O2",
            remedy: "use the compiler, flags and source that the target was built with",
            wayOut:
                "Build with the compiler, flags and source of the target: for a distribution's package, its own build in the release's own environment."
        )
    ),
    (
        .unresolvedSymbol,
        RuleExplanation(
            "New code uses a name that neither the target, nor the patch, nor a library that the target needs defines; or a definition whose address nothing tells.",
            example: "+compress2(out, &size, in, length, 9);           // the program does not need libz",
            remedy: "record the whole build, so that the unit that defines the symbol is known",
            wayOut: "Use what is there, or record the whole build so that the defining unit is known.")
    ),
    (
        .ambiguousSymbol,
        RuleExplanation(
            "Several definitions bear the name and nothing tells which one is meant: static variables of one name in a function that changes, or a global that moves to another unit while the target keeps the old one.",
            example: """
                 { static int n; n++; }
                 { static int n; n--; }                       // two of them, and the function changes
                """,
            remedy: "record the whole build, so that the symbol can be told apart by match",
            wayOut: "Give the new one another name; leave definitions in the unit where they were.")
    ),
    (
        .ltoObject,
        RuleExplanation(
            "With -flto an object holds no machine code: it is made at the link, mixed with that of other units.",
            example: "gcc -O2 -flto -c a.c",
            remedy: "build the target without -flto; machine code does not exist before its link",
            wayOut: "Build the target without -flto.")
    ),
    (
        .nothingToPatch,
        RuleExplanation(
            "The compiled code and data are as before.",
            example: "-/* returns -1 on error */   +/* returns a negative number on error */",
            remedy: "nothing to do: the compiled code does not change",
            wayOut: "Nothing is to be done; if you expected a change, look at #if and at which units are compiled.")
    ),
]

let explanationsOfBundles: [(rule: Rule, text: RuleExplanation)] = [
    (
        .badBundle,
        RuleExplanation(
            "The bundle is damaged, or not made by patchbuild: its members, their digests or its manifest contradict each other.",
            example: "a download that broke off, an archive packed again with tar",
            remedy: "fetch the bundle again",
            wayOut: "Fetch the bundle again; `patchbuild show` reads it without applying it.")
    ),
    (
        .formatVersion,
        RuleExplanation(
            "The bundle has a format that this version does not know.",
            example: "a bundle of patchbuild 2, livepatch 1",
            remedy: "use the livepatch that belongs to the patchbuild that made the bundle",
            wayOut: "Use the livepatch that belongs to the patchbuild that made the bundle.")
    ),
    (
        .notReproduced,
        RuleExplanation(
            "A rebuild from the source and the diffs gives other bytes than the bundle has. Either something that goes into the build is not what it was, which the message then names, or the bundle is not what its diff makes.",
            example:
                "patchbuild verify fix.lpatch --rebuild --source . --diff fix.diff --target ./server   # with another gcc",
            remedy: "don't sign it; ask who built it for its source, diffs, targets and tools, and rebuild with those",
            wayOut:
                "Use the source, diffs, target files, compiler, linker and patchbuild that the manifest's provenance names (`patchbuild show fix.lpatch`). Where all of these are the same and a module still differs, don't sign the bundle."
        )
    ),
]
