#!/usr/bin/env python3
"""Writes ../dashboards/*.json, Grafana's classic format, from the panels listed in nodes.py and k6.py.

The JSON is what is deployed; a test compares it with what this writes. It needs Python alone.
"""

import json
from pathlib import Path

from k6 import K6
from nodes import NODE, OVERVIEW

HERE = Path(__file__).resolve().parent.parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
DASHBOARDS = [OVERVIEW, NODE, K6]
KINDS = {"stat": "stat", "line": "timeseries", "stack": "timeseries", "heat": "heatmap"}


def variable(name, label, query, many, regex=""):
    """A variable that asks Prometheus for the values of a label."""
    made = {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "regex": regex,
        "sort": 1,
        "multi": many,
        "includeAll": many,
        "current": {},
        "options": [],
        "hide": 0,
    }
    if many:
        made["allValue"] = ".*"
    return made


def variables(board):
    """The data source, the job, the instance, and the test run where there is one."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    made = [source | {"current": {}, "options": [], "hide": 0, "refresh": 1, "regex": "", "multi": False}]
    made.append(variable("job", "Job", "label_values(fanfare_build_info, job)", True))
    query = 'label_values(fanfare_build_info{job=~"$job"}, instance)'
    made.append(variable("instance", "Node", query, board.many))
    if board.runs:
        made.append(variable("testid", "Run", "label_values(k6_vus, testid)", True))
    return made


def options(panel):
    """What Grafana wants to know about a kind of panel."""
    if panel.kind == "stat":
        reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduce, "colorMode": "value", "graphMode": "area", "textMode": panel.text}
    if panel.kind == "heat":
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "yAxis": {"unit": panel.unit},
            "cellGap": 1,
            "tooltip": {"mode": "single", "yHistogram": True},
        }
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
    return {"legend": legend | {"showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}


def field(panel):
    """Unit, bounds and colours."""
    steps = [{"color": "green", "value": None}]
    steps += [{"color": color, "value": value} for value, color in panel.steps]
    defaults = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.low is not None:
        defaults["min"] = panel.low
    if panel.high is not None:
        defaults["max"] = panel.high
    if panel.kind == "stat":
        defaults["color"] = {"mode": "thresholds"}
    elif panel.kind != "heat":
        stacked = panel.kind == "stack"
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        }
    return {"defaults": defaults, "overrides": []}


def targets(panel):
    """The panel's queries."""
    made = []
    for letter, (expression, legend) in zip("ABCDEFGH", panel.queries, strict=False):
        target = {
            "refId": letter,
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": expression,
            "legendFormat": legend,
            "range": True,
        }
        if panel.kind == "heat":
            target["format"] = "heatmap"
        made.append(target)
    return made


def placed(rows):
    """The panels of every row, left to right, top to bottom."""
    made, y, number = [], 0, 0
    for title, panels in rows:
        number += 1
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        made.append(
            {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}
        )
        x, y, tallest = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            made.append(drawn(panel, number, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return made


def drawn(panel, number, x, y):
    """One panel as Grafana wants it."""
    return {
        "id": number,
        "type": KINDS[panel.kind],
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": field(panel),
        "options": options(panel),
        "targets": targets(panel),
    }


def rollouts():
    """A mark wherever a version comes up that was not there before."""
    chosen = 'job=~"$job",instance=~"$instance"'
    count = "count by (version) (fanfare_build_info{" + chosen + "}"
    return {
        "name": "Rollouts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": f"{count}) unless {count} offset 5m)",
        "step": "60s",
        "titleFormat": "A new version",
        "textFormat": "{{version}}",
        "useValueForTime": False,
    }


def dashboard(board):
    """A whole dashboard."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["fanfare"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [rollouts()]},
        "templating": {"list": variables(board)},
        "links": [
            {
                "type": "dashboards",
                "title": "Fanfare",
                "tags": ["fanfare"],
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "panels": placed(board.rows),
    }


def texts():
    """The text of each file by its name."""
    return {f"{board.name}.json": json.dumps(dashboard(board), indent=2) + "\n" for board in DASHBOARDS}


if __name__ == "__main__":
    for name, text in texts().items():
        (HERE / "dashboards" / name).write_text(text)
