# What the examples and Tests/run share: packages, the tools, processes that never outlive the script.
# Sourced by bash scripts; needs nothing but base and Swift.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/patchbuild
skipped=77 # exit status: what this example needs is not there, and the last line says what
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

say() { printf '\n== %s\n' "$*"; }
die() { printf 'failed: %s\n' "$*" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*"; exit "$skipped"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo --preserve-env=DEBIAN_FRONTEND "$@"; fi
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

# need_packages NAME...: installs those that are missing.
need_packages() {
    local name missing=()
    for name; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${missing[*]}"
    # Package lists may be missing or old; only a second try proves that a package is not there.
    if ! quietly as_root apt-get install -y -q --no-install-recommends "${missing[@]}" 2>/dev/null; then
        quietly as_root apt-get update -q || die "apt-get update"
        quietly as_root apt-get install -y -q --no-install-recommends "${missing[@]}" || die "apt-get install"
    fi
}

# The libraries patchbuild reads objects and instructions with, and what builds and records a C program.
build_packages="libelf-dev libdw-dev binutils-dev libzydis-dev binutils bear gcc g++ libc6-dev make patch"

# Swift from an archive comes without the libraries it needs.
need_swift() {
    command -v swift >/dev/null || die "no swift in PATH: install Swift 6.2 or later from swift.org"
    swift build --version >/dev/null 2>&1 || need_packages libcurl4 libxml2 libncurses6 libsqlite3-0
    need_packages git ca-certificates
}

# Sets $tools to the directory of patchbuild and livepatch; builds them unless PATCHBUILD_TOOLS names one.
need_tools() {
    # shellcheck disable=SC2086
    need_packages $build_packages
    if [ -n "${PATCHBUILD_TOOLS:-}" ]; then
        tools=$PATCHBUILD_TOOLS
    else
        need_swift
        say "building patchbuild and livepatch"
        local product
        for product in patchbuild livepatch; do
            swift build --package-path "$root" -c release --static-swift-stdlib --product "$product" </dev/null
        done
        tools=$(swift build --package-path "$root" -c release --static-swift-stdlib --show-bin-path </dev/null)
    fi
    [ -x "$tools/patchbuild" ] && [ -x "$tools/livepatch" ] || die "no patchbuild and livepatch in $tools"
}

patchbuild() { "$tools/patchbuild" "$@"; }
show_functions() { patchbuild show "$1" | sed '/^  new data,/,$d; /^  bound to:/,$d'; }

# The kernel may let only root look into processes that are not its own children (Yama).
privileged() {
    if [ "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)" = 0 ]; then "$@"; else as_root "$@"; fi
}
livepatch() { privileged "$tools/livepatch" "$@"; }

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
    [ -z "${scratch:-}" ] || rm -rf "$scratch"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
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
