"""The dashboards as the tests read them: panels, queries, and variables filled in.

It asks nobody; the JSON files are all it knows.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "deploy/grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))

METRIC = re.compile(r"\b(?:fanfare|process|k6)_\w+")
SERIES = re.compile(r"\b((?:fanfare|process|k6)_\w+)(\{[^}]*\})?")


def boards():
    """Every dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in FILES}


def panels(board):
    """The panels of a dashboard that show something, with rows left out."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def rows(board):
    """The panels of each row by its title."""
    found, title = {}, None
    for panel in board["panels"]:
        if panel["type"] == "row":
            title = panel["title"]
        else:
            found.setdefault(title, []).append(panel)
    return found


def filled(expression, instance=".*", interval="10s"):
    """An expression as Grafana would send it, for one job, these instances and any run."""
    values = {"job": "fanfare", "instance": instance, "testid": ".*", "__rate_interval": interval}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


def metrics_of(text):
    """The names of the families in a Prometheus text."""
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def family(name, known):
    """The family that a series' name belongs to."""
    if name in known:
        return name
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    return plain if plain in known else None
