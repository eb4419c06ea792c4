#!/usr/bin/env bash
# The tests of what operators use: chart, rules, dashboards, load tests, proxies, image. Says one line a piece.
# Arguments choose pieces. A piece exits 77 where it can't run; any other failure fails the whole.
set -uo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
project="$(cd "$here/../.." && pwd)"
logs="$project/target/ops"
mkdir -p "$logs"

if [ -z "${FANFARE_BIN:-}" ]; then
  "${CARGO:-cargo}" build --locked --quiet --manifest-path "$project/Cargo.toml" --bin fanfare || exit 1
  export FANFARE_BIN="$project/target/debug/fanfare"
fi

failed=0
for piece in "${@:-chart rules dashboards load proxies image}"; do
  # Unquoted on purpose: the default is a list of words.
  for name in $piece; do
    if [ ! -x "$here/$name/run.sh" ]; then
      echo "ops: $name: skipped: there are no tests of it"
      continue
    fi
    start=$SECONDS
    "$here/$name/run.sh" >"$logs/$name.log" 2>&1 </dev/null
    code=$?
    took="$((SECONDS - start)) s"
    case $code in
      0) echo "ops: $name: passed in $took" ;;
      77) echo "ops: $name: skipped: $(tail -n 1 "$logs/$name.log" | sed -E "s/^$name: (skipped: )?//")" ;;
      *)
        echo "ops: $name: FAILED in $took with code $code, log in target/ops/$name.log:"
        tail -n 60 "$logs/$name.log"
        failed=1
        ;;
    esac
  done
done
exit $failed
