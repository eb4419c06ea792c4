"""Tests of the smoke set: it passes on a cluster that works, and fails by name on one that does not.

Nodes that are told different channel prefixes share Redis and hear nothing of each other: the break of these tests.
"""

import unittest
from contextlib import contextmanager

from lib.stack import Stack

from load.k6 import K6
from load.smoke_set import SET, run_set

# The nodes of the tests are debug builds on a machine with other work: times prove nothing here, deliveries do.
P95_MS = 3000


class SmokeSetTest(unittest.TestCase):
    """A cluster that works."""

    def test_the_set_passes_on_two_nodes_with_redis_and_postgres(self):
        with Stack(nodes=2) as stack:
            runs = run_set(stack, show=lambda page: None, P95_MS=P95_MS)
            crossed = sum(node.metric("fanfare_broadcasts_total", origin="remote") for node in stack.nodes)
        for script, run in runs.items():
            with self.subTest(script):
                self.assertEqual(run.code, 0, run.page + run.errors)
                self.assertTrue(run.report["passed"])
                self.assertEqual(run.errors.strip(), "")
        self.assertEqual(list(runs), list(SET))
        self.assertGreater(crossed, 100, "broadcasts went from node to node")

    def test_the_report_has_what_later_runs_are_compared_with(self):
        with Stack(nodes=2) as stack:
            run = K6("rooms", stack, TOPICS=10, MEMBERS=10, MESSAGES=5, P95_MS=P95_MS).wait()
        self.assertEqual(run.code, 0, run.page + run.errors)
        report = run.report
        self.assertEqual((report["script"], report["delivery_ratio"]), ("rooms", 1))
        self.assertEqual(report["metrics"]["broadcasts_received"]["count"], 2 * 10 * 5 * 5)
        self.assertEqual(report["metrics"]["broadcast_latency_ms"]["count"], 2 * 10 * 5 * 5)
        self.assertIn("100 % (500 of 500)", run.page)


class BrokenTest(unittest.TestCase):
    """Clusters that do not deliver: each run fails, and says by which threshold."""

    def check(self, stack, script, crossed, kept=(), **plan):
        run = K6(script, stack, name=f"broken-{script}", **{"P95_MS": P95_MS, **plan}).wait()
        self.assertEqual(run.code, 99, run.page + run.errors)
        self.assertFalse(run.report["passed"])
        for metric in crossed:
            self.assertIn(metric, run.failed, run.page)
            self.assertIn(f"FAIL threshold: {metric}", run.page)
        for metric in kept:
            self.assertNotIn(metric, run.failed, run.page)
        return run

    def test_nodes_that_do_not_hear_each_other_fail_by_delivery(self):
        with apart() as stack:
            run = self.check(
                stack, "rooms", ["delivery_ok", "broadcasts_received"],
                TOPICS=4, TOPICS_EACH=1, MEMBERS=16, MESSAGES=5, GRACE="2s",
            )
            # Members are on the two nodes in turn, and only those beside the publisher got anything.
            self.assertEqual(run.report["delivery_ratio"], 0.5)
            self.check(stack, "presence", ["delivery_ok"], MEMBERS=8, ROUNDS=1, GRACE="2s")

    def test_records_that_only_the_database_carries_fail_by_latency_alone(self):
        # One publisher: a node that stores records itself would find the others' at once, by the hole before its own.
        # So the other node has only its comparison of positions with the store, every 5 s.
        with apart() as stack:
            self.check(
                stack, "chat-fanout", ["broadcast_latency_ms"], kept=["delivery_ok", "broadcasts_duplicated"],
                PUBLISHERS=1, MEMBERS=6, MESSAGES=20, RATE=5, GRACE="20s", P95_MS=1000,
            )

    def test_nodes_without_redis_and_a_common_database_fail_by_delivery(self):
        with Stack(nodes=2, redis=False, postgres=False) as stack:
            self.check(stack, "chat-fanout", ["delivery_ok"], MEMBERS=6, MESSAGES=10, GRACE="2s")

    def test_topics_that_nobody_can_join_fail_by_delivery(self):
        with Stack(nodes=1, redis=False, postgres=False, config="") as stack:
            run = self.check(
                stack, "rooms", ["delivery_ok", "checks"], TOPICS=2, TOPICS_EACH=1, MEMBERS=4, MESSAGES=2, GRACE="1s"
            )
            self.assertEqual(run.report["delivery_ratio"], 0)

    def test_a_wrong_secret_stops_the_run_before_it_starts(self):
        with Stack(nodes=1, redis=False, postgres=False) as stack:
            stack.secret = "not the secret of these nodes 0123456789abcdef0123456789abcdef"
            run = K6("chat-fanout", stack, name="broken-secret").wait()
            self.assertNotEqual(run.code, 0)
            self.assertIn("refuses us", run.errors + run.page)

    def test_a_node_that_is_not_there_stops_the_run_before_it_starts(self):
        with Stack(nodes=2, redis=False, postgres=False) as stack:
            stack.nodes[1].kill()
            run = K6("smoke", stack, name="broken-node").wait()
            self.assertNotEqual(run.code, 0)
            self.assertIn("does not answer as a socket", run.errors + run.page)


@contextmanager
def apart():
    """Two nodes that share Redis and Postgres and do not hear each other."""
    with Stack(nodes=0) as stack:
        for prefix in ("one:", "two:"):
            stack.start_node(env={"FANFARE_BROKER__PREFIX": prefix})
        yield stack


if __name__ == "__main__":
    unittest.main()
