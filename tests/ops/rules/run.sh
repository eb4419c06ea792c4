#!/bin/bash
# The alert rules under promtool. It starts no node; it installs Debian's `prometheus` (promtool) where that is missing.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)

installs() {
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && export DEBIAN_FRONTEND=noninteractive &&
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

if ! command -v promtool > /dev/null; then
  if ! installs prometheus; then
    echo "rules: promtool is missing, and this account cannot install Debian's prometheus"
    exit 77
  fi
fi

venv="$root/target/ops/rules/venv"
if ! cmp -s requirements.txt "$venv/installed.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$venv/installed.txt"
fi
exec "$venv/bin/python" -m unittest -v test_rules
