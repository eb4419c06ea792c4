"""The dashboards of the nodes: all of them, and one.

It draws nothing; `generate.py` turns these lists into JSON.
"""

from words import Dashboard, Panel, heat, line, of, quantile, quantiles, rate, stack, stat

IN_TIME = rate("fanfare_delivery_seconds_bucket", more=['le="0.25"']) + " / "
IN_TIME += rate("fanfare_delivery_seconds_count")
JOINED = rate("fanfare_joins_total", more=['status="ok"']) + " / " + rate("fanfare_joins_total")
BUSY = f"rate({of('fanfare_worker_turn_seconds_sum')}[$__rate_interval])"

CONNECTIONS = [
    stack(
        "Connections by node",
        "Open connections. Unequal heights are skew: connections stay where they are until they end.",
        "short",
        (f"sum by (instance) ({of('fanfare_connections')})", "{{instance}}"),
    ),
    line(
        "Opened and closed",
        "Connections opened and closed each second. A spike of both is a reconnect storm.",
        "cps",
        (rate("fanfare_connections_opened_total"), "opened"),
        (rate("fanfare_connections_closed_total"), "closed"),
    ),
    stack(
        "Close codes",
        "Closed connections each second by code: 1001 idle or gone, 1006 vanished, 1008 policy, 1012 drain, 1013 too slow, 1011 a fault of the node.",
        "cps",
        (rate("fanfare_connections_closed_total", "code"), "{{code}}"),
    ),
    stack(
        "Refused handshakes",
        "Handshakes refused each second by reason: limits, tokens (denied), origins (forbidden), draining.",
        "cps",
        (rate("fanfare_connect_refused_total", "reason"), "{{reason}}"),
    ),
    line(
        "Of the limit",
        "Connections as a share of what each node may have. At 100 % it is not ready and answers with 503.",
        "percentunit",
        (
            f"sum by (instance) ({of('fanfare_connections')}) / sum by (instance) ({of('fanfare_connections_limit')})",
            "{{instance}}",
        ),
        high=1,
    ),
    line(
        "By transport",
        "Open connections by transport.",
        "short",
        (f"sum by (transport) ({of('fanfare_connections')})", "{{transport}}"),
    ),
]

JOINS = [
    stack(
        "Channels",
        "Channels joined or joining now, by kind. A connection may have many.",
        "short",
        (f"sum by (kind) ({of('fanfare_channels')})", "{{kind}}"),
    ),
    line(
        "Joins",
        "Joins answered each second, by kind and status.",
        "ops",
        (rate("fanfare_joins_total", "kind", "status"), "{{kind}} {{status}}"),
    ),
    line(
        "Callbacks, 99th percentile",
        "How long a channel's callback takes, by kind and callback; joins read the past from the store.",
        "s",
        (quantile(0.99, "fanfare_handler_seconds", "kind", "callback"), "{{kind}} {{callback}}"),
    ),
    line(
        "Pasts read for joins",
        "From the node's memory of the newest records, or from the store.",
        "ops",
        (rate("fanfare_histories_total", "source"), "{{source}}"),
    ),
    line(
        "Replies",
        "Replies each second by status, heartbeats' included.",
        "ops",
        (rate("fanfare_replies_total", "status"), "{{status}}"),
    ),
    line(
        "Presences",
        "Presences of the nodes' own channels.",
        "short",
        (f"sum by (instance) ({of('fanfare_presence_entries')})", "{{instance}}"),
    ),
]

MESSAGES = [
    line(
        "Messages in",
        "Messages that reached a channel each second, by kind.",
        "ops",
        (rate("fanfare_messages_received_total", "kind"), "{{kind}}"),
    ),
    line(
        "Broadcasts",
        "Broadcasts made on a node (local) and taken from other nodes (remote), each second.",
        "ops",
        (rate("fanfare_broadcasts_total", "origin"), "{{origin}}"),
    ),
    line(
        "Deliveries",
        "Frames of broadcasts appended to outboxes each second.",
        "ops",
        (rate("fanfare_deliveries_total", "instance"), "{{instance}}"),
    ),
    heat(
        "Delivery",
        "From acceptance by a node to the write to the last socket.",
        "s",
        "fanfare_delivery_seconds",
    ),
    line(
        "Delivery by path",
        "The same: local on the node that accepted it, remote on the others (compares two machines' clocks).",
        "s",
        (quantile(0.5, "fanfare_delivery_seconds", "path"), "{{path}} p50"),
        (quantile(0.99, "fanfare_delivery_seconds", "path"), "{{path}} p99"),
    ),
    line(
        "Fan-out",
        "Deliveries a broadcast: how many sockets one reaches on a node.",
        "short",
        (
            f"{rate('fanfare_deliveries_total')} / {rate('fanfare_broadcasts_total')}",
            "deliveries a broadcast",
        ),
    ),
]

