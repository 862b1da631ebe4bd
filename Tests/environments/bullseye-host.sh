#!/bin/bash
# Puts livepatch, the call server, its load and its patch, all made on this machine, into a system that has nothing of ours.
# Usage: bullseye-host.sh SYSTEM
source "$(dirname "${BASH_SOURCE[0]}")/../../Examples/common.sh"
system=$1
need_tools
mkdir -p "$system/src"
cp "$root"/Examples/callserver/* "$scratch"
cd "$scratch"
# Linked statically, since the C library of this machine is newer than the system's.
patchbuild record -o compile_commands.json -- make --no-print-directory LDLIBS="-static -pthread"
patchbuild build --source . --compile-commands compile_commands.json --diff fix.diff --target callserver -o fix.lpatch
cp callserver load fix.lpatch "${LIVEPATCH:-$tools/livepatch}" "$system/src"
cat >"$system/src/try-livepatch" <<'END'
#!/bin/sh
cd "$(dirname "$0")" || exit
./livepatch --help >/dev/null || exit
./callserver 0 8 >server.log & server=$!
sleep 1
port=$(sed -n 's/.*127.0.0.1://p' server.log)
ask() { ./load "$port" probe | sed 's/ [0-9]* / /'; }
echo "before:  $(ask)"
./livepatch apply fix.lpatch --pid $server --allow-unsigned && echo "patched: $(ask)" && ./livepatch status --pid $server &&
    ./livepatch revert fix.lpatch --pid $server && echo "after:   $(ask)"
status=$?
kill $server
exit $status
END
chmod +x "$system/src/try-livepatch"
