"""The dashboard of a k6 run beside the nodes it runs against.

It draws nothing; `generate.py` turns these lists into JSON.
"""

from nodes import PROCESS
from words import RUN, Dashboard, line, of, quantiles, rate, stat


def run(metric):
    """A metric of the chosen k6 run."""
    return metric + "{" + RUN + "}"


def run_rate(metric):
    """What is added to a counter of the run each second."""
    return f"sum(rate({run(metric)}[$__rate_interval]))"


def run_total(metric):
    """A counter of the run; 0 when k6, which has sent something, has never touched it."""
    return f"(sum({run(metric)}) or sum({run('k6_broadcasts_sent_total')}) * 0)"


def run_quantiles(metric):
    """The quantiles that k6 writes with K6_PROMETHEUS_RW_TREND_STATS='p(50),p(95),p(99),max'; in seconds."""
    return [(f"max({run(f'{metric}_{mark}')})", mark) for mark in ("p50", "p95", "p99", "max")]


K6 = Dashboard(
    name="k6",
    uid="fanfare-k6",
    title="Fanfare: a k6 run beside the server",
    about="What the load test saw, and what the nodes said at the same time. k6 writes to Prometheus itself.",
    runs=True,
    rows=[
        (
            "The run",
            [
                stat("Sockets of k6", "Open sockets of the run.", "short", f"sum({run('k6_sockets_open')})"),
                stat("Virtual users", "Those that run now.", "short", f"sum({run('k6_vus')})"),
                stat(
                    "Deliveries that arrived",
                    "Share of the expected deliveries that came.",
                    "percentunit",
                    f"avg({run('k6_delivery_ok_rate')})",
                    high=1,
                ),
                stat(
                    "Joins that succeeded",
                    "As k6 saw them.",
                    "percentunit",
                    f"avg({run('k6_join_ok_rate')})",
                    high=1,
                ),
                stat(
                    "Duplicates",
                    "Broadcasts that came twice. Must be 0.",
                    "short",
                    run_total("k6_broadcasts_duplicated_total"),
                    steps=[(1, "red")],
                ),
                stat(
                    "Out of order",
                    "Broadcasts that came before an earlier one. Must be 0.",
                    "short",
                    run_total("k6_broadcasts_out_of_order_total"),
                    steps=[(1, "red")],
                ),
            ],
        ),
        (
            "Delivery",
            [
                line(
                    "Broadcast latency of k6",
                    "From a publisher's push to a subscriber's receipt, in one process.",
                    "s",
                    *run_quantiles("k6_broadcast_latency_ms"),
                ),
                line(
                    "Delivery on the nodes",
                    "From acceptance by a node to the write to the last socket. What is missing to k6's figure is network, and k6 itself.",
                    "s",
                    *quantiles("fanfare_delivery_seconds"),
                ),
                line(
                    "Sent, expected, received",
                    "Of k6, each second, beside the deliveries of the nodes.",
                    "ops",
                    (run_rate("k6_broadcasts_sent_total"), "k6 sent"),
                    (run_rate("k6_broadcasts_expected_total"), "k6 expected"),
                    (run_rate("k6_broadcasts_received_total"), "k6 received"),
                    (rate("fanfare_deliveries_total"), "nodes delivered"),
                ),
            ],
        ),
        (
            "Connecting, joining, saving",
            [
                line(
                    "Connect",
                    "From the start of the handshake to the open socket.",
                    "s",
                    *run_quantiles("k6_ws_connect_ms"),
                ),
                line("Join", "From phx_join to its reply.", "s", *run_quantiles("k6_phx_join_ms")),
                line(
                    "Push and reply",
                    "From a push to its reply; a record's comes after its commit.",
                    "s",
                    *run_quantiles("k6_phx_push_reply_ms"),
                ),
                line(
                    "Back after a loss",
                    "From the loss of a socket to its last rejoin; only scripts that lose sockets have it.",
                    "s",
                    *run_quantiles("k6_reconnect_ms"),
                ),
                line(
                    "Connections",
                    "Of k6, and of the nodes.",
                    "short",
                    (f"sum({run('k6_sockets_open')})", "k6"),
                    (f"sum by (instance) ({of('fanfare_connections')})", "{{instance}}"),
                ),
                line(
                    "Commit",
                    "How long a stored batch took on the nodes.",
                    "s",
                    *quantiles("fanfare_writer_commit_seconds"),
                ),
                line(
                    "Refused and dropped",
                    "On the nodes, each second.",
                    "ops",
                    (rate("fanfare_connect_refused_total"), "handshakes refused"),
                    (rate("fanfare_deliveries_dropped_total"), "deliveries dropped"),
                    (rate("fanfare_joins_total", more=['status="error"']), "joins refused"),
                ),
            ],
        ),
        ("Processes", PROCESS[:3]),
    ],
)
