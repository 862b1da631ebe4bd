# For examples on packages of the distribution: fetches a pair of versions from the archive that the machine itself
# uses, without touching its package sources. Sourced after common.sh; sets $work.

# Ends with "skipped" unless this is the distribution that the sources belong to.
need_sources_of() {
    # shellcheck disable=SC1091
    [ "$(. /etc/os-release && echo "${ID:-} ${VERSION_CODENAME:-}")" = "debian $1" ] || skip "this is not Debian $1"
    codename=$1
    need_packages ca-certificates dpkg-dev fakeroot
}

# Or where no process can be patched.
need_debian() {
    need_patchable
    need_sources_of "$1"
}

# Or where a build can't be repeated: that takes an overlay over the source tree, in a mount namespace.
need_private_view() {
    local options
    for options in "--mount" "--user --map-root-user --mount"; do
        # shellcheck disable=SC2086
        ! unshare $options sh -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b /mnt/c /mnt/d &&
            mount -t overlay overlay -o lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c /mnt/d' 2>/dev/null || return 0
    done
    skip "no mount namespace with an overlay can be made here, in which the build is repeated"
}

# Writes to $work/apt the machine's own sources of the distribution, with source packages enabled, and sets apt_options.
private_apt() {
    local file
    rm -rf "$work/apt/sources"
    mkdir -p "$work/apt/sources" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] && awk -v codename="$codename" 'BEGIN { RS = ""; ORS = "\n\n"; FS = "\n" }
            {
                kept = ours = 0
                for (i = 1; i <= NF; i++) {
                    if ($i ~ "^Types:.*[ \t]deb([ \t]|$)") { $i = "Types: deb deb-src"; kept = 1 }
                    if ($i ~ "^Suites:.*[ \t]" codename "(-[a-z-]*)?([ \t]|$)") ours = 1
                }
                text = ""
                for (i = 1; i <= NF; i++) text = text (i > 1 ? "\n" : "") $i
                if (kept && ours) print text
            }' "$file" >"$work/apt/sources/$(basename "$file")"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] && awk -v codename="$codename" '$1 == "deb" {
                for (i = 2; i <= NF; i++) if ($i == codename || index($i, codename "-") == 1) {
                    print; sub(/^deb/, "deb-src"); print; break
                }
            }' "$file" >"$work/apt/sources/$(basename "$file" .list).list"
    done
    apt_options=(-q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/apt/sources"
        -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=root)
}

# in_archive KIND VERSION NAME: the archive has that version of a package; KIND is Sources or Packages.
in_archive() {
    apt-cache "${apt_options[@]}" madison "$3" |
        awk -F ' *[|] *' -v version="$2" -v kind="$1" '$2 == version && $3 ~ kind "$" {found = 1} END {exit !found}'
}

# oldest_from VERSION SOURCE: prints the oldest version of a source that the archive has from this one on. What an update
# adds to the series of patches stays in the later ones.
oldest_from() {
    local version
    for version in $(apt-cache "${apt_options[@]}" madison "$2" | awk -F ' *[|] *' '$3 ~ /Sources$/ {print $2}' | sort -Vu); do
        if dpkg --compare-versions "$version" ge "$1"; then echo "$version" && return; fi
    done
}

# need_pair SOURCE OLD NEW BINARY...: the archive has both versions of the source and of each binary package. Sets $new to
# a later one where the archive has that in its place.
need_pair() {
    local source=$1 old=$2 name version
    private_apt
    say "looking for $source $old and $3, or later, in the archive"
    quietly apt-get "${apt_options[@]}" update || skip "the package archive can't be reached"
    new=$(oldest_from "$3" "$source")
    [ -n "$new" ] || skip "the archive no longer has the source of $source $3, or a later one"
    [ "$new" = "$3" ] || say "the archive has $new in the place of $3"
    shift 3
    for version in "$old" "$new"; do
        in_archive Sources "$version" "$source" || skip "the archive no longer has the source of $source $version"
        for name; do
            in_archive Packages "$version" "$name" || skip "the archive no longer has $name $version"
        done
    done
}

