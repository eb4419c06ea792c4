"""Tests of the private cluster: that it starts, takes and replaces nodes, and leaves nothing behind.

They need redis-server, Postgres, prometheus and `$FANFARE_BIN`.
"""

import json
import unittest
from pathlib import Path

from .process import await_true
from .stack import Stack, answers, fetch, metric


class StackTest(unittest.TestCase):
    """One cluster, looked at from all sides: starting one takes seconds."""

    def test_a_cluster_starts_replaces_a_node_and_is_gone_afterwards(self):
        with Stack(nodes=2) as stack:
            first, second = stack.nodes
            self.assertNotEqual(first.client_url, second.client_url)
            for node in stack.nodes:
                self.assertTrue(answers(f"{node.admin_url}/readyz"))
            url = stack.prometheus()
            query = f"{url}/api/v1/query?query=sum(up)"

            def scraped():
                result = json.loads(fetch(query))["data"]["result"]
                return result and result[0]["value"][1] == "2"

            await_true(scraped, 20, "two scraped nodes")
            self.assertEqual(stack.sql("select 1 + 1"), "2")

            first.terminate()
            self.assertEqual(first.wait(), 0)
            replaced = stack.start_node(at=first)
            self.assertEqual(replaced.client_url, first.client_url)
            self.assertNotEqual(replaced.pid, first.pid)
            self.assertIs(stack.nodes[0], replaced)
            kept = [stack.dir, *(Path(f"/proc/{node.pid}") for node in stack.nodes)]
            self.assertTrue(all(path.exists() for path in kept))
        self.assertFalse(any(path.exists() for path in kept), "all is gone")

    def test_nodes_without_redis_and_postgres_have_a_database_each(self):
        with Stack(nodes=2, redis=False, postgres=False) as stack:
            self.assertEqual(len(list(stack.dir.glob("node-*/fanfare.db"))), 2)

    def test_a_node_that_cannot_start_says_why(self):
        with self.assertRaisesRegex(RuntimeError, "no_such_key.*is not a setting"):
            with Stack(nodes=1, redis=False, postgres=False, config="no_such_key = 1\n"):
                pass


class MetricTest(unittest.TestCase):
    """Reading a Prometheus text."""

    def test_samples_with_the_labels_are_summed(self):
        text = 'a_total{x="1",y="2"} 3\na_total{x="1",y="3"} 4\na_total_more 9\na_total{x="2"} 5\n'
        self.assertEqual(metric(text, "a_total"), 12)
        self.assertEqual(metric(text, "a_total", x="1"), 7)
        self.assertEqual(metric(text, "b_total"), 0)


if __name__ == "__main__":
    unittest.main()
