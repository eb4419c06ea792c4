#!/usr/bin/env bash
# Runs nginx and HAProxy with the files of deploy/proxies in front of two real nodes: WebSocket, long-poll, addresses,
# a drain. Traefik and Envoy are in no Debian archive: their files are read as YAML and compared with what is promised.
# It changes only addresses, ports and the number of descriptors, which a machine for tests may not have. Exit codes: 0 passed, 1 failed, 77 a program can't be had.
#
#   FANFARE_BIN   the binary; default: target/debug/fanfare, built when it isn't there
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
proxies=$root/deploy/proxies
work=$(mktemp -d)
pids=()

clean() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT

fail() {
    echo "FAILED: $1" >&2
    for log in "$work"/*.log; do
        [ -s "$log" ] && { echo "--- $(basename "$log")"; tail -n 30 "$log"; } >&2
    done
    exit 1
}

skip() {
    echo "skipped: $1" >&2
    exit 77
}

# has PROGRAM PACKAGE: installs what is missing, where that is possible.
has() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install -y --no-install-recommends "$2"; } >"$work/apt.log" 2>&1 || true
    fi
    command -v "$1" >/dev/null || skip "$1 is not there and can't be installed"
}

export PATH=$PATH:/usr/sbin
has nginx nginx
has haproxy haproxy
has redis-server redis-server
has curl curl
has python3 python3
python3 -c 'import yaml' 2>/dev/null || { [ "$(id -u)" = 0 ] && apt-get install -y python3-yaml >"$work/apt.log" 2>&1; } || true

binary=${FANFARE_BIN:-$root/target/debug/fanfare}
# A node takes every variable of this kind for a setting.
unset FANFARE_BIN
[ -x "$binary" ] || (cd "$root" && "${CARGO:-cargo}" build --locked --quiet --bin fanfare)

# free COUNT: that many free ports.
free() {
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/tests/ops" python3 -c '
import sys
from lib.process import free_port
print(*[free_port() for _ in range(int(sys.argv[1]))])' "$1"
}

# until_ok SECONDS COMMAND...: tries until it succeeds.
until_ok() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

read -r redis front clients_a admin_a clients_b admin_b <<<"$(free 6)"
redis-server --port "$redis" --bind 127.0.0.1 --save '' --appendonly no >"$work/redis.log" 2>&1 &
pids+=($!)
until_ok 10 redis-cli -p "$redis" ping || fail "redis-server does not answer"

cat >"$work/node.toml" <<TOML
[limits]
connections_per_ip = 3

[transport]
# The proxy connects from here; clients of this test connect from other addresses of the loopback.
trusted_proxies = ["127.0.0.1"]

[drain]
wait = "5s"
spread = "1s"
TOML

# node NAME CLIENTS ADMIN [VARIABLE=VALUE]: starts a node; its pid is in $started.
node() {
    local name=$1 clients=$2 admin=$3
    shift 3
    (cd "$work" && exec env \
        FANFARE_SECRET_KEY_BASE=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \
        FANFARE_REDIS_URL="redis://127.0.0.1:$redis" FANFARE_DATABASE_URL="sqlite://$work/records.db" \
        FANFARE_ANONYMOUS=allow "$@" \
        "$binary" --config node.toml --node-name "$name" --workers 2 \
        --listen "127.0.0.1:$clients" --admin-listen "127.0.0.1:$admin") >"$work/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
    until_ok 20 curl -sf "http://127.0.0.1:$admin/readyz" || fail "$name does not start"
}

# counted ADMIN SERIES: the value of a series; 0 without it.
counted() {
    curl -s "http://127.0.0.1:$1/metrics" | awk -v series="$2" '$1 == series { value = $2 } END { print value + 0 }'
}

# on_proxy TEXT: the shipped file with this test's addresses.
on_proxy() {
    sed -e "s/10\.0\.0\.11:4000 check port 4001/127.0.0.1:$clients_a check port $admin_a/" \
        -e "s/10\.0\.0\.12:4000 check port 4001/127.0.0.1:$clients_b check port $admin_b/" \
        -e "s/10\.0\.0\.11:4000/127.0.0.1:$clients_a/" -e "s/10\.0\.0\.12:4000/127.0.0.1:$clients_b/" \
        -e 's/^worker_rlimit_nofile .*//' -e 's/maxconn 100000/maxconn 2000/' \
        -e "s/listen 80 /listen 127.0.0.1:$front /" -e "s/bind :80$/bind 127.0.0.1:$front/" "$1"
}

