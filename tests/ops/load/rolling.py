"""A rolling restart of three nodes under a steady chat, and what each way of leaving does to the clients.

    FANFARE_BIN=target/release/fanfare python3 tests/ops/load/rolling.py

Each node is told to go, and replaced at its addresses when it has ended, before the next one. Ways: `drain` (SIGTERM,
closes spread over drain.spread), `at-once` (SIGTERM, drain.spread = 0) and `kill` (SIGKILL). The reports are
target/ops/load/rolling-restart.json and .txt; it exits 1 when something was lost or `drain` broke its word.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.process import await_true  # noqa: E402
from lib.stack import Stack, answers, metric  # noqa: E402
from load.k6 import K6, REPORTS  # noqa: E402

SAMPLE_SECONDS = 0.25
WINDOW_SECONDS = 1.0
BACK_SECONDS = 15.0
NO_LIMITS = ("bad_request", "forbidden", "denied")
BINS = 16
BAR = 40


@dataclass
class Plan:
    """How big a restart is: the sockets, the node's settings, and how fast the chat goes."""

    rooms: int = 3
    members: int = 50
    rate: int = 4
    nodes: int = 3
    wait: float = 1.0
    spread: float = 4.0
    connects_per_second: int = 40

    @property
    def sockets(self):
        """Sockets in all."""
        return self.rooms * self.members


FULL = Plan(members=100, wait=5.0, spread=20.0, connects_per_second=60)


class Rates(threading.Thread):
    """Reads every node's count of opened connections, every 250 ms, and remembers each rise."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self._stack = stack
        self._over = threading.Event()
        self.samples = {}
        self.refused = {}

    def run(self):
        while not self._over.wait(SAMPLE_SECONDS):
            for node in list(self._stack.nodes):
                try:
                    text = node.metrics()
                except OSError:
                    continue
                # A replaced node counts from 0 again, so a process is what is followed.
                opened = metric(text, "fanfare_connections_opened_total")
                self.samples.setdefault(node.pid, []).append((time.time(), opened))
                # What k6's setup tries on purpose is refused too, for reasons that are no limit.
                tried = sum(metric(text, "fanfare_connect_refused_total", reason=reason) for reason in NO_LIMITS)
                self.refused[node.pid] = metric(text, "fanfare_connect_refused_total") - tried

    def stop(self):
        """Ends the reading."""
        self._over.set()
        self.join()

    def peak(self, since, window):
        """The most connections a second that one node opened within such a window, after a time."""
        return max((peak_rate(samples, since, window) for samples in self.samples.values()), default=0.0)


def peak_rate(samples, since, window):
    """The largest rise a second over at least `window` seconds of (time, count), neighbours first."""
    taken = [sample for sample in samples if sample[0] >= since]
    best = 0.0
    for i, (start, before) in enumerate(taken):
        for at, count in taken[i + 1 :]:
            if at - start >= window:
                best = max(best, (count - before) / (at - start))
                break
    return best


@dataclass
class Restart:
    """One node's going: when it was told, how long the process stayed, its exit code, the closes after it."""

    told: float
    seconds: float = 0.0
    code: int = 0
    closes: list = field(default_factory=list)


def settings(way, plan):
    """The environment of the nodes for a way of leaving."""
    spread = plan.spread if way == "drain" else 0
    return {
        "FANFARE_DRAIN__WAIT": f"{int(plan.wait * 1000)}ms",
        "FANFARE_DRAIN__SPREAD": f"{int(spread * 1000)}ms",
        "FANFARE_LIMITS__CONNECTS_PER_SECOND": str(plan.connects_per_second),
        "FANFARE_WORKERS": "2",
    }


def restart_all(stack, way, plan):
    """Replaces each node in turn; waits after each until everybody is connected again."""
    restarts = []

    def everybody_is_in():
        return sum(node.metric("fanfare_connections") for node in stack.nodes) == plan.sockets

    for node in list(stack.nodes):
        await_true(everybody_is_in, BACK_SECONDS + 5, f"{plan.sockets} sockets")
        restart = Restart(told=time.time())
        if way == "kill":
            node.kill()
        else:
            node.terminate()
        restart.code = node.wait(plan.wait + plan.spread + 30)
        restart.seconds = time.time() - restart.told
        replaced = stack.start_node(at=node)
        await_true(lambda at=replaced: answers(f"{at.admin_url}/readyz"), 10, "ready node")
        restarts.append(restart)
    await_true(everybody_is_in, BACK_SECONDS + 5, f"{plan.sockets} sockets")
    return restarts


def run(way, plan):
    """One rolling restart; returns its report, a dict."""
    each = plan.wait + (plan.spread if way == "drain" else 0) + 4
    duration = plan.nodes * (each if way != "kill" else 4) + 6
    with Stack(nodes=plan.nodes, env=settings(way, plan)) as stack:
        rates = Rates(stack)
        rates.start()
        load = K6(
            "rolling-restart", stack, name=f"rolling-{way}", EVENTS="yes",
            ROOMS=plan.rooms, MEMBERS=plan.members, RATE=plan.rate, DURATION=f"{int(duration)}s",
            CONNECT_RATE=plan.connects_per_second / 3, GRACE="30s", P95_MS=os.environ.get("P95_MS", 3000),
        )
        try:
            restarts = restart_all(stack, way, plan)
            finished = load.wait()
        finally:
            load.stop()
            rates.stop()
    return describe(way, plan, finished, restarts, rates)


