"""Writes what values.yaml says about each value into the table of the chart's README and into its schema.

It never changes values.yaml: that file is the one source, in lines that begin with `# --`. With `--check` it
writes nothing and says what is out of date.
"""

import json
import re
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[3] / "helm" / "fanfare"
TABLES = {
    "values": ("| value | default | what it is |", "| --- | --- | --- |"),
    "alerts": ("| alert | severity | for | thresholds | compares |", "| --- | --- | --- | --- | --- |"),
}
COMPARISON = re.compile(r"(?:[<>]=?|==|!=)(?:\s+bool)?\s*([0-9]+(?:[.][0-9]+)?(?:e[-+]?[0-9]+)?)")


def described(text):
    """Returns the path of each described value with its description, in the order of the file."""
    rows, stack, about = {}, [], None
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.match(r"\s*# -- (.*)", line)
        entry = re.match(r"( *)([A-Za-z0-9]+):", line)
        if comment:
            about = comment.group(1)
        elif entry:
            depth = len(entry.group(1))
            stack = [(d, name) for d, name in stack if d < depth] + [(depth, entry.group(2))]
            if about is not None:
                rows[tuple(name for _, name in stack)] = about
            about = None
        elif about is not None:
            raise SystemExit(f"values.yaml, line {number}: a description must stand on the value")
    return rows


def default(values, path):
    """Returns the value at a path."""
    for name in path:
        values = values[name]
    return values


def undescribed(values, rows, path=()):
    """Lists the values that neither have a description nor are below one."""
    if path in rows:
        return []
    if isinstance(values, dict) and values:
        return [p for name in values for p in undescribed(values[name], rows, (*path, name))]
    return [path]


def values_table(values, rows):
    """Writes the table of values."""
    lines = list(TABLES["values"])
    for path, about in rows.items():
        shown = json.dumps(default(values, path), ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{'.'.join(path)}` | `{shown}` | {about} |")
    return "\n".join(lines)


def alert_rules():
    """Returns every alert rule of the chart's files."""
    files = sorted((CHART / "files" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def alerts_table():
    """Writes the table of alerts."""
    lines = list(TABLES["alerts"])
    for rule in alert_rules():
        numbers = ", ".join(COMPARISON.findall(rule["expr"]))
        expr = " ".join(rule["expr"].split()).replace("|", "\\|")
        severity = rule.get("labels", {}).get("severity", "")
        thresholds = f"`[{numbers}]`" if numbers else ""
        lines.append(f"| `{rule['alert']}` | {severity} | {rule.get('for', '0s')} | {thresholds} | `{expr}` |")
    return "\n".join(lines)


def with_table(readme, name, table):
    """Puts a table between the two marks of its name."""
    start, end = f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"
    before, rest = readme.split(start)
    return before + start + table + end + rest.split(end)[1]


def with_descriptions(schema, values, rows):
    """Sets description and default of each described value in the schema."""
    for path, about in rows.items():
        place = schema
        for name in path:
            place = place["properties"][name]
        own = {k: v for k, v in place.items() if k not in ("description", "default")}
        place.clear()
        place.update({"description": about, "default": default(values, path), **own})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def wanted():
    """Returns what each file should contain, by its path."""
    text = (CHART / "values.yaml").read_text()
    values, rows = yaml.safe_load(text), described(text)
    missing = undescribed(values, rows)
    if missing:
        raise SystemExit(f"values.yaml: no description of {', '.join('.'.join(p) for p in missing)}")
    readme, schema = CHART / "README.md", CHART / "values.schema.json"
    page = with_table(readme.read_text(), "values", values_table(values, rows))
    return {
        readme: with_table(page, "alerts", alerts_table()),
        schema: with_descriptions(json.loads(schema.read_text()), values, rows),
    }


def main():
    stale = {path: text for path, text in wanted().items() if path.read_text() != text}
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(CHART.parents[1])} is out of date: run `make chart-reference`")
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
