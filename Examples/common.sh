# What the examples and Tests/run share: packages, the tools, processes that never outlive the script.
# Sourced by bash scripts; needs nothing but base and Swift.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
skipped=77 # exit status: what this example needs is not there, and the last line says what
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# Servers change to users of their own, and must be able to read what is made for them.
umask 022

say() { printf '\n== %s\n' "$*"; }
die() { printf 'failed: %s\n' "$*" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*"; exit "$skipped"; }

# HOME may be unset (cron, containers), and its directory may be missing or not ours; Swift and git write there.
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
if [ ! -w "${HOME:-/nonexistent}" ]; then
    HOME=$root/.build/home
    mkdir -p "$HOME" 2>/dev/null || die "neither the home directory nor $root can be written"
fi
export HOME
cache=${XDG_CACHE_HOME:-$HOME/.cache}/patchbuild

# is_roomy DIRECTORY MEGABYTES: files can be made there and run as programs, and there is that much room.
is_roomy() {
    local probe free
    mkdir -p "$1" 2>/dev/null && probe=$(mktemp "$1/.probe.XXXXXX" 2>/dev/null) || return 1
    printf '#!/bin/sh\n' >"$probe" && chmod +x "$probe"
    if ! "$probe" 2>/dev/null; then
        rm -f "$probe"
        return 1
    fi
    rm -f "$probe"
    free=$(df -Pm "$1" | awk 'NR == 2 {print $4}')
    [ "$free" -ge "$2" ]
}

# choose_temporary MEGABYTES: sets TMPDIR to a directory for temporary files and programs, and says which where it is not the
# usual one: /tmp may be small, or mounted so that no program in it can run.
choose_temporary() {
    local usual=${TMPDIR:-/tmp} directory
    for directory in "$usual" /tmp /var/tmp "$cache/tmp" "$root/.build/tmp"; do
        if is_roomy "$directory" "$1"; then
            [ "$directory" = "$usual" ] ||
                say "temporary files go to $directory: $usual has less than $1 MB free, or no program in it may run"
            export TMPDIR=$directory
            return 0
        fi
    done
    die "no directory for temporary files has $1 MB free and lets programs run; make one and name it in TMPDIR"
}

# True where this user can act as root, by sudo too (which may ask for a password on a terminal).
can_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || { [ -t 2 ] && sudo true; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; fi
}

# Runs a command and shows its output only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" != 0 ]; then tail -n 40 "$log" >&2; fi
    rm -f "$log"
    return "$status"
}

# apt_get ARGUMENT...: waits up to ten minutes while another apt is at work; apt itself waits for one of its three locks only.
apt_get() {
    local tries=120 log=$scratch/apt.log
    until as_root apt-get -q -o DPkg::Lock::Timeout=600 "$@" >"$log" 2>&1 </dev/null; do
        if [ "$tries" = 0 ] || ! grep -qE 'Could not get lock|Unable to lock' "$log"; then
            tail -n 40 "$log" >&2
            return 1
        fi
        [ "$tries" != 120 ] || say "another apt is at work: waiting for it"
        tries=$((tries - 1))
        sleep 5
    done
}

# missing_of NAME...: sets $missing to those packages that are not installed.
missing_of() {
    local name
    missing=()
    for name; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
}

