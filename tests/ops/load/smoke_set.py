"""The smoke set: seven small load tests against a fresh cluster of two nodes with Redis and Postgres.

    FANFARE_BIN=target/release/fanfare python3 tests/ops/load/smoke_set.py [script ...]

It prints each script's page and exits 1 when one fails. Names from the environment go to the scripts, such as P95_MS.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.stack import Stack  # noqa: E402
from load.k6 import K6  # noqa: E402

# What each script is told, so that the set takes about a minute.
SET = {
    "smoke": {},
    "chat-fanout": {"MEMBERS": 25, "MESSAGES": 40},
    "score-save": {"PLAYERS": 5, "MESSAGES": 20},
    "presence": {"MEMBERS": 12, "ROUNDS": 2},
    "longpoll": {"MEMBERS": 6, "MESSAGES": 10},
    "reconnect-storm": {"MEMBERS": 20, "STORMS": 1, "EVERY": "4s"},
    "bad-auth": {"MEMBERS": 6, "ATTEMPTS": 60},
}
# What a person may set for all of them.
KNOBS = ("P95_MS", "MIN_DELIVERY", "BACK_MS")


def run_set(stack, scripts=tuple(SET), show=print, **plan):
    """Runs scripts one after the other; returns name -> `Run`."""
    knobs = {name: os.environ[name] for name in KNOBS if name in os.environ}
    runs = {}
    for script in scripts:
        run = K6(script, stack, **{**SET[script], **knobs, **plan}).wait()
        runs[script] = run
        show(run.page or run.errors)
    return runs


def main(scripts):
    """Runs the set against a cluster of its own; the exit code."""
    with Stack(nodes=2) as stack:
        runs = run_set(stack, scripts or tuple(SET))
    for script, run in runs.items():
        why = f": {', '.join(run.failed) or run.errors.strip()}" if run.code else ""
        print(f"{'passed' if run.code == 0 else 'FAILED'}  {script}{why}")
    return 0 if all(run.code == 0 for run in runs.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
