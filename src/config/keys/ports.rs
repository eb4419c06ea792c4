//! The settings under `[transport]`, `[broker]` and `[store]`; the URLs are settings of the node.
//!
//! Defaults are those of the modules' own `Config`; a test compares them.

use std::path::PathBuf;
use std::time::Duration;

use super::{Key, Unit, put, put_some};
use crate::config::text::{GIB, KIB, boolean, bytes, count, duration, words};
use crate::store::SynchronousCommit;
use crate::transport::{Network, OriginPolicy};

/// Shortest timeout.
const SHORT: Duration = Duration::from_millis(10);
/// Longest timeout.
const LONG: Duration = Duration::from_secs(600);

pub(super) const TRANSPORT: &[Key] = &[
    Key::new(
        "transport",
        "origins",
        "host",
        Unit::List,
        "Which pages may connect: `off` (all), `host` (of the host that the request names), `host:NAME`, `connection` (same scheme, host and port), or origins such as `https://*.example.com`.",
        |draft, text| put(&mut draft.settings.transport.origins, origins(text)),
    ),
    Key::new(
        "transport",
        "longpoll",
        "true",
        Unit::Boolean,
        "Whether long-poll is served beside the WebSocket.",
        |draft, text| put(&mut draft.settings.transport.longpoll, boolean(text)),
    ),
    Key::new(
        "transport",
        "longpoll_window",
        "10s",
        Unit::Duration,
        "How long a poll waits for a frame; a session ends 1.5 times this after its last poll. Clients wait 20 s for the answer.",
        |draft, text| {
            put(
                &mut draft.settings.transport.longpoll_window,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "transport",
        "longpoll_owner_timeout",
        "2s",
        Unit::Duration,
        "How long another node that has a session may take to say so. Then: the session counts as gone.",
        |draft, text| {
            put(
                &mut draft.settings.transport.longpoll_owner_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "transport",
        "trusted_proxies",
        "",
        Unit::List,
        "Networks of the proxies whose `X-Forwarded-For` tells a client's address, such as `10.0.0.0/8`; of others the header counts for nothing.",
        |draft, text| {
            put(
                &mut draft.settings.transport.trusted_proxies,
                networks(text),
            )
        },
    ),
    Key::new(
        "transport",
        "proxy_protocol",
        "false",
        Unit::Boolean,
        "Whether the trusted proxies, and nobody else, begin each connection with a PROXY protocol header, version 1 or 2; its source is the client's address. Needs `trusted_proxies`.",
        |draft, text| put(&mut draft.settings.transport.proxy_protocol, boolean(text)),
    ),
];

pub(super) const BROKER: &[Key] = &[
    Key::new(
        "broker",
        "prefix",
        "fanfare:",
        Unit::Text,
        "What every channel name in Redis begins with; the same on every node.",
        |draft, text| put(&mut draft.settings.broker.prefix, words(text, 1, 64)),
    ),
    Key::new(
        "broker",
        "ping_interval",
        "1s",
        Unit::Duration,
        "How often the link to Redis is tried when nothing arrives.",
        |draft, text| {
            put(
                &mut draft.settings.broker.ping_interval,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "broker",
        "ping_timeout",
        "3s",
        Unit::Duration,
        "How long an answer may take before the link counts as down.",
        |draft, text| {
            put(
                &mut draft.settings.broker.ping_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "broker",
        "publish_queue",
        "65536",
        Unit::Count,
        "Publishes that wait for Redis. Then: the publish is refused.",
        |draft, text| {
            put(
                &mut draft.settings.broker.publish_queue,
                count(text, 16, 100_000_000),
            )
        },
    ),
    Key::new(
        "broker",
        "publish_queue_bytes",
        "64MiB",
        Unit::Bytes,
        "Bytes that wait for Redis. Then: the publish is refused.",
        |draft, text| {
            put(
                &mut draft.settings.broker.publish_queue_bytes,
                bytes(text, 64 * KIB, 64 * GIB),
            )
        },
    ),
    Key::new(
        "broker",
        "ring_letters",
        "65536",
        Unit::Count,
        "Published letters kept for nodes that miss them. Then: the oldest is dropped.",
        |draft, text| {
            put(
                &mut draft.settings.broker.ring_letters,
                count(text, 16, 100_000_000),
            )
        },
    ),
    Key::new(
        "broker",
        "ring_bytes",
        "32MiB",
        Unit::Bytes,
        "Bytes of published letters kept for nodes that miss them. Then: the oldest is dropped.",
        |draft, text| {
            put(
                &mut draft.settings.broker.ring_bytes,
                bytes(text, 64 * KIB, 64 * GIB),
            )
        },
    ),
    Key::new(
        "broker",
        "cluster_lanes",
        "16",
        Unit::Count,
        "Lanes over which topics are spread in a Redis cluster, the same on every node; 0: no sharded pub/sub.",
        |draft, text| {
            put(
                &mut draft.settings.broker.cluster_lanes,
                count(text, 0, 256),
            )
        },
    ),
    Key::new(
        "broker",
        "join_timeout",
        "5s",
        Unit::Duration,
        "How long a subscription may go unacknowledged while Redis is up. Then: the join is refused.",
        |draft, text| {
            put(
                &mut draft.settings.broker.join_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "broker",
        "ca_file",
        "",
        Unit::Text,
        "PEM file of the authority that signed Redis' certificate.",
        |draft, text| {
            put_some(
                &mut draft.settings.broker.ca_file,
                words(text, 1, 4_096).map(PathBuf::from),
            )
        },
    )
    .by_default("the public web's authorities"),
    Key::new(
        "broker",
        "subscribe_batch",
        "512",
        Unit::Count,
        "Topics in one SUBSCRIBE command.",
        |draft, text| {
            put(
                &mut draft.settings.broker.subscribe_batch,
                count(text, 1, 100_000),
            )
        },
    ),
    Key::new(
        "broker",
        "reconnect_max",
        "2s",
        Unit::Duration,
        "Longest delay between attempts to connect to Redis.",
        |draft, text| {
            put(
                &mut draft.settings.broker.reconnect_max,
                duration(text, SHORT, LONG),
            )
        },
    ),
];

pub(super) const STORE: &[Key] = &[
    Key::new(
        "store",
        "pool_size",
        "8",
        Unit::Count,
        "Connections to Postgres.",
        |draft, text| put(&mut draft.settings.store.pool_size, count(text, 1, 1_000)),
    ),
    Key::new(
        "store",
        "connect_timeout",
        "5s",
        Unit::Duration,
        "How long connecting to Postgres may take.",
        |draft, text| {
            put(
                &mut draft.settings.store.connect_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "store",
        "statement_timeout",
        "10s",
        Unit::Duration,
        "How long a statement may take.",
        |draft, text| {
            put(
                &mut draft.settings.store.statement_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "store",
        "lock_timeout",
        "5s",
        Unit::Duration,
        "How long a statement may wait for a lock.",
        |draft, text| {
            put(
                &mut draft.settings.store.lock_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "store",
        "idle_in_transaction_timeout",
        "10s",
        Unit::Duration,
        "How long a transaction may do nothing, so that a vanished node holds no topic.",
        |draft, text| {
            put(
                &mut draft.settings.store.idle_in_transaction_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "store",
        "tcp_user_timeout",
        "10s",
        Unit::Duration,
        "How long bytes sent to Postgres may stay unacknowledged.",
        |draft, text| {
            put(
                &mut draft.settings.store.tcp_user_timeout,
                duration(text, SHORT, LONG),
            )
        },
    ),
    Key::new(
        "store",
        "synchronous_commit",
        "on",
        Unit::Word,
        "Postgres' `synchronous_commit`: `on`, `remote_apply`, or the weaker `remote_write`, `local`, `off`.",
        |draft, text| {
            put(
                &mut draft.settings.store.synchronous_commit,
                synchronous_commit(text),
            )
        },
    ),
    Key::new(
        "store",
        "lanes",
        "4",
        Unit::Count,
        "Lanes of the writer: transactions under way at once.",
        |draft, text| put(&mut draft.settings.store.lanes, count(text, 1, 256)),
    ),
    Key::new(
        "store",
        "batch_records",
        "512",
        Unit::Count,
        "Records in one transaction.",
        |draft, text| {
            put(
                &mut draft.settings.store.batch_records,
                count(text, 1, 10_000),
            )
        },
    ),
    Key::new(
        "store",
        "batch_bytes",
        "1MiB",
        Unit::Bytes,
        "Payloads in one transaction.",
        |draft, text| put(&mut draft.settings.store.batch_bytes, bytes(text, KIB, GIB)),
    ),
    Key::new(
        "store",
        "lane_bytes",
        "64MiB",
        Unit::Bytes,
        "Bytes that wait in one lane. Then: reply `unavailable`.",
        |draft, text| {
            put(
                &mut draft.settings.store.lane_bytes,
                bytes(text, 64 * KIB, 64 * GIB),
            )
        },
    ),
    Key::new(
        "store",
        "retry_max",
        "1s",
        Unit::Duration,
        "Longest delay between attempts at a batch.",
        |draft, text| {
            put(
                &mut draft.settings.store.retry_max,
                duration(text, SHORT, LONG),
            )
        },
    ),
];

fn origins(text: &str) -> Result<OriginPolicy, String> {
    OriginPolicy::parse(text).map_err(|error| {
        let words = "must be off, host, host:NAME, connection or origins such as //example.com";
        if error.text == text {
            words.to_owned()
        } else {
            format!("{words}: {error}")
        }
    })
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    let read = |one: &str| Network::parse(one.trim()).map_err(|error| error.to_string());
    let words = |error| format!("must be networks such as 10.0.0.0/8 or fd00::/8: {error}");
    match text {
        "" => Ok(Vec::new()),
        _ => text
            .split(',')
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(words),
    }
}

fn synchronous_commit(text: &str) -> Result<SynchronousCommit, String> {
    text.parse()
        .map_err(|error: crate::store::NotSynchronousCommit| error.to_string())
}
