//! The bounds of a node: every queue, buffer and rate, with its default.
//!
//! It only holds the numbers; the module that reaches a limit decides what happens there.

/// The limits under `[limits]`; each is counted where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sockets of a node. Default: the process's file descriptor limit less 512. Then: 503 before the upgrade.
    pub connections: usize,
    /// New connections a second of a node. Default 2,000. Then: 503 with a jittered `Retry-After`.
    pub connects_per_second: u32,
    /// Handshakes of a node whose connect hook is under way. Default 1,000. Then: 503 with a jittered `Retry-After`.
    pub handshakes_in_flight: usize,
    /// Joins of a node under way. Default 1,000. Then: they wait in order, for `join_seconds` at most.
    pub joins_in_flight: usize,
    /// Seconds that a connection may last, give or take 20 %; 0, the default, for ever. Then: close 1012.
    pub max_connection_age_seconds: u64,
    /// Bytes of an incoming frame. Default 64 KiB. Then: close 1009.
    pub frame_bytes: usize,
    /// Bytes of an incoming reassembled message. Default 64 KiB. Then: close 1009.
    pub message_bytes: usize,
    /// Bytes of a topic and of an event name. Default 1,024. Then: join reply `invalid`.
    pub topic_bytes: usize,
    /// Sockets of one client address. Default: no limit (0). Then: 503.
    pub connections_per_ip: u32,
    /// Topics of a node. Default 1,000,000. Then: join reply `unavailable`.
    pub topics: usize,
    /// Channels of a socket. Default 100. Then: join reply `too many channels joined`.
    pub channels_per_socket: usize,
    /// Messages a second of a socket, heartbeats not counted; 0 turns the limit off. Default 100. Then: reply `rate limited`.
    pub messages_per_second: u32,
    /// Messages that a socket may send at once above its rate. Default 200.
    pub messages_burst: u32,
    /// Bytes that wait for a slow socket. Default 1 MiB. Then: close 1013.
    pub outbox_bytes: usize,
    /// Seconds without a frame. Default 60. Then: close 1001.
    pub idle_seconds: u64,
    /// Seconds that a join may take. Default 5. Then: reply `unavailable`.
    pub join_seconds: u64,
    /// Records that wait in a writer lane. Default 10,000. Then: reply `unavailable`.
    pub lane_records: usize,
    /// Entries in a worker's mailbox. Default 65,536. Then: the topic's subscribers there are healed or told `gap`.
    pub mailbox_entries: usize,
    /// Bytes in a worker's mailbox. Default 64 MiB. Then: as for `mailbox_entries`.
    pub mailbox_bytes: usize,
    /// Records sent to a resuming join. Default 1,000. Then: the newest are sent, the rest is a `gap`.
    pub resume_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            connects_per_second: 2_000,
            handshakes_in_flight: 1_000,
            joins_in_flight: 1_000,
            max_connection_age_seconds: 0,
            frame_bytes: 64 * 1024,
            message_bytes: 64 * 1024,
            topic_bytes: 1_024,
            connections_per_ip: 0,
            topics: 1_000_000,
            channels_per_socket: 100,
            messages_per_second: 100,
            messages_burst: 200,
            outbox_bytes: 1024 * 1024,
            idle_seconds: 60,
            join_seconds: 5,
            lane_records: 10_000,
            mailbox_entries: 65_536,
            mailbox_bytes: 64 * 1024 * 1024,
            resume_max: 1_000,
        }
    }
}
