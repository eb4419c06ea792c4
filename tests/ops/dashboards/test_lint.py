"""Rules that every dashboard keeps, whoever wrote it: what dashboard linters ask for, and a little more.

It needs nothing that runs: files only.
"""

import importlib.util
import itertools
import re
import sys
import unittest

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import FILES, GRAFANA, ROOT, SERIES, boards, panels, rows


def generated():
    """What the generator would write, by the names of the files."""
    source = GRAFANA / "source"
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(source))
    try:
        spec = importlib.util.spec_from_file_location("generate", source / "generate.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.texts()
    finally:
        sys.path.remove(str(source))


def overlap(one, other):
    """Says whether two places on the grid share a cell."""
    return all(one[at] < other[at] + other[by] and other[at] < one[at] + one[by] for at, by in ("xw", "yh"))


def every_panel():
    """Every panel with a name that says where it is."""
    return [
        (f"{name}: {panel['title']}", panel) for name, board in boards().items() for panel in panels(board)
    ]


class Lint(unittest.TestCase):
    def test_the_generator_writes_what_is_there(self):
        self.assertEqual({path.name: path.read_text() for path in FILES}, generated())

    def test_three_dashboards_have_names_of_their_own(self):
        self.assertEqual(list(boards()), ["k6", "node", "overview"])
        self.assertEqual(len({board["uid"] for board in boards().values()}), 3)
        self.assertEqual(len({board["title"] for board in boards().values()}), 3)

    def test_the_sdk_of_grafana_reads_every_dashboard(self):
        for name, board in boards().items():
            with self.subTest(name):
                read = Dashboard.from_json(board)
                self.assertEqual(read.uid, board["uid"])
                self.assertEqual(len(read.panels), len(board["panels"]))
                JSONEncoder().encode(read)

    def test_dashboards_can_be_provisioned(self):
        for name, board in boards().items():
            with self.subTest(name):
                self.assertNotIn("id", board)
                self.assertNotIn("__inputs", board)
                self.assertGreaterEqual(board["schemaVersion"], 39)
                self.assertTrue(board["description"])

    def test_variables_choose_source_job_and_instance(self):
        for name, board in boards().items():
            with self.subTest(name):
                chosen = {variable["name"]: variable for variable in board["templating"]["list"]}
                self.assertEqual(chosen["datasource"]["type"], "datasource")
                self.assertEqual(chosen["datasource"]["query"], "prometheus")
                for choice in ("job", "instance"):
                    self.assertTrue(
                        chosen[choice]["definition"].startswith("label_values(fanfare_build_info")
                    )
                    self.assertTrue(chosen[choice]["definition"].endswith(f", {choice})"))
                    self.assertEqual(chosen[choice]["datasource"]["uid"], "${datasource}")

    def test_every_panel_says_what_it_shows(self):
        for name, panel in every_panel():
            with self.subTest(name):
                self.assertTrue(panel["title"])
                self.assertTrue(panel["description"].endswith("."))
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertTrue(panel["targets"])

    def test_every_panel_asks_the_chosen_source(self):
        for name, panel in every_panel():
            with self.subTest(name):
                for asked in (panel, *panel["targets"]):
                    self.assertEqual(asked["datasource"], {"type": "prometheus", "uid": "${datasource}"})

    def test_every_series_is_of_the_chosen_nodes_or_run(self):
        for name, panel in every_panel():
            with self.subTest(name):
                for target in panel["targets"]:
                    found = SERIES.findall(target["expr"])
                    self.assertTrue(found, target["expr"])
                    for series, matchers in found:
                        wanted = ['testid=~"$testid"'] if series.startswith("k6_") else []
                        wanted = wanted or ['job=~"$job"', 'instance=~"$instance"']
                        for matcher in wanted:
                            self.assertIn(matcher, matchers, f"{series} in {target['expr']}")

    def test_every_counter_is_a_rate_over_the_interval_that_fits_the_scrapes(self):
        for name, panel in every_panel():
            with self.subTest(name):
                for target in panel["targets"]:
                    for found in SERIES.finditer(target["expr"]):
                        if not re.search("_(total|bucket|sum|count)$", found[1]) or found[1].startswith(
                            "k6_"
                        ):
                            continue
                        before, after = target["expr"][: found.start()], target["expr"][found.end() :]
                        self.assertTrue(before.endswith("rate("), target["expr"])
                        self.assertTrue(after.startswith("[$__rate_interval]"), target["expr"])
                    ranges = set(re.findall(r"\[([^]]*)\]", target["expr"]))
                    self.assertLessEqual(ranges, {"$__rate_interval"})

    def test_panels_have_numbers_and_places_of_their_own(self):
        for name, board in boards().items():
            with self.subTest(name):
                numbers = [panel["id"] for panel in board["panels"]]
                self.assertEqual(len(numbers), len(set(numbers)))
                for one, other in itertools.combinations(board["panels"], 2):
                    places = one["gridPos"], other["gridPos"]
                    self.assertFalse(overlap(*places), f"{one['title']} lies on {other['title']}")
                for panel in board["panels"]:
                    self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24, panel["title"])

    def test_the_overview_has_a_row_for_each_part(self):
        titles = list(rows(boards()["overview"]))
        for word in ("well", "Connections", "joins", "fan-out", "pressure", "Redis", "database", "Processes"):
            self.assertTrue(any(word in title for title in titles), word)

    def test_the_runbook_names_panels_and_settings_that_there_are(self):
        runbook = (ROOT / "src/manual/runbook.md").read_text()
        sections = re.findall(r"^##+ (.+)$", runbook, re.MULTILINE)
        titles = {panel["title"] for _, panel in every_panel()} | {
            board["title"] for board in boards().values()
        }
        named = re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)", runbook)
        self.assertGreater(len(named), 50)
        self.assertLessEqual(set(named), titles | set(sections))
        settings = (ROOT / "src/manual/settings.md").read_text()
        keys = re.findall(r"`(limits|broker|store|drain|transport|auth)\.(\w+)`", runbook)
        self.assertGreater(len(keys), 15)
        for section, key in keys:
            with self.subTest(f"{section}.{key}"):
                self.assertIn(f"| `{key}` | `FANFARE_{section.upper()}__{key.upper()}` |", settings)

    def test_provisioning_fits_the_dashboards(self):
        read = {path.name: yaml.safe_load(path.read_text()) for path in GRAFANA.glob("provisioning/*/*.yaml")}
        self.assertEqual(sorted(read), ["fanfare.yaml", "prometheus.yaml"])
        source = read["prometheus.yaml"]["datasources"][0]
        self.assertEqual((source["type"], source["uid"]), ("prometheus", "fanfare-prometheus"))
        self.assertEqual(read["fanfare.yaml"]["providers"][0]["type"], "file")


if __name__ == "__main__":
    unittest.main()
