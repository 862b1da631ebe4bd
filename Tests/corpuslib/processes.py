"""Tries a case's bundles in running processes: its oracle where it has one, else an idle program."""
import os, re, shlex, signal, subprocess, tempfile, time
from pathlib import Path

from corpuslib.common import Busy, Skipped, Wrong, bundle_of, run

# How a program without an oracle is kept running, to apply and revert there: files to write, a command by target.
IDLE = {
    "nginx": ({"n.conf": "daemon off; pid n.pid; error_log e.log; events {} http { access_log off; server { "
                         "listen 127.0.0.1:18481; } }"},
              {"objs/nginx": "mkdir -p logs; exec $B/objs/nginx -p $PWD/ -c n.conf"}),
    "rsync": ({"r.conf": "use chroot = no\n"}, {"rsync": "exec $B/rsync --daemon --no-detach --config=r.conf --port=18482"}),
    "redis": ({}, {"src/redis-server": "exec $B/src/redis-server --port 0 --unixsocket s --save ''"}),
    "haproxy": ({"h.cfg": "defaults\n mode http\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n"
                          "frontend f\n bind 127.0.0.1:18483\n"}, {"haproxy": "exec $B/haproxy -db -f h.cfg"}),
    "unbound": ({"u.conf": "server:\n chroot: ''\n username: ''\n directory: '.'\n pidfile: ''\n use-syslog: no\n "
                           "interface: 127.0.0.1\n port: 18484\n trust-anchor-file: ''\nremote-control:\n control-enable: no\n"},
                {"unbound": "exec $B/unbound -d -c u.conf"}),
}
LOADER = """
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(int count, char **names) {
    for (int i = 1; i < count; i++)
        if (!dlopen(names[i], RTLD_NOW)) return fprintf(stderr, "%s\\n", dlerror()), 1;
    for (;;) pause();
}
"""
# Preloaded into a program that does not stay: holds the programs of the built tree at `main`, until they are patched.
HOLDER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef int Main(int, char **, char **);
static Main *program;
static int held(int count, char **arguments, char **environment) {
    char path[4096] = {0}, name[4200];
    const char *tree = getenv("HOLD_TREE"), *directory = getenv("HOLD_DIRECTORY");
    if (tree && directory && readlink("/proc/self/exe", path, sizeof path - 1) > 0 && !strncmp(path, tree, strlen(tree))) {
        snprintf(name, sizeof name, "%s/held.%d", directory, (int)getpid());
        close(open(name, O_CREAT | O_WRONLY, 0600));
        while (!access(name, F_OK)) usleep(5000);
    }
    return program(count, arguments, environment);
}
int __libc_start_main(Main *main, int count, char **arguments, void (*init)(void), void (*fini)(void), void (*ldso)(void),
                      void *stack) {
    int (*next)(Main *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *) =
        (void *)dlsym(RTLD_NEXT, "__libc_start_main");
    program = main;
    return next(held, count, arguments, init, fini, ldso, stack);
}
"""


class Running:
    """A program that runs until the end of `with`; commands see $B, the built tree."""

    def __init__(self, tools, directory, built, command, talks=False):
        self.tools, self.directory, self.command, self.talks = tools, directory, command, talks
        self.environment = {**os.environ, "B": str(built), "LC_ALL": "C.UTF-8"}

    def __enter__(self):
        log = open(Path(self.directory) / "serve.log", "w")
        # `exec`, so that the process is the program and not a shell.
        command = self.command if "exec " in self.command else "exec " + self.command
        self.process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.directory, env=self.environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE if self.talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.talks else log, stderr=log)
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def wait_ready(self, ready):
        deadline = time.monotonic() + 20
        while ready and self.shell(ready)[0]:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Wrong("the program does not start: " + self.log())
            time.sleep(0.1)
        time.sleep(0 if ready else 0.7)
        if self.process.poll() is not None:
            raise Skipped("the program does not stay: " + self.log())

    def log(self):
        return (Path(self.directory) / "serve.log").read_text(errors="replace")[-200:]

    def shell(self, script):
        return run(["bash", "-c", script], check=False, cwd=self.directory, env=self.environment, timeout=120)

    def answer(self, probe):
        """What the oracle's expressions are matched with."""
        if self.talks:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            return self.process.stdout.readline() + "exit=0"
        status, output = self.shell(probe)
        return f"{output}exit={status}"

    def livepatch(self, verb, bundle):
        livepatch(self.tools, verb, bundle, self.process.pid)

    def code(self, target):
        """The target's code as it is in memory."""
        with open(f"/proc/{self.process.pid}/maps") as maps, open(f"/proc/{self.process.pid}/mem", "rb") as memory:
            parts = []
            for line in maps:
                fields = line.split()
                if fields[1] == "r-xp" and os.path.realpath(fields[-1]) == target:
                    start, end = (int(x, 16) for x in fields[0].split("-"))
                    memory.seek(start)
                    parts.append(memory.read(end - start))
            return b"".join(parts)