PRESSURE = [
    line(
        "Dropped deliveries",
        "Each second, by reason: slow (the client's outbox was full, it is closed), mailbox (the worker's was: told gap), serializer and transport (bytes for clients that can't have them).",
        "ops",
        (rate("fanfare_deliveries_dropped_total", "reason"), "{{reason}}"),
    ),
    line(
        "Refused messages",
        "Each second: above the message rate, and frames that were no message.",
        "ops",
        (rate("fanfare_rate_limited_total"), "rate limited"),
        (rate("fanfare_malformed_total"), "malformed"),
        (rate("fanfare_topics_refused_total"), "no room for the topic"),
    ),
    line(
        "Busy workers",
        "The share of the time that each worker fans out. A worker is one thread.",
        "percentunit",
        (BUSY, "{{instance}} {{worker}}"),
        high=1,
    ),
]

BROKER = [
    line(
        "Linked to Redis",
        "1 while other nodes' publishes arrive; always 1 on a single node.",
        "short",
        (of("fanfare_broker_connected"), "{{instance}}"),
        high=1,
    ),
    line(
        "Publish and lag",
        "From queueing a publish to Redis' answer, and from acceptance on one node to arrival on another (compares clocks).",
        "s",
        (quantile(0.99, "fanfare_broker_publish_seconds"), "publish p99"),
        (quantile(0.5, "fanfare_broker_lag_seconds"), "lag p50"),
        (quantile(0.99, "fanfare_broker_lag_seconds"), "lag p99"),
    ),
    line(
        "Repairs",
        "Each second: healed were sent again by their node, duplicates dropped, lost given up on, refused by a full queue, malformed of another version, reconnects of the link.",
        "ops",
        (rate("fanfare_broker_healed_total"), "healed"),
        (rate("fanfare_broker_duplicates_total"), "duplicates"),
        (rate("fanfare_broker_lost_total"), "lost"),
        (rate("fanfare_broker_refused_total"), "refused"),
        (rate("fanfare_broker_malformed_total"), "malformed"),
        (rate("fanfare_broker_reconnects_total"), "reconnects"),
    ),
]

WRITER = [
    line(
        "Queue",
        "Records that wait for their commit, as a share of what the lanes hold. A lane that is full refuses.",
        "percentunit",
        (f"{of('fanfare_writer_queue')} / {of('fanfare_writer_queue_limit')}", "{{instance}}"),
    ),
    line(
        "Commit",
        "How long a stored batch took. Replies and broadcasts of records wait for it.",
        "s",
        *quantiles("fanfare_writer_commit_seconds"),
    ),
    line(
        "Records a batch",
        "Mean size of a transaction; grows with load.",
        "short",
        (
            f"{rate('fanfare_writer_batch_records_sum')} / {rate('fanfare_writer_batch_records_count')}",
            "records",
        ),
    ),
    line(
        "Records",
        "What became of records, each second.",
        "ops",
        (rate("fanfare_records_total", "outcome"), "{{outcome}}"),
    ),
    line(
        "Retries and refusals",
        "Batches tried again, and records refused by a full lane or by the store, each second.",
        "ops",
        (rate("fanfare_writer_retries_total"), "retries"),
        (rate("fanfare_writer_refused_total"), "refused"),
    ),
    line(
        "Holes",
        "Records read from the store because Redis lost them or a node died, and ids that are no longer kept, each second.",
        "ops",
        (rate("fanfare_records_healed_total"), "healed"),
        (rate("fanfare_records_gone_total"), "gone"),
    ),
]

