#!/usr/bin/env bash
# Builds the image and brings the compose stack up. It starts a Docker engine of its own when none runs, and stops it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=$root/target/ops/image
mkdir -p "$out"

skip() {
    echo "image: skipped: $*"
    exit 77
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } > "$out/apt.log" 2>&1
}

own_engine=
stop_engine() {
    [ -z "$own_engine" ] && return
    kill "$own_engine" && wait "$own_engine" || true
}
trap stop_engine EXIT

# Debian's client speaks BuildKit to Debian's engine without a plugin.
if ! docker info > /dev/null 2>&1; then
    [ -x /usr/sbin/dockerd ] || install docker.io iptables || skip "no Docker engine, and none can be installed here"
    # Its rules for packets would outlive it, and slow everything on this machine.
    /usr/sbin/dockerd --iptables=false --data-root "$out/engine" > "$out/engine.log" 2>&1 &
    own_engine=$!
    for _ in $(seq 100); do
        docker info > /dev/null 2>&1 && break
        kill -0 "$own_engine" 2> /dev/null || break
        sleep 0.2
    done
    docker info > /dev/null 2>&1 || { own_engine=; skip "no Docker engine runs, and none can be started here: $(tail -n 1 "$out/engine.log")"; }
fi

docker=docker
[ -x /usr/bin/docker ] && docker=/usr/bin/docker
export DOCKER=$docker DOCKER_BUILDKIT=1

python3 "$here/test_image.py" -v
