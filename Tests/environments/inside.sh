# The part of `enter` that runs in the new namespaces: mounts what a machine has, then becomes the command.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
mount --bind "$system" "$system"
# The whole of /dev would show the host's terminals and disks.
mount -t tmpfs -o mode=755 dev "$system/dev"
for name in null zero full random urandom tty; do
    : >"$system/dev/$name"
    mount --bind "/dev/$name" "$system/dev/$name"
done
mkdir "$system/dev/shm" "$system/dev/pts"
mount -t tmpfs -o mode=1777 shm "$system/dev/shm"
ln -s /proc/self/fd "$system/dev/fd"
mount -t proc proc "$system/proc"
mount --rbind /sys "$system/sys"
while read -r directory; do
    mkdir -p "$system$directory"
    mount --bind "$directory" "$system$directory"
    mount -o remount,bind,ro "$system$directory"
done <<<"$shared"
[ -z "$temporary" ] || mount -t tmpfs -o "mode=1777,$temporary" tmp "$system/tmp"
cp "$store/confine" "$system/usr/local/bin/confine"

confine=()
while [ "$1" != -- ]; do confine+=("$1") && shift; done
shift
become=()
if [ -n "$container" ]; then
    kept=chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,sys_chroot,kill,audit_write
    become=(setpriv --bounding-set "-all,+${kept//,/,+}" --inh-caps -all)
fi
if [ "$user" != root ]; then become=(setpriv --reuid "$user" --regid "$user" --init-groups --inh-caps -all); fi
[ -z "$cores" ] || taskset -p -c "0-$((cores - 1))" $$ >/dev/null
[ ${#become[@]} != 0 ] || become=(env)
exec chroot "$system" /usr/local/bin/confine "${confine[@]}" "${become[@]}" "$@"