PROCESS = [
    line(
        "Memory a connection",
        "Resident memory by open connections; flat when nothing leaks.",
        "bytes",
        (
            f"{of('process_resident_memory_bytes')} / on (job, instance) sum by (job, instance) ({of('fanfare_connections')})",
            "{{instance}}",
        ),
    ),
    line(
        "Memory of the limit",
        "Resident memory as a share of what the node may use.",
        "percentunit",
        (f"{of('process_resident_memory_bytes')} / {of('fanfare_memory_limit_bytes')}", "{{instance}}"),
        high=1,
    ),
    line(
        "CPU",
        "Cores in use.",
        "short",
        (f"rate({of('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),
    ),
    line(
        "File descriptors",
        "Open ones as a share of the process's limit.",
        "percentunit",
        (f"{of('process_open_fds')} / {of('process_max_fds')}", "{{instance}}"),
        high=1,
    ),
    line(
        "Threads",
        "One a worker, one for control, and the store's.",
        "short",
        (of("process_threads"), "{{instance}}"),
    ),
    line(
        "Nodes by version",
        "More than one version for long is a rollout that has stopped.",
        "short",
        (f"count by (version) ({of('fanfare_build_info')})", "{{version}}"),
    ),
]

OVERVIEW = Dashboard(
    name="overview",
    uid="fanfare-overview",
    title="Fanfare: overview",
    about="Every node at once: who is connected, what is delivered and how fast, what holds it up.",
    rows=[
        (
            "Is all well?",
            [
                stat(
                    "Nodes that are ready",
                    "Nodes that would let another client in.",
                    "short",
                    f"sum({of('fanfare_ready')})",
                ),
                stat("Connections", "Open connections.", "short", f"sum({of('fanfare_connections')})"),
                stat(
                    "Joins that succeed",
                    "Share of the joins that are answered with ok.",
                    "percentunit",
                    JOINED,
                    high=1,
                ),
                stat(
                    "Delivery, 99th percentile",
                    "From acceptance by a node to the write to the last socket.",
                    "s",
                    quantile(0.99, "fanfare_delivery_seconds"),
                    steps=[(0.25, "orange"), (0.5, "red")],
                ),
                stat(
                    "Delivered within 250 ms",
                    "The objective is 99.9 % of the broadcasts.",
                    "percentunit",
                    IN_TIME,
                    high=1,
                ),
                stat(
                    "Nodes that drain",
                    "Nodes that were told to go.",
                    "short",
                    f"sum({of('fanfare_draining')})",
                    steps=[(1, "blue")],
                ),
            ],
        ),
        ("Connections", CONNECTIONS),
        ("Channels and joins", JOINS),
        ("Messages and fan-out", MESSAGES),
        ("Back-pressure", PRESSURE),
        ("Between nodes: Redis", BROKER),
        ("Records: the writer and its database", WRITER),
        ("Processes", PROCESS),
    ],
)

NODE = Dashboard(
    name="node",
    uid="fanfare-node",
    title="Fanfare: one node",
    about="One node from the inside: its workers, its callbacks, its link to Redis and its writer.",
    many=False,
    rows=[
        (
            "State",
            [
                stat(
                    "Ready",
                    "1 while another client would be let in.",
                    "bool_yes_no",
                    of("fanfare_ready"),
                    low=None,
                ),
                stat(
                    "Draining", "1 from the signal to go on.", "bool_yes_no", of("fanfare_draining"), low=None
                ),
                stat(
                    "Up for",
                    "Since the process started.",
                    "s",
                    f"time() - {of('process_start_time_seconds')}",
                ),
                Panel(
                    "stat",
                    "Version",
                    "The version that runs.",
                    "short",
                    [(of("fanfare_build_info"), "{{version}}")],
                    width=4,
                    height=4,
                    text="name",
                ),
                stat("Connections", "Open connections.", "short", f"sum({of('fanfare_connections')})"),
                stat("Memory", "Resident memory.", "bytes", of("process_resident_memory_bytes")),
            ],
        ),
        (
            "Workers",
            [
                stack(
                    "Sockets by worker",
                    "Open connections of each worker; the kernel spreads them by address and port.",
                    "short",
                    (of("fanfare_worker_sockets"), "{{worker}}"),
                ),
                PRESSURE[2],
                heat(
                    "A worker's turn",
                    "How long one batch of a worker's mailbox, or one of its writes to sockets, takes; heartbeats and joins wait for it.",
                    "s",
                    "fanfare_worker_turn_seconds",
                ),
            ],
        ),
        ("Clients", CONNECTIONS[1:4] + JOINS[:3]),
        ("Messages and fan-out", MESSAGES),
        ("Back-pressure", [*PRESSURE[:2], JOINS[3]]),
        ("Between nodes: Redis", BROKER),
        ("Records: the writer and its database", WRITER),
        (
            "Players and process",
            [
                line(
                    "Players",
                    "Players that tokens named, by where they were found.",
                    "ops",
                    (rate("fanfare_players_loaded_total", "from"), "{{from}}"),
                ),
                PROCESS[2],
                PROCESS[3],
            ],
        ),
    ],
)