probe() {
    "$binary" probe --url "ws://127.0.0.1:$front/socket" --topic chat_room:lobby
}

# session ADDRESS [HEADER]: opens a long-poll session from an address of the loopback; its status line and token.
session() {
    curl -s --interface "$1" ${2:+-H "$2"} "http://127.0.0.1:$front/socket/longpoll?vsn=2.0.0"
}

sockets() {
    local probes=$1
    local before_a before_b after_a after_b
    local opened='fanfare_connections_opened_total{transport="websocket"}'
    before_a=$(counted "$admin_a" "$opened") before_b=$(counted "$admin_b" "$opened")
    for _ in $(seq "$probes"); do
        probe >"$work/probe.log" 2>&1 || fail "$proxy: no WebSocket: $(cat "$work/probe.log")"
    done
    after_a=$(counted "$admin_a" "$opened") after_b=$(counted "$admin_b" "$opened")
    [ $((after_a - before_a + after_b - before_b)) = "$probes" ] || fail "$proxy: sockets are missing"
    echo "  $proxy: $probes WebSockets joined and left ($((after_a - before_a)) on one, $((after_b - before_b)) on two)"
}

longpoll() {
    local url="http://127.0.0.1:$front/socket/longpoll?vsn=2.0.0" token answer start took
    token=$(curl -s "$url" | python3 -c 'import json,sys; print(json.load(sys.stdin)["token"])') || fail "$proxy: no session"
    token=$(python3 -c 'import sys,urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$token")
    # Whichever node each request reaches, the session is found.
    for round in 1 2 3 4; do
        answer=$(curl -s -H 'content-type: application/x-ndjson' \
            -d "[\"$round\",\"$round\",\"chat_room:lobby$round\",\"phx_join\",{}]" "$url&token=$token")
        [ "$answer" = '{"status":200}' ] || fail "$proxy: a POST was answered $answer"
        answer=$(curl -s "$url&token=$token")
        case $answer in *phx_reply*) ;; *) fail "$proxy: a poll was answered $answer" ;; esac
    done
    # A poll with nothing to say is held for its window and not cut, and what is said meanwhile comes at once.
    start=$(date +%s%N)
    curl -s "$url&token=$token" >"$work/polled" &
    local poll=$!
    sleep 1
    curl -s -o /dev/null -H 'content-type: application/x-ndjson' \
        -d '["1","9","chat_room:lobby1","new_message",{"message":"hello","name":"ada"}]' "$url&token=$token"
    wait "$poll" || fail "$proxy: a poll was cut"
    took=$((($(date +%s%N) - start) / 1000000))
    grep -q 'hello\|phx_reply\|presence' "$work/polled" || fail "$proxy: a held poll has $(cat "$work/polled")"
    [ $took -lt 6000 ] || fail "$proxy: a held poll took $took ms: is it buffered?"
    echo "  $proxy: long-poll over both nodes, a held poll answered after $took ms"
}

private() {
    for path in /metrics /status /healthz /api/v1/broadcast /socketed; do
        local code
        code=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$front$path")
        [ "$code" = 404 ] || fail "$proxy: $path is answered $code"
    done
    echo "  $proxy: nothing but /socket/ goes through"
}

# Three sessions an address and node; what the client claims to be counts for nothing.
addresses() {
    local address=$1 taken=0 answer
    for round in $(seq 12); do
        answer=$(session "$address" "X-Forwarded-For: 198.51.100.$round")
        case $answer in *'"status":410'*) taken=$((taken + 1)) ;; *'"status":500'*) ;; *) fail "$proxy: $answer" ;; esac
    done
    [ $taken -le 6 ] && [ $taken -ge 3 ] || fail "$proxy: one address has $taken sessions on two nodes of three each"
    answer=$(session "${address%?}9")
    case $answer in *'"status":410'*) ;; *) fail "$proxy: another address is refused: $answer" ;; esac
    echo "  $proxy: an address has its share ($taken), forged headers give it no more, another address has its own"
}

