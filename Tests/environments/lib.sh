# Makes machines to try the two commands on: a fresh system from the archive in a directory, entered by chroot within
# namespaces of its own, so that no mount and no process of it outlives the command. Sourced by run, as root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
store=${PATCHBUILD_ENVIRONMENTS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/patchbuild/environments}

say() { printf '\n== %s\n' "$*"; }
die() { printf 'failed: %s\n' "$*" >&2; exit 1; }

# archive_lines SUITE: this machine's own sources of the distribution, for another of its releases.
archive_lines() {
    local codename
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' | sort -u |
        awk -v codename="$codename" -v suite="$1" '$3 == "main" && ($2 == codename || index($2, codename "-") == 1) {
            sub("^" codename, suite, $2); print "deb", $1, $2, "main"
        }'
}

# base SUITE: makes, once, a minimal system of that release below $store, and sets $base to it.
base() {
    local mirror
    base=$store/base-$1
    [ ! -f "$base/.done" ] || return 0
    mirror=$(archive_lines "$1" | awk -v suite="$1" '$3 == suite {print $2; exit}')
    [ -n "$mirror" ] || die "this machine's apt knows no archive to take $1 from"
    say "debootstrap $1"
    rm -rf "$base"
    mkdir -p "$base"
    unshare --mount debootstrap --variant=minbase "$1" "$base" "$mirror" >"$base.log" 2>&1 ||
        die "debootstrap $1 (see $base.log)"
    touch "$base/.done"
}

# system NAME SUITE: sets $system to a new copy of the release's minimal system that has this machine's way to the archive, to
# Swift and to the packages on git, and nothing else.
system() {
    base "$2"
    system=$store/$1
    if [ -n "${again:-}" ] && [ -d "$system" ]; then return 0; fi
    say "a new $2 in $system"
    rm -rf "$system"
    cp -a --reflink=auto "$base" "$system"
    archive_lines "$2" >"$system/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|ftp)::Proxy' >"$system/etc/apt/apt.conf.d/90proxy" || true
    cp -L /etc/resolv.conf "$system/etc/resolv.conf"
    git_configuration >"$system/etc/gitconfig"
    # What debootstrap leaves there is of this machine: a container by hand has none.
    rm -f "$system/etc/hosts"
}

# Where git finds what Package.swift names, said as this machine says it.
git_configuration() {
    printf '[safe]\n\tdirectory = *\n'
    git config --get-regexp '^url\..*\.insteadof$' | while read -r key value; do
        key=${key#url.}
        printf '[url "%s"]\n\tinsteadOf = %s\n' "${key%.insteadof}" "$value"
    done
}

# Prints the directories of this machine that the system sees at the same path, read-only: Swift, and what git takes packages from.
shared_directories() {
    if [ -z "${without_swift:-}" ]; then swift_directory; fi
    git config --get-regexp '^url\..*\.insteadof$' | sed 's/^url\.\(.*\)\.insteadof .*/\1/' | sort -u |
        while read -r place; do [ ! -d "$place" ] || realpath "$place"; done
}

swift_directory() {
    local swift
    swift=$(command -v swift) || die "no swift in PATH"
    dirname "$(dirname "$(readlink -f "$swift")")"
}

# enter USER COMMAND...: runs a command in $system as that user. Reads: container (`default`: with Docker's capabilities and system
# calls; `unconfined`: with its capabilities), offline (set: loopback only), temporary (mount options of /tmp), cores and megabytes (limits), variables (NAME=VALUE...).
enter() {
    local user=$1 namespaces=(--mount --pid --fork --kill-child) confine=()
    shift
    cc -O2 -static -o "$store/confine" "$here/confine.c"
    [ -z "${offline:-}" ] || { namespaces+=(--net) && confine+=(--loopback); }
    [ "${container:-}" != default ] || confine+=(--docker)
    (
        [ -z "${megabytes:-}" ] || limit_memory "$megabytes"
        exec unshare "${namespaces[@]}" env -i system="$system" temporary="${temporary:-}" container="${container:-}" user="$user" \
            cores="${cores:-}" store="$store" shared="$(shared_directories)" \
            bash "$here/inside.sh" "${confine[@]}" -- env -i PATH="$(path_inside)" "${variables[@]}" "$@"
    )
}

path_inside() {
    local directories=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    if [ -n "${without_swift:-}" ]; then echo "$directories"; else echo "$(swift_directory)/bin:$directories"; fi
}

# Puts this process under a limit, by whichever control groups the machine has.
limit_memory() {
    local group
    if [ -d /sys/fs/cgroup/memory ]; then
        group=/sys/fs/cgroup/memory/patchbuild-environment
        mkdir -p "$group"
        echo "$(($1 * 1048576))" >"$group/memory.limit_in_bytes"
    else
        group=/sys/fs/cgroup/patchbuild-environment
        mkdir -p "$group"
        echo "$(($1 * 1048576))" >"$group/memory.max"
    fi
    echo "$BASHPID" >"$group/cgroup.procs"
}

# install NAME...: packages that the machine is said to have.
install() {
    enter root apt-get -q update >"$system.log" 2>&1 || die "apt-get update (see $system.log)"
    enter root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@" >"$system.log" 2>&1 ||
        die "apt-get install $* (see $system.log)"
}

# add_user: an ordinary user of the system, called dev.
add_user() {
    grep -q '^dev:' "$system/etc/passwd" || chroot "$system" useradd --create-home --shell /bin/bash dev
}

# copy_repository DIRECTORY USER: the last commit of this repository, cloned there.
copy_repository() {
    local place=$system$1
    if [ -d "$place/.git" ]; then
        # It belongs to the user there, which git takes for a danger.
        local git=(git -c 'safe.directory=*' -C "$place")
        "${git[@]}" fetch -q "$root" HEAD && "${git[@]}" reset -q --hard FETCH_HEAD || die "no new commit in $place"
    else
        mkdir -p "$(dirname "$place")"
        git clone -q --no-hardlinks "$root" "$place" || die "no clone in $place"
    fi
    chroot "$system" chown -R "$2:" "$(dirname "$1")"
}

# hold_apt SECONDS: another apt is at work in the system, for so long.
hold_apt() {
    chroot "$system" perl -e '
        use Fcntl;
        for my $name (qw(/var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock)) {
            open my $file, ">>", $name or die; push @kept, $file;
            fcntl($file, F_SETLK, pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0)) or die "$name is held";
        }
        sleep shift' "$1" >/dev/null 2>&1 </dev/null &
}
