"""What makes each alert fire, and what is just not enough: one case an alert.

It holds no logic; `test_rules.py` plays each case through promtool.
"""

JOB = 'namespace="prod",job="fanfare"'
A, B = f'{JOB},instance="a:4001"', f'{JOB},instance="b:4001"'


class Case:
    """Series that make an alert fire at a time, and others that don't.

    `at`: minutes after the start; `fires`, and each of `quiet`: series in promtool's notation, a sample each 30 s;
    `value`: how the alert's text shows its value; `labels`: what the alert has besides namespace and job.
    """

    def __init__(self, alert, at, fires, *quiet, value="", **labels):
        self.alert, self.at, self.fires, self.quiet = alert, at, fires, quiet
        self.value, self.labels = value, labels


def late(*parts):
    """Broadcasts at 200 a minute; parts are (share that takes longer than 250 ms, minutes)."""
    name, at = "fanfare_delivery_seconds", f'{A},path="local"'
    values, so_far = [], 0
    for share, minutes in parts:
        each = round(100 * (1 - share), 2)
        values.append(f"{so_far}+{each}x{2 * minutes - 1}")
        so_far = round(so_far + each * 2 * minutes, 2)
    return {
        f'{name}_bucket{{{at},le="0.25"}}': " ".join(values),
        f'{name}_bucket{{{at},le="0.5"}}': "0+100x840",
        f'{name}_bucket{{{at},le="+Inf"}}': "0+100x840",
        f"{name}_count{{{at}}}": "0+100x840",
    }


def quantile(family, edge, more=""):
    """Observations all of which are in the bucket (`edge` / 2, `edge`]."""
    at = A + more
    return {
        f'{family}_bucket{{{at},le="{edge / 2}"}}': "0x60",
        f'{family}_bucket{{{at},le="{edge}"}}': "0+60x60",
        f'{family}_bucket{{{at},le="+Inf"}}': "0+60x60",
    }


NODE = {"instance": "a:4001"}

