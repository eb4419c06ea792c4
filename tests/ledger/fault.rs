//! The faults by name: what each is about, and what it must show.
//!
//! It does nothing itself; a script says what is done when.

use std::time::Duration;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but clients that come and go.
    None,
    /// Redis is killed and started again.
    RedisRestart,
    /// Redis cuts its subscribers off, three times.
    RedisKillPubsub,
    /// Redis does nothing for 5 s.
    RedisPause,
    /// Nothing passes between the nodes and Redis for 30 s.
    RedisBlackhole,
    /// Redis cuts slow subscribers off, and the way to it is slow for 6 s.
    RedisOutputLimit,
    /// Redis is emptied, three times.
    RedisFlush,
    /// Of what Redis publishes 1 % never arrives.
    RedisDrop,
    /// Of what Redis publishes 1 % never arrives, eight in a row.
    RedisDropRuns,
    /// The last messages before a silence never arrive, three times.
    RedisDropLast,
    /// A node is killed, and comes back.
    NodeKill,
    /// A node that commits and can't publish is killed, and comes back.
    NodeKillUnpublished,
    /// A node is told to go, and comes back.
    NodeDrain,
    /// Each node in turn is told to go, and comes back.
    NodeRolling,
    /// A node does nothing for 10 s.
    NodePause,
    /// Postgres crashes and starts again.
    PostgresRestart,
    /// Postgres is away for 60 s.
    PostgresDown,
    /// Postgres and its sessions do nothing for 10 s.
    PostgresPause,
    /// Nothing passes between the nodes and Postgres for 5 s.
    PostgresBlackhole,
    /// Postgres ends the nodes' sessions and takes none for 8 s.
    PostgresConnections,
    /// A session hangs with the lock of every topic.
    PostgresHungLock,
    /// Postgres is a standby for 6 s, then promoted.
    PostgresReadOnly,
    /// The disk of the records is full for 6 s.
    PostgresDiskFull,
    /// The tables are what they were 4 s ago.
    PostgresRestored,
    /// The tables are emptied.
    NewEpoch,
    /// One node on SQLite, and clients that come and go.
    Sqlite,
    /// One node on SQLite is killed and comes back, three times.
    SqliteKill,
    /// The disk of SQLite is full for 6 s.
    SqliteDiskFull,
    /// Every fifth client reads nothing for 10 s.
    SlowClients,
    /// Every fifth client's way carries 64 kbit/s, for 12 s.
    SlowLink,
    /// Every tenth client reads nothing for 25 s.
    NeverReads,
    /// Three in ten connections of clients carry nothing more, without an end.
    HalfOpen,
    /// Half of the clients' connections are reset, three times.
    ResetHalf,
    /// A fifth of the clients' connections is reset.
    ResetFifth,
    /// Half of the connections are reset, three times; clients are back within 50 ms.
    QuickReturn,
    /// Everything is chopped, then delayed; the clients are throttled.
    Weather,
    /// Clients come and go as fast as they can.
    JoinStorm,
    /// Everybody writes to one topic, through all nodes.
    OneTopic,
    /// A third of the records is sent through two nodes at once.
    Twins,
}

/// What a fault must have shown, or the run proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing that is counted.
    Nothing,
    /// Links to Redis were made anew.
    Reconnects,
    /// Messages that Redis lost came again.
    Resent,
    /// Batches were tried again.
    Retries,
    /// Sockets that were ended by others than their clients.
    Dropped,
}

/// Where a run's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Postgres, for all nodes.
    Postgres,
    /// Postgres, with the records on a small disk.
    PostgresOnSmallDisk,
    /// SQLite, for one node.
    Sqlite,
    /// SQLite on a small disk.
    SqliteOnSmallDisk,
}

