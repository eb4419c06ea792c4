#!/bin/bash
# The dashboards: their lint, and every query against two real nodes under load. FANFARE_BIN is the program under test.
# It installs what is missing by apt-get (as root) and, into target/ops/dashboards, from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)

installs() {
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && export DEBIAN_FRONTEND=noninteractive &&
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

missing=()
command -v prometheus > /dev/null || missing+=(prometheus)
command -v redis-server > /dev/null || missing+=(redis-server)
ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || command -v postgres > /dev/null || missing+=(postgresql)
if [ ${#missing[@]} != 0 ]; then
  if ! installs "${missing[@]}"; then
    echo "dashboards: missing, and this account cannot install it: ${missing[*]}"
    exit 77
  fi
fi
: "${FANFARE_BIN:?the path of a built fanfare}"
export FANFARE_BIN

venv="$root/target/ops/dashboards/venv"
if ! cmp -s requirements.txt "$venv/installed.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$venv/installed.txt"
fi
exec "$venv/bin/python" -m unittest -v test_lint test_live