# need_packages NAME...: installs those that are missing.
need_packages() {
    command -v dpkg-query >/dev/null ||
        die "this is not Debian or a relative of it; install what these packages hold: $*; then see Documentation/installing.md"
    missing_of "$@"
    [ ${#missing[@]} = 0 ] && return 0
    can_be_root || die "packages are missing, and only root can install them: apt-get install -y ${missing[*]}"
    say "installing ${missing[*]}"
    # Package lists may be missing or old; only a second try proves that a package is not there.
    apt_get install -y --no-install-recommends "${missing[@]}" 2>/dev/null && return 0
    apt_get update || die "apt-get update does not reach the package archive, and these packages are missing: ${missing[*]}"
    apt_get install -y --no-install-recommends "${missing[@]}" || die "apt-get does not install ${missing[*]}"
}

# want_packages NAME...: installs those that are missing and can be had; says which can't. Only tests may do without.
want_packages() {
    local name without=()
    missing_of "$@"
    [ ${#missing[@]} = 0 ] && return 0
    if ! can_be_root; then
        say "not installed, so the tests that need them are skipped (root installs them by: apt-get install ${missing[*]})"
        return 0
    fi
    [ -n "$(apt-cache madison gcc 2>/dev/null)" ] || apt_get update || true
    for name in "${missing[@]}"; do
        [ -n "$(apt-cache madison "$name" 2>/dev/null)" ] || without+=("$name")
    done
    if [ ${#without[@]} != 0 ]; then
        say "the archive does not have ${without[*]}: the tests that need them are skipped"
        mapfile -t missing < <(printf '%s\n' "${missing[@]}" | grep -vxF "$(printf '%s\n' "${without[@]}")" || true)
    fi
    [ ${#missing[@]} = 0 ] && return 0
    (need_packages "${missing[@]}") || say "not installed, so the tests that need them are skipped: ${missing[*]}"
}

# The libraries patchbuild reads objects and instructions with, what builds and records a C program, and what signs.
build_packages="libelf-dev libdw-dev binutils-dev libzydis-dev binutils strace gcc g++ libc6-dev make patch openssh-client util-linux"

# Swift from an archive comes without the libraries it needs.
swift_packages() {
    echo git ca-certificates
    swift build --version >/dev/null 2>&1 || echo libcurl4 libxml2 libncurses6 libsqlite3-0
}

# need_everything [swift]: what building a patch takes, and with `swift` what building this package takes; all that is missing
# is installed, or named, at once.
need_everything() {
    [ "${1:-}" != swift ] || command -v swift >/dev/null || die "no swift in PATH: install Swift 6.2 or later from swift.org"
    # shellcheck disable=SC2046,SC2086
    need_packages $build_packages $([ "${1:-}" != swift ] || swift_packages)
    [ "${1:-}" = swift ] || return 0
    swift build --version >/dev/null || die "swift does not run (above): install what swift.org lists for this distribution"
    is_roomy "$root/.build" 500 ||
        die "can't build in $root: it can't be written, or is full, or no program in it may run; clone it elsewhere"
}

# swift_jobs: prints how many compilers fit into processors and memory; each takes up to 2 GB.
swift_jobs() {
    local file memory limit
    memory=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
    # A container's limit is lower than what the machine has.
    for file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
        limit=$(cat "$file" 2>/dev/null || echo max)
        [ "$limit" = max ] || [ "$((limit / 1048576))" -ge "$memory" ] || memory=$((limit / 1048576))
    done
    echo $((memory / 2048 < 1 ? 1 : memory / 2048 < $(nproc) ? memory / 2048 : $(nproc)))
}

# SwiftPM (6.3) does not compile a module again where only the layout of something that it imports by way of another has
# changed; the program then crashes. After a change of the sources these are compiled anew, whatever SwiftPM thinks.
forget_stale() {
    local sum stamp=$root/.build/.sources
    sum=$(find "$root/Sources" -name '*.swift' -exec cksum {} + | sort | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] ||
        rm -f "$root"/.build/*/*/{livepatch,patchbuild,PatchApplying}.build/*.{o,swiftdeps,priors}
    echo "$sum" >"$stamp"
}

# swift_build ARGUMENT...: in this package, without asking anything.
swift_build() {
    forget_stale
    swift build --package-path "$root" -j "$(swift_jobs)" "$@" </dev/null
}

# Sets $tools to the directory of patchbuild and livepatch; builds them unless PATCHBUILD_TOOLS names one.
need_tools() {
    if [ -n "${PATCHBUILD_TOOLS:-}" ]; then
        need_everything
        tools=$PATCHBUILD_TOOLS
    else
        need_everything swift
        say "building patchbuild and livepatch"
        local product
        for product in patchbuild livepatch; do
            swift_build -c release --static-swift-stdlib --product "$product"
        done
        tools=$(swift build --package-path "$root" -c release --static-swift-stdlib --show-bin-path </dev/null)
    fi
    [ -x "$tools/patchbuild" ] && [ -x "$tools/livepatch" ] || die "no patchbuild and livepatch in $tools"
}

# Sets $static_livepatch to livepatch as one static file; builds it unless PATCHBUILD_STATIC_LIVEPATCH names one.
need_static_livepatch() {
    static_livepatch=${PATCHBUILD_STATIC_LIVEPATCH:-}
    if [ -z "$static_livepatch" ]; then
        need_everything swift
        say "building the static livepatch"
        static_livepatch=$root/.build/static/livepatch
        "$root/Sources/Static/livepatch" -o "$static_livepatch"
    fi
    [ -x "$static_livepatch" ] || die "no static livepatch at $static_livepatch"
}

patchbuild() { "$tools/patchbuild" "$@"; }
show_functions() { patchbuild show "$1" | sed '/^  new data,/,$d; /^  bound to:/,$d'; }

# sign_bundle FILE: signs it with a key that ends with the script, and sets $signers to a file that says whose it is. A host
# has such a file as /etc/livepatch/allowed_signers, which an example leaves alone.
sign_bundle() {
    signers=$scratch/allowed_signers
    [ -f "$scratch/key" ] || ssh-keygen -q -t ed25519 -N '' -C 'throw-away key' -f "$scratch/key"
    echo "release@example.org $(cat "$scratch/key.pub")" >"$signers"
    patchbuild sign "$1" --key "$scratch/key"
}

# The kernel may let only root look into processes that are not its own children (Yama).
yama=$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)
privileged() {
    if [ "$yama" = 0 ]; then "$@"; else as_root "$@"; fi
}
livepatch() { privileged "$tools/livepatch" "$@"; }

# Ends as skipped where the machine lets nobody patch a process.
need_patchable() {
    if ! grep -q '^Seccomp:[[:space:]]*0' /proc/self/status; then
        skip "in this container livepatch may not see the seccomp filters of processes, and changes none without: start it" \
            "with --security-opt seccomp=unconfined, or run livepatch on the host"
    fi
    [ "$yama" = 0 ] || can_be_root ||
        skip "this kernel (Yama) lets only root patch processes: let root run sysctl kernel.yama.ptrace_scope=0, or have sudo"
}

# start LOG COMMAND...: runs it in the background until the script ends; sets $started to its process id.
background=()
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    started=$!
    background+=("$started")
}
stop_all() {
    local pid
    for pid in ${background[@]+"${background[@]}"}; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    [ -z "${scratch:-}" ] || rm -rf --one-file-system "$scratch"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
choose_temporary "${temporary_megabytes:-300}"
scratch=$(mktemp -d)

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || die "waited too long for: $*"
        sleep 0.05
    done
}

# text_digest PID FILE-NAME: digest of the code of every mapped file of that name, as it is in the process's memory.
text_digest() {
    local range start end
    while read -r range; do
        start=$((16#${range%-*})) end=$((16#${range#*-}))
        privileged dd if="/proc/$1/mem" bs=4096 skip=$((start / 4096)) count=$(((end - start) / 4096)) 2>/dev/null
    done < <(awk -v name="/$2" '$2 == "r-xp" && substr($6, length($6) - length(name) + 1) == name {print $1}' \
        "/proc/$1/maps") | sha256sum | cut -d' ' -f1
}

# number NAME < JSON: the first number of that name.
number() { grep -o "\"$1\" *: *[0-9.]*" | head -n 1 | sed 's/.*: *//'; }
