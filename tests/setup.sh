#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, with apt-get and npm.
# It never starts, stops or configures a service: the tests start their own.
set -euo pipefail

cd "$(dirname "$0")"

fail() {
  echo "setup: $*" >&2
  exit 1
}

has() {
  command -v "$1" >/dev/null 2>&1
}

has_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

has_browser() {
  has chromium || has chromium-browser || has google-chrome || has google-chrome-stable
}

has cargo || fail "there is no cargo: install a Rust toolchain first (rustup, or your distribution's)"
has cc || missing_cc=build-essential

missing=(${missing_cc:-})
has redis-server || missing+=(redis-server)
has_postgres || missing+=(postgresql)
has node || missing+=(nodejs)
has npm || missing+=(npm)
has openssl || missing+=(openssl)
has_browser || missing+=(chromium)

if ((${#missing[@]} > 0)); then
  echo "setup: installing ${missing[*]} with apt-get"
  has apt-get || fail "there is no apt-get here: install ${missing[*]} by hand, then run this again"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    has sudo || fail "installing needs root: run 'apt-get install ${missing[*]}' as root, then run this again"
    as_root=(sudo)
  fi
  quiet=(env DEBIAN_FRONTEND=noninteractive)
  "${as_root[@]}" "${quiet[@]}" apt-get update -qq </dev/null
  "${as_root[@]}" "${quiet[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
    fail "apt-get could not install ${missing[*]}"
fi

major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 18 ] || fail "Node.js $major is too old: the tests need 18 or newer"

# Installed packages are kept while the lock file is the one they were installed from.
mark=npm/node_modules/.installed-from
if ! cmp -s npm/package-lock.json "$mark"; then
  echo "setup: installing the packages of tests/npm"
  (cd npm && npm ci --no-progress </dev/null) || fail "npm ci failed in tests/npm"
  cp npm/package-lock.json "$mark"
fi

echo "setup: ready"