def describe(way, plan, finished, restarts, rates):
    """Puts together what k6, the nodes and the clock say."""
    first = restarts[0].told
    codes, back, refusals = {}, [], 0
    for event in finished.events:
        at = event["at"] / 1000
        match event["event"]:
            case "close":
                codes[str(event["code"])] = codes.get(str(event["code"]), 0) + 1
                told = max((r for r in restarts if r.told <= at), key=lambda r: r.told, default=None)
                if told:
                    told.closes.append(at - told.told)
            case "back":
                back.append(event["ms"])
            case "refused":
                refusals += at >= first
    metrics = finished.report["metrics"]
    count = {name: metrics.get(name, {}).get("count", 0) for name in (
        "broadcasts_received", "broadcasts_duplicated", "broadcasts_out_of_order", "gaps", "broadcasts_resumed",
    )}
    return {
        "way": way,
        "k6": {"code": finished.code, "failed": finished.failed, "page": finished.page, "errors": finished.errors},
        "records": {**count, "lost": metrics["delivery_ok"]["fails"]},
        "closes": {
            "by_code": codes,
            "window_seconds": plan.spread if way == "drain" else 0,
            "offsets_seconds": [sorted(round(offset, 3) for offset in r.closes) for r in restarts],
        },
        "nodes": [{"exit_code": r.code, "seconds": round(r.seconds, 2)} for r in restarts],
        "back_ms": quantiles(back),
        "attempts_that_failed": refusals,
        "refused_by_nodes": int(sum(rates.refused.values())),
        "new_connections_per_second": {
            "limit_of_a_node": plan.connects_per_second,
            "peak_in_1_s": round(rates.peak(first, WINDOW_SECONDS), 1),
            "peak_in_250_ms": round(rates.peak(first, SAMPLE_SECONDS * 0.8), 1),
        },
    }


def quantiles(values):
    """Median, 95th percentile and largest of a list."""
    ranked = sorted(values)
    if not ranked:
        return {"count": 0}
    at = lambda share: ranked[min(len(ranked) - 1, int(share * len(ranked)))]  # noqa: E731
    return {"count": len(ranked), "median": at(0.5), "p95": at(0.95), "max": ranked[-1]}


def histogram(offsets, end):
    """Counts of offsets in equal bins from 0 to `end`; what is later counts in the last."""
    bins = [0] * BINS
    for offset in offsets:
        bins[min(BINS - 1, max(0, int(offset / end * BINS)))] += 1
    return bins


def page(report):
    """The report for a person, with the closes of each node over time."""
    records, rate, back = report["records"], report["new_connections_per_second"], report["back_ms"]
    lines = [
        f"rolling restart, {report['way']}",
        f"  records   {records['broadcasts_received']} delivered ({records['broadcasts_resumed']} by a rejoin), "
        f"{records['lost']} lost, {records['broadcasts_duplicated']} twice, "
        f"{records['broadcasts_out_of_order']} out of order, {records['gaps']} gaps",
        f"  closes    {report['closes']['by_code']}",
        f"  back      median {back.get('median')} ms, p95 {back.get('p95')} ms, max {back.get('max')} ms",
        f"  attempts  {report['attempts_that_failed']} failed; nodes refused {report['refused_by_nodes']} handshakes",
        f"  connects  at most {rate['peak_in_1_s']}/s on a node in 1 s ({rate['peak_in_250_ms']}/s in 250 ms), "
        f"limit {rate['limit_of_a_node']}/s",
    ]
    for number, offsets in enumerate(report["closes"]["offsets_seconds"]):
        node = report["nodes"][number]
        lines.append(f"  node {number}: {len(offsets)} closes, gone after {node['seconds']} s, exit code {node['exit_code']}")
        end = max([node["seconds"], *offsets, 2.0])
        bins = histogram(offsets, end)
        most = max([*bins, 1])
        for index, amount in enumerate(bins):
            lines.append(f"    {index * end / BINS:5.1f} s {amount:4} {'#' * round(amount * BAR / most)}")
    return "\n".join(lines) + "\n"


def save(reports):
    """Writes the reports as JSON and as text; returns the text."""
    text = "\n".join(page(report) for report in reports)
    (REPORTS / "rolling-restart.json").write_text(json.dumps(reports, indent=2) + "\n")
    (REPORTS / "rolling-restart.txt").write_text(text)
    return text


def main():
    """The full restart, each way; the exit code."""
    reports = [run(way, FULL) for way in ("drain", "at-once", "kill")]
    print(save(reports))
    for report in reports:
        if report["k6"]["code"] != 0:
            print(f"FAILED  {report['way']}: {', '.join(report['k6']['failed'])} {report['k6']['errors']}")
    return max(report["k6"]["code"] != 0 for report in reports)


if __name__ == "__main__":
    sys.exit(main())