CASES = [
    Case("FanfareNodeDown", 5, {f"up{{{A}}}": "1 0x20"}, {f"up{{{A}}}": "1 0x2 1x20"}, **NODE),
    Case(
        "FanfareNoNodeReady",
        5,
        {f"up{{{A}}}": "1x20", f"fanfare_ready{{{A}}}": "0x20", f"up{{{B}}}": "0x20"},
        {f"up{{{A}}}": "0x20", f"up{{{B}}}": "1x20", f"fanfare_ready{{{B}}}": "1x20"},
    ),
    Case(
        "FanfareAbsent",
        6,
        {'up{job="else"}': "1x20"},
        {f"up{{{A}}}": "0x20"},
        job=None,
        namespace=None,
    ),
    Case(
        "FanfareRestartLoop",
        30,
        {f"process_start_time_seconds{{{A}}}": "0+10x6 60x60"},
        {f"process_start_time_seconds{{{A}}}": "0+10x3 30x60"},
        value="6",
        **NODE,
    ),
    Case(
        "FanfareStuckDraining",
        5,
        {f"fanfare_draining{{{A}}}": "0 1x20"},
        {f"fanfare_draining{{{A}}}": "0 1x3 stale"},
        **NODE,
    ),
    Case(
        "FanfareVersionsDiffer",
        40,
        {
            f'fanfare_build_info{{{A},version="1.0.0"}}': "1x90",
            f'fanfare_build_info{{{B},version="1.1.0"}}': "1x90",
        },
        {
            f'fanfare_build_info{{{A},version="1.0.0"}}': "1x90",
            f'fanfare_build_info{{{B},version="1.0.0"}}': "1x90",
        },
    ),
    Case(
        "FanfareJoinErrors",
        20,
        {
            f'fanfare_joins_total{{{A},kind="score",status="ok"}}': "0+80x60",
            f'fanfare_joins_total{{{A},kind="score",status="error"}}': "0+20x60",
        },
        {
            f'fanfare_joins_total{{{A},kind="score",status="ok"}}': "0+95x60",
            f'fanfare_joins_total{{{A},kind="score",status="error"}}': "0+5x60",
        },
        {
            f'fanfare_joins_total{{{A},kind="score",status="ok"}}': "0+1x60",
            f'fanfare_joins_total{{{A},kind="score",status="error"}}': "0+1x60",
        },
        value="20%",
    ),
    Case(
        "FanfareDeliveryBudgetBurnsFast",
        120,
        late((0.02, 140)),
        late((0.01, 140)),
        late((0, 112), (0.1, 28)),
        late((0.1, 112), (0.01, 28)),
        value="2%",
    ),
    Case(
        "FanfareDeliveryBudgetBurnsSlowly",
        400,
        late((0.01, 420)),
        late((0.004, 420)),
        late((0, 380), (0.05, 40)),
        late((0.02, 350), (0.004, 70)),
        value="1%",
    ),
    Case(
        "FanfareDeliverySlow",
        20,
        quantile("fanfare_delivery_seconds", 1.0, ',path="local"'),
        quantile("fanfare_delivery_seconds", 0.5, ',path="local"'),
        value="995ms",
    ),
    Case(
        "FanfareReconnectStorm",
        65,
        {f'fanfare_connections_opened_total{{{A},transport="websocket"}}': "0+30x120 3600+3000x10"},
        {f'fanfare_connections_opened_total{{{A},transport="websocket"}}': "0+300x120 36300+1200x20"},
        {f'fanfare_connections_opened_total{{{A},transport="websocket"}}': "0+1x120 121+240x20"},
        value="100",
    ),
    Case(
        "FanfareAbnormalCloses",
        20,
        {
            f'fanfare_connections_closed_total{{{A},code="1006"}}': "0+60x60",
            f'fanfare_connections_closed_total{{{A},code="1001"}}': "0+20x60",
        },
        {
            f'fanfare_connections_closed_total{{{A},code="1006"}}': "0+20x60",
            f'fanfare_connections_closed_total{{{A},code="1001"}}': "0+60x60",
        },
        {
            f'fanfare_connections_closed_total{{{A},code="1006"}}': "0+12x60",
            f'fanfare_connections_closed_total{{{A},code="1001"}}': "0+4x60",
        },
        value="75%",
    ),
    Case(
        "FanfareInternalCloses",
        10,
        {f'fanfare_connections_closed_total{{{A},code="1011"}}': "0x9 1x20"},
        {f'fanfare_connections_closed_total{{{A},code="1011"}}': "7x30"},
    ),
    Case(
        "FanfareConnectionsRefused",
        20,
        {f'fanfare_connect_refused_total{{{A},reason="connections"}}': "0+60x60"},
        {
            f'fanfare_connect_refused_total{{{A},reason="draining"}}': "0+60x60",
            f'fanfare_connect_refused_total{{{A},reason="connections"}}': "0+15x60",
        },
        value="2",
        reason="connections",
    ),
    Case(
        "FanfareHandshakesDenied",
        20,
        {
            f'fanfare_connect_refused_total{{{A},reason="denied"}}': "0+60x60",
            f'fanfare_connections_opened_total{{{A},transport="websocket"}}': "0+30x60",
        },
        {
            f'fanfare_connect_refused_total{{{A},reason="denied"}}': "0+60x60",
            f'fanfare_connections_opened_total{{{A},transport="websocket"}}': "0+90x60",
        },
        {
            f'fanfare_connect_refused_total{{{A},reason="denied"}}': "0+15x60",
            f'fanfare_connections_opened_total{{{A},transport="websocket"}}': "0x60",
        },
    ),
    Case(
        "FanfareConnectionsNearLimit",
        20,
        {
            f'fanfare_connections{{{A},transport="websocket"}}': "80x60",
            f'fanfare_connections{{{A},transport="longpoll"}}': "10x60",
            f"fanfare_connections_limit{{{A}}}": "100x60",
        },
        {
            f'fanfare_connections{{{A},transport="websocket"}}': "80x60",
            f"fanfare_connections_limit{{{A}}}": "100x60",
        },
        value="90%",
        **NODE,
    ),
    Case(
        "FanfareDescriptorsNearLimit",
        20,
        {f"process_open_fds{{{A}}}": "90x60", f"process_max_fds{{{A}}}": "100x60"},
        {f"process_open_fds{{{A}}}": "80x60", f"process_max_fds{{{A}}}": "100x60"},
        value="90%",
        **NODE,
    ),
    Case(
        "FanfareMemoryNearLimit",
        20,
        {f"process_resident_memory_bytes{{{A}}}": "90x60", f"fanfare_memory_limit_bytes{{{A}}}": "100x60"},
        {f"process_resident_memory_bytes{{{A}}}": "85x60", f"fanfare_memory_limit_bytes{{{A}}}": "100x60"},
        value="90%",
        **NODE,
    ),
    Case(
        "FanfareConnectionsSkewed",
        30,
        {
            f'fanfare_connections{{{A},transport="websocket"}}': "1800x90",
            f'fanfare_connections{{{B},transport="websocket"}}': "200x90",
        },
        {
            f'fanfare_connections{{{A},transport="websocket"}}': "900x90",
            f'fanfare_connections{{{B},transport="websocket"}}': "100x90",
        },
        {
            f'fanfare_connections{{{A},transport="websocket"}}': "1400x90",
            f'fanfare_connections{{{B},transport="websocket"}}': "600x90",
        },
        value="1.8",
    ),
    Case(
        "FanfareSlowClients",
        20,
        {f'fanfare_deliveries_dropped_total{{{A},reason="slow"}}': "0+60x60"},
        {f'fanfare_deliveries_dropped_total{{{A},reason="slow"}}': "0+15x60"},
        value="2",
    ),
    Case(
        "FanfareMailboxFull",
        10,
        {f'fanfare_deliveries_dropped_total{{{A},reason="mailbox"}}': "0x14 5x20"},
        {f'fanfare_deliveries_dropped_total{{{A},reason="mailbox"}}': "5x60"},
        **NODE,
    ),
    Case(
        "FanfareWorkerBusy",
        20,
        {f'fanfare_worker_turn_seconds_sum{{{A},worker="0"}}': "0+27x60"},
        {f'fanfare_worker_turn_seconds_sum{{{A},worker="0"}}': "0+21x60"},
        value="90%",
        worker="0",
        **NODE,
    ),
    Case(
        "FanfareBrokerDisconnected",
        3,
        {f"fanfare_broker_connected{{{A}}}": "1 1 0x20"},
        {f"fanfare_broker_connected{{{A}}}": "1x4 0 1x20"},
        **NODE,
    ),
    Case(
        "FanfareBrokerLost",
        10,
        {f"fanfare_broker_lost_total{{{A}}}": "0x14 3x20"},
        {f"fanfare_broker_lost_total{{{A}}}": "3x40"},
        value="3",
    ),
    Case(
        "FanfareBrokerLag",
        20,
        quantile("fanfare_broker_lag_seconds", 1.0),
        quantile("fanfare_broker_lag_seconds", 0.25),
        value="995ms",
    ),
    Case(
        "FanfareBrokerMalformed",
        15,
        {f"fanfare_broker_malformed_total{{{A}}}": "0x10 1x30"},
        {f"fanfare_broker_malformed_total{{{A}}}": "1x40"},
    ),
    Case(
        "FanfareBrokerRefused",
        10,
        {f"fanfare_broker_refused_total{{{A}}}": "0x14 2x20"},
        {f"fanfare_broker_refused_total{{{A}}}": "2x40"},
        **NODE,
    ),
    Case(
        "FanfareWriterDrops",
        10,
        {f'fanfare_records_total{{{A},kind="score",outcome="unavailable"}}': "0x14 9x20"},
        {
            f'fanfare_records_total{{{A},kind="score",outcome="stored"}}': "0+9x40",
            f'fanfare_records_total{{{A},kind="score",outcome="unavailable"}}': "9x40",
        },
        value="9",
    ),
    Case(
        "FanfareWriterStalled",
        10,
        {f"fanfare_writer_queue{{{A}}}": "0x8 12x20", f"fanfare_writer_commit_seconds_count{{{A}}}": "7x40"},
        {f"fanfare_writer_queue{{{A}}}": "12x40", f"fanfare_writer_commit_seconds_count{{{A}}}": "0+7x40"},
        {f"fanfare_writer_queue{{{A}}}": "0x40", f"fanfare_writer_commit_seconds_count{{{A}}}": "7x40"},
        value="12",
        **NODE,
    ),
    Case(
        "FanfareWriterQueueHigh",
        10,
        {f"fanfare_writer_queue{{{A}}}": "24000x40", f"fanfare_writer_queue_limit{{{A}}}": "40000x40"},
        {f"fanfare_writer_queue{{{A}}}": "20000x40", f"fanfare_writer_queue_limit{{{A}}}": "40000x40"},
        value="60%",
        **NODE,
    ),
    Case(
        "FanfareWriterRetries",
        20,
        {f"fanfare_writer_retries_total{{{A}}}": "0+15x60"},
        {f"fanfare_writer_retries_total{{{A}}}": "0+2x60"},
        value="500m",
        **NODE,
    ),
    Case(
        "FanfareRecordsRefused",
        25,
        {f'fanfare_records_total{{{A},kind="score",outcome="refused"}}': "0+1x60"},
        {f'fanfare_records_total{{{A},kind="score",outcome="refused"}}': "0x10 1x5 1x60"},
    ),
    Case(
        "FanfareCommitsSlow",
        20,
        quantile("fanfare_writer_commit_seconds", 1.0),
        quantile("fanfare_writer_commit_seconds", 0.25),
        value="995ms",
    ),
]