# need_binaries VERSION NAME...: the archive has that version of the binary packages.
need_binaries() {
    local version=$1 name
    shift
    private_apt
    say "looking for $1 $version in the archive"
    quietly apt-get "${apt_options[@]}" update || skip "the package archive can't be reached"
    for name; do in_archive Packages "$version" "$name" || skip "the archive no longer has $name $version"; done
}

# unpack_binaries DIRECTORY VERSION NAME...: the official packages, unpacked, not installed.
unpack_binaries() {
    local directory=$1 version=$2 name
    shift 2
    [ -f "$directory/.done" ] && [ "$(cat "$directory/.done")" = "$version" ] && return 0
    rm -rf "$directory" "$directory.deb"
    mkdir -p "$directory" "$directory.deb"
    for name; do
        (cd "$directory.deb" && quietly apt-get "${apt_options[@]}" download "$name=$version") ||
            skip "the archive lists $name $version, but did not give it"
    done
    for name in "$directory.deb"/*.deb; do dpkg -x "$name" "$directory"; done
    echo "$version" >"$directory/.done"
}

# refused_package RULE NAME=VERSION: `patchbuild package` refuses, by that rule.
refused_package() {
    local status=0
    say "patchbuild package $2: refused"
    patchbuild package "$2" -o "$work" --json >"$scratch/package.json" || status=$?
    [ "$status" = 1 ] || die "expected a refusal, got status $status"
    if grep -q '"package-source"' "$scratch/package.json"; then skip "the archive does not give what this needs: $2"; fi
    grep -q "\"$1\"" "$scratch/package.json" || die "expected the rule $1"
}

# package_bundle NAME=VERSION [OPTION...]: sets $bundle to the patch that `patchbuild package` makes in $work; what it printed
# is in $scratch/package.json.
package_bundle() {
    local status=0
    say "patchbuild package $*"
    time patchbuild package "$@" -o "$work" --json >"$scratch/package.json" || status=$?
    if [ "$status" = 1 ] && grep -q '"package-source"' "$scratch/package.json"; then
        skip "the archive does not give what this needs: $1"
    fi
    [ "$status" = 0 ] || die "patchbuild package: status $status"
    bundle=$(sed -n 's/^  "bundle" : "\(.*\)",$/\1/p' "$scratch/package.json")
    show_functions "$bundle"
}

# patch_live BUNDLE FILE-NAME PID...: applies to all of the processes, runs the function while_patched if there is one,
# takes the patch back, and checks that the code changed and is again what it was, to the last byte.
patch_live() {
    local bundle=$1 name=$2 pid pids=() before=() count=0
    shift 2
    for pid; do
        pids+=(--pid "$pid")
        before+=("$(text_digest "$pid" "$name")")
    done
    sign_bundle "$bundle"
    livepatch apply "$bundle" "${pids[@]}" --allowed-signers "$signers" --json >"$scratch/apply.json"
    echo "patched; stopped for $(grep -o '"stopMicroseconds" *: *[0-9.]*' "$scratch/apply.json" | sed 's/.*: *//' |
        paste -sd, | sed 's/,/, /g') microseconds"
    livepatch status "${pids[@]}"
    for pid; do
        [ "$(text_digest "$pid" "$name")" != "${before[count]}" ] || die "the code of $pid did not change"
        count=$((count + 1))
    done
    if declare -F while_patched >/dev/null; then while_patched; fi
    sleep 2
    livepatch revert "$bundle" "${pids[@]}"
    count=0
    for pid; do
        [ "$(text_digest "$pid" "$name")" = "${before[count]}" ] || die "the code of $pid is not as it was"
        count=$((count + 1))
    done
    echo "reverted; every byte of the code is as it was"
    sleep 1
}

# free_port: prints a TCP port of this machine that nobody listens on; PORT names the first to try.
free_port() {
    local port=${PORT:-$((20000 + RANDOM % 10000))}
    while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}