impl Fault {
    /// Every one, with its name as `LEDGER_FAULT` takes it.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::None, "none"),
        (Self::RedisRestart, "redis-restart"),
        (Self::RedisKillPubsub, "redis-kill-pubsub"),
        (Self::RedisPause, "redis-pause"),
        (Self::RedisBlackhole, "redis-blackhole"),
        (Self::RedisOutputLimit, "redis-output-limit"),
        (Self::RedisFlush, "redis-flush"),
        (Self::RedisDrop, "redis-drop"),
        (Self::RedisDropRuns, "redis-drop-runs"),
        (Self::RedisDropLast, "redis-drop-last"),
        (Self::NodeKill, "node-kill"),
        (Self::NodeKillUnpublished, "node-kill-unpublished"),
        (Self::NodeDrain, "node-drain"),
        (Self::NodeRolling, "node-rolling"),
        (Self::NodePause, "node-pause"),
        (Self::PostgresRestart, "postgres-restart"),
        (Self::PostgresDown, "postgres-down"),
        (Self::PostgresPause, "postgres-pause"),
        (Self::PostgresBlackhole, "postgres-blackhole"),
        (Self::PostgresConnections, "postgres-connections"),
        (Self::PostgresHungLock, "postgres-hung-lock"),
        (Self::PostgresReadOnly, "postgres-read-only"),
        (Self::PostgresDiskFull, "postgres-disk-full"),
        (Self::PostgresRestored, "postgres-restored"),
        (Self::NewEpoch, "new-epoch"),
        (Self::Sqlite, "sqlite"),
        (Self::SqliteKill, "sqlite-kill"),
        (Self::SqliteDiskFull, "sqlite-disk-full"),
        (Self::SlowClients, "slow-clients"),
        (Self::SlowLink, "slow-link"),
        (Self::NeverReads, "never-reads"),
        (Self::HalfOpen, "half-open"),
        (Self::ResetHalf, "reset-half"),
        (Self::ResetFifth, "reset-fifth"),
        (Self::QuickReturn, "quick-return"),
        (Self::Weather, "weather"),
        (Self::JoinStorm, "join-storm"),
        (Self::OneTopic, "one-topic"),
        (Self::Twins, "twins"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(fault, _)| *fault == self);
        found.expect("every fault is listed").1
    }

    /// Whether sockets must stay open all the time, but for those that clients end themselves.
    pub fn spares_sockets(self) -> bool {
        match self {
            Self::None
            | Self::RedisRestart
            | Self::RedisKillPubsub
            | Self::RedisPause
            | Self::RedisBlackhole
            | Self::RedisOutputLimit
            | Self::RedisFlush
            | Self::RedisDrop
            | Self::RedisDropRuns
            | Self::RedisDropLast
            | Self::PostgresRestart
            | Self::PostgresDown
            | Self::PostgresPause
            | Self::PostgresBlackhole
            | Self::PostgresConnections
            | Self::PostgresHungLock
            | Self::PostgresReadOnly
            | Self::PostgresDiskFull
            | Self::PostgresRestored
            | Self::NewEpoch
            | Self::Sqlite
            | Self::SqliteDiskFull
            | Self::JoinStorm
            | Self::OneTopic
            | Self::Twins => true,
            Self::NodeKill
            | Self::NodeKillUnpublished
            | Self::NodeDrain
            | Self::NodeRolling
            | Self::NodePause
            | Self::SqliteKill
            | Self::SlowClients
            | Self::SlowLink
            | Self::NeverReads
            | Self::HalfOpen
            | Self::ResetHalf
            | Self::ResetFifth
            | Self::QuickReturn
            | Self::Weather => false,
        }
    }

    /// What it must have shown.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::RedisRestart
            | Self::RedisKillPubsub
            | Self::RedisPause
            | Self::RedisBlackhole
            | Self::RedisOutputLimit => Evidence::Reconnects,
            Self::RedisDrop | Self::RedisDropRuns | Self::RedisDropLast => Evidence::Resent,
            Self::PostgresRestart
            | Self::PostgresDown
            | Self::PostgresConnections
            | Self::PostgresHungLock
            | Self::PostgresReadOnly
            | Self::PostgresDiskFull
            | Self::SqliteDiskFull => Evidence::Retries,

            Self::NodeKill
            | Self::NodeKillUnpublished
            | Self::NodeDrain
            | Self::NodeRolling
            | Self::SqliteKill
            | Self::NeverReads
            | Self::HalfOpen
            | Self::ResetHalf
            | Self::ResetFifth
            | Self::QuickReturn => Evidence::Dropped,
            // A pause of Postgres may be shorter than the patience with it, and slow clients may be quick enough.
            Self::None
            | Self::PostgresPause
            | Self::PostgresRestored
            | Self::NewEpoch
            | Self::RedisFlush
            | Self::NodePause
            | Self::PostgresBlackhole
            | Self::Sqlite
            | Self::SlowClients
            | Self::SlowLink
            | Self::Weather
            | Self::JoinStorm
            | Self::OneTopic
            | Self::Twins => Evidence::Nothing,
        }
    }

    /// Where its records are.
    pub fn database(self) -> Database {
        match self {
            Self::Sqlite | Self::SqliteKill => Database::Sqlite,
            Self::SqliteDiskFull => Database::SqliteOnSmallDisk,
            Self::PostgresDiskFull => Database::PostgresOnSmallDisk,
            _ => Database::Postgres,
        }
    }

    /// How late a relayed message may arrive at a client that stays, where the fault promises a limit.
    ///
    /// A lost last message is found within 2.5 s; a second more is for a machine that does much else.
    pub fn slowest(self) -> Option<Duration> {
        match self {
            Self::RedisDrop | Self::RedisDropRuns | Self::RedisDropLast => {
                Some(Duration::from_millis(3_500))
            }
            _ => None,
        }
    }

    /// Whether relayed messages may be lost between nodes, and told so late.
    pub fn troubles_relays(self) -> bool {
        let name = self.name();
        name.starts_with("redis") || name.starts_with("node") || self == Self::Weather
    }

    /// Whether clients that do nothing wrong must not notice those that do.
    pub fn spares_others(self) -> bool {
        matches!(self, Self::SlowLink | Self::NeverReads)
    }
}
