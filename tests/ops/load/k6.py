"""Runs a k6 script of loadtest/ against nodes and reads what it reports.

It never judges: the thresholds of the scripts do.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lib.stack import ROOT

REPORTS = ROOT / "target/ops/load"


def binary():
    """The k6 to run: `$K6`, else the one that run.sh installs, else that of the PATH."""
    for found in (os.environ.get("K6"), REPORTS / "venv/bin/k6", shutil.which("k6")):
        if found and Path(found).exists():
            return str(found)
    raise FileNotFoundError("k6 is not installed: tests/ops/load/run.sh installs it, or set K6")


@dataclass
class Run:
    """A finished run: its exit code, the page for people, the report, the script's events, what k6 complained of."""

    code: int
    page: str
    report: dict
    events: list
    errors: str

    @property
    def failed(self):
        """The metrics whose thresholds were crossed, sorted."""
        return sorted({rule["metric"] for rule in self.report.get("thresholds", []) if not rule["ok"]})


class K6:
    """A run under way."""

    def __init__(self, script, stack, name=None, **plan):
        REPORTS.mkdir(parents=True, exist_ok=True)
        self._report = REPORTS / f"{name or script}.json"
        self._report.unlink(missing_ok=True)
        values = {
            "FANFARE_URLS": ",".join(node.ws_url for node in stack.nodes),
            "FANFARE_SECRET_KEY_BASE": stack.secret,
            "SUMMARY": self._report,
            **plan,
        }
        # Raw: a line that a script prints is that line and nothing else.
        arguments = [binary(), "run", "--quiet", "--no-usage-report", "--no-color", "--log-format", "raw"]
        arguments += ["--address", "127.0.0.1:0"]
        for key, value in values.items():
            arguments += ["--env", f"{key}={value}"]
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *arguments, ROOT / f"loadtest/{script}.js"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if not key.startswith(("K6_", "FANFARE_"))},
        )

    def running(self):
        """Says whether it has not ended yet."""
        return self._child.poll() is None

    def wait(self, seconds=300):
        """Waits for its end and returns the `Run`."""
        try:
            page, errors = self._child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise
        report = json.loads(self._report.read_text()) if self._report.exists() else {}
        lines = errors.splitlines()
        events = [json.loads(line) for line in lines if line.startswith('{"event"')]
        errors = "\n".join(line for line in lines if not line.startswith('{"event"'))
        return Run(self._child.returncode, page, report, events, errors)

    def stop(self):
        """Kills it, if it still runs."""
        if self.running():
            self._child.kill()
            self._child.communicate()