def livepatch(tools, verb, bundle, pid):
    command = [tools / "livepatch", verb, bundle, "--pid", str(pid)] + (["--allow-unsigned"] if verb == "apply" else [])
    # Busy (3) is no fault of the patch: a call was in progress.
    for _ in range(5):
        status, output = run(command, check=False, timeout=60)
        if status != 3:
            break
        time.sleep(0.5)
    if status == 3:
        raise Busy(" ".join(output.split()[-12:]))
    if status:
        raise Wrong(f"livepatch {verb}: status {status}: {' '.join(output.split()[-40:])}")


def expect(answer, oracle, which, when):
    if not re.search(oracle[which], answer, re.M):
        raise Wrong(f"{when}: not {which}: {answer[-160:]!r}")


def try_server(tools, oracle, built, bundle, directory):
    program = Running(tools, directory, built, oracle["serve"], talks=oracle["kind"] == "host")
    if program.shell(oracle.get("setup") or "true")[0]:
        raise Wrong("the oracle's setup fails")
    # The vulnerable answer may be a crash, so each is asked of a process of its own first.
    with program:
        program.wait_ready(oracle.get("ready"))
        expect(program.answer(oracle.get("probe")), oracle, "vulnerable", "before")
    with program:
        program.wait_ready(oracle.get("ready"))
        program.livepatch("apply", bundle)
        expect(program.answer(oracle.get("probe")), oracle, "fixed", "applied")
        program.livepatch("revert", bundle)
        expect(program.answer(oracle.get("probe")), oracle, "vulnerable", "reverted")
    return "vulnerable, fixed, vulnerable"


def try_oneshot(tools, oracle, built, bundles, directory):
    """The program does not stay: each process of the tree is held at its `main`, patched there, and let go."""
    make_holder(directory)
    for which, patch in (("vulnerable", lambda pid: None), ("fixed", lambda pid: apply_mapped(tools, bundles, pid))):
        place = Path(directory) / which
        place.mkdir()
        environment = {**os.environ, "B": str(built), "LC_ALL": "C.UTF-8"}
        run(["bash", "-c", oracle.get("setup") or "true"], cwd=place, env=environment)
        environment |= {"LD_PRELOAD": f"{directory}/hold.so", "HOLD_TREE": f"{built}/", "HOLD_DIRECTORY": str(directory)}
        answer, patched = probe_held(oracle["probe"], place, environment, Path(directory), patch)
        expect(answer, oracle, which, "held at main" + (", applied" if which == "fixed" else ""))
        if which == "fixed" and not patched:
            raise Wrong("no process of the probe had the target mapped")
    return "vulnerable, fixed (at main)"


def make_holder(directory):
    (Path(directory) / "hold.c").write_text(HOLDER)
    run(["gcc", "-O1", "-shared", "-fPIC", "hold.c", "-o", "hold.so", "-ldl"], cwd=directory)


