//! The settings under `[limits]` and `[drain]`.
//!
//! What happens at a limit is the matter of the module that reaches it.

use std::time::Duration;

use super::{Key, Unit, put};
use crate::config::text::{GIB, KIB, MIB, bytes, count, duration, seconds};

/// Longest wait of a drain step.
const HOUR: Duration = Duration::from_secs(3_600);
/// Longest idle time, in seconds.
const DAY_S: u64 = 86_400;
/// Longest age of a connection, in seconds.
const YEAR_S: u64 = 365 * DAY_S;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "limits",
        "connections",
        "0",
        Unit::Count,
        "Sockets of a node; 0: the limit of file descriptors less 512. Then: 503 before the upgrade.",
        |draft, text| {
            put(
                &mut draft.settings.limits.connections,
                count(text, 0, 100_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "connects_per_second",
        "2000",
        Unit::Count,
        "New connections a second of a node. Then: 503 with a jittered `Retry-After`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.connects_per_second,
                count(text, 1, 10_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "handshakes_in_flight",
        "1000",
        Unit::Count,
        "Handshakes of a node whose token or player is being looked up. Then: 503 with a jittered `Retry-After`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.handshakes_in_flight,
                count(text, 1, 10_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "joins_in_flight",
        "1000",
        Unit::Count,
        "Joins of a node under way. Then: they wait in the order they came, at most `join_seconds`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.joins_in_flight,
                count(text, 1, 10_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "max_connection_age_seconds",
        "0",
        Unit::Duration,
        "How long a connection may last, in whole seconds, each 20 % more or less; 0: for ever. Then: close 1012; a client that resumes loses nothing.",
        |draft, text| {
            put(
                &mut draft.settings.limits.max_connection_age_seconds,
                seconds(text, 0, YEAR_S).map(|age| age.as_secs()),
            )
        },
    ),
    Key::new(
        "limits",
        "frame_bytes",
        "64KiB",
        Unit::Bytes,
        "An incoming frame. Then: close 1009.",
        |draft, text| {
            put(
                &mut draft.settings.limits.frame_bytes,
                bytes(text, KIB, 64 * MIB),
            )
        },
    ),
    Key::new(
        "limits",
        "message_bytes",
        "64KiB",
        Unit::Bytes,
        "An incoming message, reassembled from its frames. Then: close 1009.",
        |draft, text| {
            put(
                &mut draft.settings.limits.message_bytes,
                bytes(text, KIB, 64 * MIB),
            )
        },
    ),
    Key::new(
        "limits",
        "topic_bytes",
        "1024",
        Unit::Bytes,
        "A topic, and the name of an event. Then: join reply `invalid`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.topic_bytes,
                bytes(text, 16, 64 * KIB),
            )
        },
    ),
    Key::new(
        "limits",
        "connections_per_ip",
        "0",
        Unit::Count,
        "Sockets of one client address; 0: no limit. Then: 503.",
        |draft, text| {
            put(
                &mut draft.settings.limits.connections_per_ip,
                count(text, 0, 100_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "topics",
        "1000000",
        Unit::Count,
        "Topics of a node. Then: join reply `unavailable`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.topics,
                count(text, 1, 1_000_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "channels_per_socket",
        "100",
        Unit::Count,
        "Channels of a socket. Then: join reply `too many channels joined`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.channels_per_socket,
                count(text, 1, 1_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "messages_per_second",
        "100",
        Unit::Count,
        "Messages a second of a socket, heartbeats not counted; 0: no limit. Then: reply `rate limited`, later close 1008.",
        |draft, text| {
            put(
                &mut draft.settings.limits.messages_per_second,
                count(text, 0, 10_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "messages_burst",
        "200",
        Unit::Count,
        "Messages that a socket may send at once above its rate.",
        |draft, text| {
            put(
                &mut draft.settings.limits.messages_burst,
                count(text, 1, 10_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "outbox_bytes",
        "1MiB",
        Unit::Bytes,
        "What waits for a slow socket. Then: close 1013; a client that resumes loses nothing.",
        |draft, text| {
            put(
                &mut draft.settings.limits.outbox_bytes,
                bytes(text, KIB, GIB),
            )
        },
    ),
    Key::new(
        "limits",
        "idle_seconds",
        "60s",
        Unit::Duration,
        "Time without a frame, in whole seconds. Then: close 1001.",
        |draft, text| {
            put(
                &mut draft.settings.limits.idle_seconds,
                seconds(text, 1, DAY_S).map(|idle| idle.as_secs()),
            )
        },
    ),
    Key::new(
        "limits",
        "join_seconds",
        "5s",
        Unit::Duration,
        "Time that a join may take, in whole seconds. Then: join reply `unavailable`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.join_seconds,
                seconds(text, 1, 600).map(|join| join.as_secs()),
            )
        },
    ),
    Key::new(
        "limits",
        "lane_records",
        "10000",
        Unit::Count,
        "Records that wait in a lane of the writer. Then: reply `unavailable`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.lane_records,
                count(text, 1, 10_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "mailbox_entries",
        "65536",
        Unit::Count,
        "Entries in a worker's mailbox. Then: the topic's subscribers there are healed from the store, or told `gap`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.mailbox_entries,
                count(text, 16, 100_000_000),
            )
        },
    ),
    Key::new(
        "limits",
        "mailbox_bytes",
        "64MiB",
        Unit::Bytes,
        "What a worker's mailbox holds. Then: as for `mailbox_entries`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.mailbox_bytes,
                bytes(text, 64 * KIB, 64 * GIB),
            )
        },
    ),
    Key::new(
        "limits",
        "resume_max",
        "1000",
        Unit::Count,
        "Records sent to a resuming join. Then: the newest are sent, the rest is a `gap`.",
        |draft, text| {
            put(
                &mut draft.settings.limits.resume_max,
                count(text, 1, 1_000_000),
            )
        },
    ),
];

pub(super) const DRAIN: &[Key] = &[
    Key::new(
        "drain",
        "wait",
        "5s",
        Unit::Duration,
        "How long `/readyz` fails before sockets are told to go.",
        |draft, text| {
            put(
                &mut draft.settings.drain.wait,
                duration(text, Duration::ZERO, HOUR),
            )
        },
    ),
    Key::new(
        "drain",
        "spread",
        "20s",
        Unit::Duration,
        "Over how long the closes (1012) are spread.",
        |draft, text| {
            put(
                &mut draft.settings.drain.spread,
                duration(text, Duration::ZERO, HOUR),
            )
        },
    ),
    Key::new(
        "drain",
        "flush",
        "10s",
        Unit::Duration,
        "How long the writer may flush; what is left then is counted and the exit code is 1.",
        |draft, text| {
            put(
                &mut draft.settings.drain.flush,
                duration(text, Duration::ZERO, HOUR),
            )
        },
    ),
];