# A node that drains gets nobody, and the other takes all.
drained() {
    local pid=$1 admin=$2
    kill -TERM "$pid"
    until_ok 5 sh -c "curl -s http://127.0.0.1:$admin/status | grep -q '\"drain\":{'" || fail "$proxy: no drain"
    local end=$((SECONDS + 9))
    while [ $SECONDS -lt $end ]; do
        probe >"$work/probe.log" 2>&1 || fail "$proxy: a client was lost to the drain: $(cat "$work/probe.log")"
        sleep 0.2
    done
    wait "$pid" || fail "$proxy: the drained node ended with $?"
    echo "  $proxy: a node drained and ended, and every new client was served"
}

both_nodes() {
    node "one-$proxy" "$clients_a" "$admin_a" "$@"
    pid_a=$started
    node "two-$proxy" "$clients_b" "$admin_b" "$@"
    pid_b=$started
}

stop() {
    for pid in "$@"; do
        kill -TERM "$pid" 2>/dev/null || true
        # The nodes drain first; a second signal makes them leave at once.
        sleep 0.2
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

everything() {
    until_ok 10 probe || fail "$proxy: no way through"
    sockets 10
    longpoll
    private
    addresses "$1"
    drained "$pid_a" "$admin_a"
}

# --- nginx
proxy=nginx
nginx_flags=(-p "$work" -e "$work/nginx.log" -g "daemon off; pid $work/nginx.pid; master_process on;")
on_proxy "$proxies/nginx.conf" >"$work/nginx.conf"
nginx "${nginx_flags[@]}" -t -c "$work/nginx.conf" >"$work/nginx-check.log" 2>&1 || fail "nginx refuses the file"
both_nodes
nginx "${nginx_flags[@]}" -c "$work/nginx.conf" >"$work/nginx-out.log" 2>&1 &
nginx_pid=$!
pids+=("$nginx_pid")
everything 127.0.0.21
kill -TERM "$nginx_pid"
wait "$nginx_pid" || true
stop "$pid_b"
grep -q 'token=' "$work/nginx-out.log" && fail "nginx: a token is in the log"

# --- HAProxy, with X-Forwarded-For
proxy=haproxy
on_proxy "$proxies/haproxy.cfg" >"$work/haproxy.cfg"
haproxy -c -f "$work/haproxy.cfg" >"$work/haproxy-check.log" 2>&1 || fail "HAProxy refuses the file"
grep -qi warning "$work/haproxy-check.log" && fail "HAProxy warns"
both_nodes
haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
haproxy_pid=$!
pids+=("$haproxy_pid")
everything 127.0.0.31
kill -TERM "$haproxy_pid"
wait "$haproxy_pid" 2>/dev/null || true
stop "$pid_b"
grep -q 'token=' "$work/haproxy.log" && fail "HAProxy: a token is in the log"

# --- HAProxy, with the PROXY protocol: versions 2 and 1
for version in send-proxy-v2 send-proxy; do
    proxy=haproxy-$version
    sed -e '/set-header X-Forwarded-For/d' -e "s/^\( *server .*\)$/\1 $version/" "$work/haproxy.cfg" >"$work/$proxy.cfg"
    grep -q "check port $admin_a $version" "$work/$proxy.cfg" || fail "$proxy: the file has no such server"
    haproxy -c -f "$work/$proxy.cfg" >"$work/$proxy-check.log" 2>&1 || fail "HAProxy refuses the file"
    both_nodes FANFARE_TRANSPORT__PROXY_PROTOCOL=true
    haproxy -db -f "$work/$proxy.cfg" >"$work/$proxy.log" 2>&1 &
    haproxy_pid=$!
    pids+=("$haproxy_pid")
    everything 127.0.0.41
    refused=$(counted "$admin_b" 'fanfare_connect_refused_total{reason="proxy_protocol"}')
    [ "$refused" = 0 ] || fail "$proxy: $refused headers were refused"
    kill -TERM "$haproxy_pid"
    wait "$haproxy_pid" 2>/dev/null || true
    stop "$pid_b"
done

# --- Traefik and Envoy: the shape
python3 "$here/shape.py" "$proxies" || fail "a file of Traefik or Envoy is not what it should be"
echo "passed: nginx $(nginx -v 2>&1 | sed 's/.*nginx.//'), HAProxy $(haproxy -v | awk '{ print $3; exit }')"
