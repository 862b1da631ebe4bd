"""A short corpus from the distribution's own archive: packages whose source carries the fix in debian/patches.

The vulnerable tree is the source with the patches that come before the fix; nothing but the archive is needed.
"""
import shlex, shutil, subprocess
from pathlib import Path

from corpuslib.common import Missing, Wrong, run

EXAMPLES = Path(__file__).resolve().parents[2] / "Examples"
CODENAME = "bookworm"
GIFLIB = {"package": "giflib", "source": "giflib", "lang": "C", "build_deps": "gcc make patch", "targets": ["libgif.so"],
          "build": 'rm -f libgif.so libgif.so.7\nmake -s OFLAGS="${CFLAGS:--g -O2}" libgif.so\n', "series_before": [], "oracle": None}
LESS = {"package": "less", "source": "less", "lang": "C", "build_deps": "gcc make patch libncurses-dev", "targets": ["less"],
        "build": '[ -f config.status ] || CFLAGS="${CFLAGS:--g -O2}" ./configure -q\nmake -s -j${JOBS:-1} less\n', "series_before": [],
        "oracle": None}
# An extension block that is too short for what shall be written into it: accepted (1), or refused (0).
SHORT_BLOCK = r"""
#include <gif_lib.h>
#include <stdio.h>
int main(void) {
    static GifByteType room[16];
    ExtensionBlock block = {2, room, GRAPHICS_EXT_FUNC_CODE};
    SavedImage image = {.ExtensionBlockCount = 1, .ExtensionBlocks = &block};
    GifFileType file = {.ImageCount = 1, .SavedImages = &image};
    GraphicsControlBlock control = {0};
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        printf("%d\n", EGifGCBToSavedExtension(&control, &file, 0));
        fflush(stdout);
    }
}
"""


def case(base, identity, patch, functions, classes=(), **more):
    holds = {name: True for name in ("code_only", *classes)}
    return {**base, "id": identity, "patch": patch, "classes": holds, "expected_changed": {"": functions}, **more}


CASES = [
    case(GIFLIB, "giflib-CVE-2026-23868", "CVE-2026-23868.patch", ["GifMakeSavedImage"]),
    case(GIFLIB, "giflib-CVE-2026-26740", "CVE-2026-26740.patch", ["EGifGCBToSavedExtension"], oracle={
        "kind": "host", "setup": f"cat > host.c <<'END'\n{SHORT_BLOCK}END\n"
                                 'gcc "-I$B" host.c -o host "$B/libgif.so" "-Wl,-rpath,$B"',
        "serve": "exec ./host", "vulnerable": r"\A1$", "fixed": r"\A0$"}),
    case(LESS, "less-CVE-2022-48624", "Shell-quote-filenames-when-invoking-LESSCLOSE.patch", ["close_altfile"]),
    case(LESS, "less-CVE-2024-32487", "Fix-bug-when-viewing-a-file-whose-name-contains-a-ne.patch", ["shell_quote"],
         classes=["static_function"]),
]


def fetch(work):
    """Downloads the sources that are not there yet.
    - Raises: Missing, with the reason, where the archive can't give them."""
    directory = work / "archive"
    directory.mkdir(parents=True, exist_ok=True)
    names = sorted({case["source"] for case in CASES if not list(directory.glob(f"{case['source']}_*.dsc"))})
    if not names:
        return
    common, debian = (shlex.quote(str(EXAMPLES / name)) for name in ("common.sh", "debian.sh"))
    script = f"""
        source {common} && source {debian} && work=$PWD && need_sources_of {CODENAME} && private_apt
        quietly apt-get "${{apt_options[@]}}" update || skip "the package archive can't be reached"
        for name; do
            quietly apt-get "${{apt_options[@]}}" source --download-only "$name" || skip "the archive does not give $name"
        done"""
    done = subprocess.run(["bash", "-c", script, "bash", *names], cwd=directory, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace")
    if done.returncode == 77:
        raise Missing(done.stdout.strip().split("\n")[-1].removeprefix("skipped: "))
    if done.returncode:
        raise Wrong(f"fetching sources: {done.stdout[-300:]}")


def prepare(case, work, scratch):
    """Lays down scratch/orig, fix.patch and build.sh, as the corpus' own prepare.sh does."""
    description = sorted((work / "archive").glob(f"{case['source']}_*.dsc"))[-1]
    scratch.mkdir(parents=True)
    tree = scratch / "orig"
    run(["dpkg-source", "--no-check", "--skip-patches", "-x", description, tree])
    series = [line.split()[0] for line in (tree / "debian/patches/series").read_text().splitlines()
              if line.strip() and not line.startswith("#")]
    if case["patch"] not in series:
        raise Missing(f"{description.name} has no {case['patch']} any more")
    for name in series[:series.index(case["patch"])]:
        run(["patch", "-p1", "-s", "-f", "-d", tree, "-i", tree / "debian/patches" / name])
    for rubbish in list(tree.rglob("*.orig")) + list(tree.rglob("*.rej")):
        rubbish.unlink()
    shutil.copy(tree / "debian/patches" / case["patch"], scratch / "fix.patch")
    (scratch / "build.sh").write_text("set -e\n" + case["build"])
