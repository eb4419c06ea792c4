"""What the chart says about itself: README, schema, values, versions, copies."""

import json
import re
import tomllib
import unittest

import yaml

import chart
import reference
from chart import CHART, PROJECT

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
README = (CHART / "README.md").read_text()
ROWS = reference.described((CHART / "values.yaml").read_text())


def rows_of(table):
    """Returns the cells of the rows of a table of the README."""
    part = README.split(f"<!-- {table}: begin -->")[1].split(f"<!-- {table}: end -->")[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def properties(schema, path=()):
    """Goes through the paths of a schema's properties."""
    for name, below in schema.get("properties", {}).items():
        yield (*path, name)
        yield from properties(below, (*path, name))


class Documents(unittest.TestCase):
    maxDiff = None

    def test_nothing_written_by_the_reference_is_out_of_date(self):
        for path, text in reference.wanted().items():
            self.assertTrue(path.read_text() == text, f"{path.name} is out of date: run `make chart-reference`")

    def test_every_row_of_the_readme_has_the_value_that_helm_uses(self):
        used = chart.loaded().merge_values({})
        rows = rows_of("values")
        self.assertGreater(len(rows), 150)
        for name, default, about in rows:
            with self.subTest(value=name):
                place = used
                for part in name.strip("`").split("."):
                    # Helm drops what is null.
                    place = place.get(part) if isinstance(place, dict) else None
                self.assertEqual(json.loads(default.strip("`").replace("\\|", "|")), place)
                self.assertGreater(len(about), 2)

    def test_every_value_is_in_the_readme(self):
        self.assertEqual([row[0].strip("`") for row in rows_of("values")], [".".join(path) for path in ROWS])
        self.assertEqual(reference.undescribed(VALUES, ROWS), [])

    def test_the_schema_knows_every_value_and_no_others(self):
        known = set(properties(SCHEMA))
        self.assertEqual(set(ROWS) - known, set())
        unknown = {
            path
            for path in known
            if not any(path[: len(row)] == row or row[: len(path)] == path for row in ROWS)
        }
        self.assertEqual(unknown, set())

    def test_the_schema_is_closed_but_for_maps(self):
        def closed(schema, path):
            if "properties" in schema and path not in (("global",), ("config",)):
                self.assertIn("additionalProperties", schema, path)
            for name, below in schema.get("properties", {}).items():
                closed(below, (*path, name))

        closed(SCHEMA, ())
        self.assertIs(SCHEMA["additionalProperties"], False)

    def test_values_that_the_readme_names_exist(self):
        text = re.sub(r"<!-- values: begin -->.*?<!-- values: end -->", "", README, flags=re.S)
        about = " ".join(ROWS.values())
        sections = {name for name, value in VALUES.items() if isinstance(value, dict)} - {"config", "resources"}
        named = re.findall(r"(?<![\w./])`?((?:%s)(?:\.[A-Za-z]+)+)" % "|".join(sections), text + about)
        self.assertGreater(len(named), 20)
        for name in named:
            parts = name.split(".")
            # Below a map, or the name of an annotation.
            if "alerts" in parts or "sh" in parts or parts[-1] == "request":
                continue
            place = VALUES
            for part in parts:
                with self.subTest(value=name):
                    self.assertIn(part, place)
                place = place[part]

    def test_refusals_and_alerts_of_the_readme_are_those_of_the_chart(self):
        names = [row[0].strip("`") for row in rows_of("alerts")]
        self.assertEqual(names, [rule["alert"] for rule in reference.alert_rules()])

    def test_the_sets_that_the_readme_names_exist(self):
        for name in re.findall(r"`ci/([\w-]+)\.yaml`", README):
            self.assertIn(name, chart.sets())

    def test_the_lines_to_type_render(self):
        blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
        lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
        installs = [line.split() for line in lines if line.startswith("helm install ")]
        self.assertEqual(len(installs), 2)
        for words in installs:
            with self.subTest(line=words):
                name, path, *rest = words[2:]
                self.assertEqual(path, "helm/fanfare")
                chart.run_helm3("template", name, CHART, "--kube-version", chart.OLDEST, *rest)

    def test_yaml_of_the_readme_renders(self):
        for block in re.findall(r"```yaml\n(.*?)```", README, flags=re.S):
            with self.subTest(block=block):
                self.assertTrue(chart.by_helm4(chart.over(chart.SECRETS, yaml.safe_load(block))))

    def test_the_chart_is_of_the_programs_version(self):
        package = tomllib.loads((PROJECT / "Cargo.toml").read_text())["package"]
        self.assertEqual(chart.META["appVersion"], package["version"])

    def test_copies_are_those_of_deploy(self):
        for source, pattern, copy in [
            ("prometheus/rules", "*.yml", "rules"),
            ("grafana/dashboards", "*.json", "dashboards"),
        ]:
            originals = {f.name: f.read_text() for f in (PROJECT / "deploy" / source).glob(pattern)}
            copies = {f.name: f.read_text() for f in (CHART / "files" / copy).glob("*")}
            with self.subTest(source=source):
                if not originals:
                    self.skipTest(f"there is no deploy/{source} yet")
                self.assertEqual(sorted(copies), sorted(originals), "run `make chart-files`")
                for name, text in originals.items():
                    self.assertTrue(copies[name] == text, f"{name} differs: run `make chart-files`")


if __name__ == "__main__":
    unittest.main()