def probe_held(probe, place, environment, directory, patch):
    log = directory / "probe.log"
    with open(log, "w") as output:
        process = subprocess.Popen(["bash", "-c", probe], cwd=place, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    patched, deadline = 0, time.monotonic() + 120
    try:
        while process.poll() is None:
            for mark in directory.glob("held.*"):
                patched += bool(patch(int(mark.suffix[1:])))
                mark.unlink()
            if time.monotonic() > deadline:
                raise Wrong("the probe does not end")
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"{log.read_text(errors='replace')}exit={process.returncode}", patched


def apply_mapped(tools, bundles, pid):
    """Applies the bundles of the targets that the process maps; how many."""
    mapped = Path(f"/proc/{pid}/maps").read_text()
    chosen = [bundle for target, bundle in bundles.items() if f" {target}\n" in mapped]
    for bundle in chosen:
        livepatch(tools, "apply", bundle, pid)
    return len(chosen)


def try_idle(tools, case, built, target, bundle, directory):
    files, commands = IDLE.get(case["package"], ({}, {}))
    path = os.path.realpath(built / target)
    command = commands.get(target)
    if ".so" in target:
        (Path(directory) / "loader.c").write_text(LOADER)
        run(["gcc", "-O1", "loader.c", "-o", "loader", "-ldl"], cwd=directory)
        command = "exec ./loader " + shlex.quote(path)
    for name, text in files.items():
        (Path(directory) / name).write_text(text)
    with Running(tools, directory, built, command) as program:
        program.wait_ready(None)
        apply_and_revert(program, path, bundle)
    return "applied, reverted"


def apply_and_revert(program, path, bundle):
    before = program.code(path)
    program.livepatch("apply", bundle)
    if program.code(path) == before:
        raise Wrong("applied, but the code in memory is the same")
    program.livepatch("revert", bundle)
    if program.code(path) != before or program.process.poll() is not None:
        raise Wrong("reverted, but the code in memory is not as it was")


def staying(case):
    """The targets that can be kept running: libraries, and programs for which there is a way."""
    ways = IDLE.get(case["package"], ({}, {}))[1]
    return [target for target in case["targets"] if ".so" in target or target in ways]


def try_held(tools, built, target, bundle, directory):
    """A program that does not stay: held at its `main`, patched there and taken back, then ended."""
    path = os.path.realpath(built / target)
    make_holder(directory)
    command = f"exec env LD_PRELOAD={directory}/hold.so HOLD_TREE={built}/ HOLD_DIRECTORY={directory} {shlex.quote(path)}"
    with Running(tools, directory, built, command) as program:
        program.wait_ready(f"ls {directory}/held.*")
        apply_and_revert(program, path, bundle)
    return "applied, reverted"


def obstacle():
    """Why this machine lets no process be patched; empty where it does. The examples and the other tests ask the same."""
    if not re.search(r"^Seccomp:\s*0$", Path("/proc/self/status").read_text(), re.M):
        return "this is a container with a seccomp filter, from under which no process's filters can be read"
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    if os.geteuid() != 0 and yama.exists() and yama.read_text().strip() != "0":
        return "Yama (kernel.yama.ptrace_scope) lets only root look into processes that are not its children"
    return ""


def try_out(tools, case, built, scratch, idle_only):
    """What happened, in words; with `idle_only` the oracle is left out (it may have objects of a changed layout)."""
    if why := obstacle():
        raise Skipped(why)
    oracle = None if idle_only else case["oracle"]
    said = []
    if oracle:
        with tempfile.TemporaryDirectory() as directory:
            if oracle["kind"] == "oneshot":
                bundles = {os.path.realpath(built / target): bundle_of(scratch, target) for target in case["targets"]}
                said.append(try_oneshot(tools, oracle, built, bundles, directory))
            else:
                target = (staying(case) or case["targets"])[0]
                return try_server(tools, oracle, built, bundle_of(scratch, target), directory)
    idle, held = staying(case), [target for target in case["targets"] if target not in staying(case)]
    for target in idle + held:
        with tempfile.TemporaryDirectory() as directory:
            bundle = bundle_of(scratch, target)
            if target in idle:
                try_idle(tools, case, built, target, bundle, directory)
            else:
                try_held(tools, built, target, bundle, directory)
    count = f" ({len(idle + held)} programs)" if len(idle + held) > 1 else ""
    said.append("applied, reverted" + count if idle else "at main: applied, reverted" + count)
    return "; ".join(said)
