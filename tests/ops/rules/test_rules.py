"""The rules of deploy/prometheus under promtool: they are valid, each alert fires and stays quiet when it should.

It needs no node and no Prometheus: promtool plays the series.
"""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from cases import CASES

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))


def rules():
    """Every rule of every file."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*arguments):
    """Runs promtool; returns whether it was content, and what it said."""
    command = ["promtool", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=PROMETHEUS)
    return ran.returncode == 0, ran.stdout + ran.stderr


def labels_of(case):
    """The labels of the series' node that the alert keeps, and the case's own."""
    labels = {"namespace": "prod", "job": "fanfare", **case.labels}
    return {name: value for name, value in labels.items() if value is not None}


def filled(text, case):
    """The text of an annotation with the values that the case expects."""
    labels = labels_of(case)
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
    return re.sub(r"{{ \$value \| \w+ }}", case.value, text)


def played(case, series, expected):
    """Plays series; says whether promtool found exactly the alerts that were expected."""
    wanted = {"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": expected}
    test = {
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [wanted],
    }
    text = {"rule_files": [str(path) for path in RULES], "evaluation_interval": "30s", "tests": [test]}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(text, file)
        file.flush()
        return promtool("test", "rules", file.name)


class Rules(unittest.TestCase):
    def test_the_configuration_and_the_rules_are_valid(self):
        for arguments in (["config", "prometheus.yml"], ["rules", *RULES]):
            content, said = promtool("check", *arguments)
            self.assertTrue(content, said)

    def test_every_alert_is_complete(self):
        for name, rule in ALERTS.items():
            with self.subTest(name):
                self.assertIn("for", rule)
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertEqual(rule["labels"]["team"], "fanfare")
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                self.assertTrue(rule["annotations"]["runbook_url"].endswith("#" + name.lower()))

    def test_every_alert_has_one_case(self):
        self.assertEqual(sorted(case.alert for case in CASES), sorted(ALERTS))

    def test_every_alert_fires(self):
        for case in CASES:
            with self.subTest(case.alert):
                rule = ALERTS[case.alert]
                expected = {
                    "exp_labels": labels_of(case) | rule["labels"],
                    "exp_annotations": {
                        name: filled(text, case) for name, text in rule["annotations"].items()
                    },
                }
                content, said = played(case, case.fires, [expected])
                self.assertTrue(content, said)

    def test_every_alert_stays_quiet(self):
        for case in CASES:
            with self.subTest(case.alert):
                self.assertTrue(case.quiet)
                for series in case.quiet:
                    content, said = played(case, series, [])
                    self.assertTrue(content, said)

    def test_every_alert_has_its_section_in_the_runbook(self):
        text = (ROOT / "src/manual/runbook.md").read_text()
        sections = re.findall(r"^### (Fanfare\w+)$", text, re.MULTILINE)
        self.assertEqual(sections, list(ALERTS), "sections and alerts, in the same order")


if __name__ == "__main__":
    unittest.main()
