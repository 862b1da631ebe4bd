# Debian's own nginx with two security fixes: the bundle, and a server that runs. Sourced after common.sh and debian.sh by the
# examples that patch it.

# nginx_bundle: sets $target to the official nginx of the older version, and $bundle to the patch, built from the newer one's
# fixes.
nginx_bundle() {
    local old=1.22.1-9+deb12u9
    new=1.22.1-9+deb12u10
    need_pair nginx "$old" "$new" nginx
    unpack_binaries "$work/stock" "$old" nginx
    target=$work/stock/usr/sbin/nginx
    # The third fix, CVE-2026-42533, gives functions that the configuration in memory points to another type: refused
    # (type-layout), since a configuration that was read before would call them the old way.
    package_bundle "nginx=$old" --to "$new" --partial
}

# start_nginx: a master with two workers that answers on $port; sets $master and $workers.
start_nginx() {
    port=$(free_port)
    cat >"$scratch/nginx.conf" <<END
daemon off;
worker_processes 2;
pid $scratch/nginx.pid;
error_log stderr;
events { worker_connections 512; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path $scratch/body;
    proxy_temp_path $scratch/proxy;
    fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi;
    scgi_temp_path $scratch/scgi;
    map \$uri \$word { volatile; ~mismatch(.*) wrong; default right; }
    server {
        listen 127.0.0.1:$port;
        location ~ ^/say/(.*)\$ { return 200 "\$1 \$word\n"; }
    }
}
END
    start "$scratch/nginx.log" "$target" -p "$scratch" -e stderr -c "$scratch/nginx.conf"
    master=$started
    wait_for 10 answer
    mapfile -t workers < <(pgrep -P "$master")
    background+=("${workers[@]}")
    [ "$(answer)" = "hello right" ] || die "answer: $(answer)"
}

answer() { curl -sf "http://127.0.0.1:$port/say/hello"; }

# end_load PID: ends ab, and sets $errors to what clients saw of them.
end_load() {
    kill -0 "$1" 2>/dev/null || die "the load ended: $(tail -n 5 "$scratch/load.log")"
    kill -INT "$1"
    wait "$1" || true
    grep -E '^(Complete|Failed|Non-2xx|Requests per)' "$scratch/load.log"
    errors=$(awk '/^(Failed requests|Write errors|Non-2xx responses):/ {n += $NF} END {print n + 0}' "$scratch/load.log")
    [ "$(awk '/^Complete requests:/ {print $NF}' "$scratch/load.log")" -gt 1000 ] || die "there was no load"
}
