"""The PrometheusRule against the plain rules, and the changes that values make to it."""

import json
import re
import unittest

import yaml

import chart
import reference
from chart import HELMS, over, sets

PLAIN = sorted((chart.CHART / "files" / "rules").glob("*.yml"))
BASE = sets()["monitoring"]


def groups(changes=None, render=chart.by_helm4):
    """Renders the groups of the PrometheusRule."""
    values = over(BASE, {"metrics": {"prometheusRule": changes or {}}})
    return chart.only(render(values), "PrometheusRule")["spec"]["groups"]


def alerts(changes=None):
    """Renders the alerts, by name."""
    return {rule["alert"]: rule for group in groups(changes) for rule in group["rules"] if "alert" in rule}


def change(name, **what):
    return alerts({"alerts": {name: what}})[name]


class Rules(unittest.TestCase):
    maxDiff = None

    def test_the_defaults_are_the_plain_rules(self):
        plain = [group for file in PLAIN for group in yaml.safe_load(file.read_text())["groups"]]
        self.assertGreater(sum(len(g["rules"]) for g in plain), 10)
        for helm, render in HELMS.items():
            with self.subTest(helm=helm):
                self.assertEqual(groups(render=render), plain)

    def test_every_threshold_of_every_alert_can_be_changed(self):
        for rule in reference.alert_rules():
            old = reference.COMPARISON.findall(rule["expr"])
            if not old:
                continue
            with self.subTest(alert=rule["alert"]):
                new = [1001 + i for i in range(len(old))]
                changed = change(rule["alert"], thresholds=new)
                self.assertEqual(reference.COMPARISON.findall(changed["expr"]), [str(n) for n in new])
                without = [reference.COMPARISON.sub("#", text) for text in (rule["expr"], changed["expr"])]
                self.assertEqual(*without)
                back = change(rule["alert"], thresholds=[json.loads(n) for n in old])
                self.assertEqual(back["expr"], rule["expr"])

    def test_fractions_stay_what_they_are(self):
        name = next(r["alert"] for r in reference.alert_rules() if len(reference.COMPARISON.findall(r["expr"])) == 1)
        for number, text in [(0.05, "0.05"), (0.00001, "1e-05"), (2000000, "2000000"), (1.5, "1.5")]:
            for helm, render in HELMS.items():
                with self.subTest(number=number, helm=helm):
                    found = groups({"alerts": {name: {"thresholds": [number]}}}, render)
                    (rule,) = [r for g in found for r in g["rules"] if r.get("alert") == name]
                    self.assertEqual(float(reference.COMPARISON.findall(rule["expr"])[0]), number, text)

    def test_an_alert_is_turned_off_by_its_name_and_others_stay(self):
        names = list(alerts())
        for name in names:
            rest = alerts({"alerts": {name: {"enabled": False}}})
            self.assertEqual(list(rest), [n for n in names if n != name])

    def test_what_else_can_be_changed(self):
        name = next(iter(alerts()))
        plain = alerts()[name]
        self.assertEqual(change(name, **{"for": "42m"})["for"], "42m")
        self.assertEqual(change(name, expr="vector(1)")["expr"], "vector(1)")
        self.assertEqual(change(name, severity="ticket")["labels"], {**plain["labels"], "severity": "ticket"})
        self.assertEqual(change(name, labels={"a": "b"})["labels"], {**plain["labels"], "a": "b"})
        self.assertEqual(change(name, annotations={"a": "b"})["annotations"], {**plain["annotations"], "a": "b"})

    def test_labels_and_the_runbook_reach_every_alert(self):
        url = "https://runbooks.example.com/fanfare"
        for name, rule in alerts({"alertLabels": {"cluster": "eu"}, "runbookUrl": url}).items():
            self.assertEqual(rule["labels"]["cluster"], "eu")
            self.assertEqual(rule["annotations"]["runbook_url"], f"{url}#{name.lower()}")

    def test_own_groups_are_added(self):
        own = [{"name": "own", "rules": [{"record": "own:up", "expr": "sum(up)"}]}]
        self.assertEqual(groups({"extraGroups": own}), groups() + own)

    def test_the_scraped_job_is_one_that_the_rules_look_for(self):
        for name, kind in {"monitoring": "ServiceMonitor", "keda": "PodMonitor"}.items():
            with self.subTest(kind=kind):
                items = chart.by_helm4(over(sets()[name], {"nameOverride": "other", "fullnameOverride": "other"}))
                monitor = chart.only(items, kind)["spec"]
                if kind == "ServiceMonitor":
                    labels = chart.only(items, "Service", "-admin")["metadata"]["labels"]
                    ports = [p["name"] for p in chart.only(items, "Service", "-admin")["spec"]["ports"]]
                    endpoint = monitor["endpoints"][0]
                else:
                    template = chart.deployment(items)["spec"]["template"]
                    labels = template["metadata"]["labels"]
                    ports = [p["name"] for p in template["spec"]["containers"][0]["ports"]]
                    endpoint = monitor["podMetricsEndpoints"][0]
                self.assertLessEqual(monitor["selector"]["matchLabels"].items(), labels.items())
                self.assertIn(endpoint["port"], ports)
                self.assertEqual(labels[monitor["jobLabel"]], "fanfare")
                self.assertEqual(monitor["namespaceSelector"], {"matchNames": ["games"]})
        for rule in reference.alert_rules():
            for job in re.findall(r'job=~?"([^"]*)"', rule["expr"]):
                self.assertRegex("fanfare", f"^(?:{job})$")


class Dashboards(unittest.TestCase):
    def test_each_file_is_a_config_map_with_its_text(self):
        files = sorted((chart.CHART / "files" / "dashboards").glob("*.json"))
        for helm, render in HELMS.items():
            with self.subTest(helm=helm):
                maps = [o for o in render(BASE) if o["metadata"]["name"].startswith("demo-fanfare-dashboard-")]
                self.assertEqual(len(maps), len(files))
                for item in maps:
                    self.assertEqual(item["metadata"]["labels"]["grafana_dashboard"], "1")
                    self.assertEqual(item["metadata"]["annotations"]["grafana_folder"], "Fanfare")
                texts = {name: text for item in maps for name, text in item["data"].items()}
                wanted = {f"demo-fanfare-{f.name}": json.loads(f.read_text()) for f in files}
                self.assertEqual({name: json.loads(text) for name, text in texts.items()}, wanted)

    def test_they_may_live_in_grafanas_namespace(self):
        values = over(BASE, {"metrics": {"dashboards": {"namespace": "grafana", "labels": {"grafana_dashboard": None, "mine": "yes"}}}})
        for item in chart.by_helm4(values):
            if item["metadata"]["name"].startswith("demo-fanfare-dashboard-"):
                self.assertEqual(item["metadata"]["namespace"], "grafana")
                self.assertEqual(item["metadata"]["labels"]["mine"], "yes")
                self.assertNotIn("grafana_dashboard", item["metadata"]["labels"])


if __name__ == "__main__":
    unittest.main()
