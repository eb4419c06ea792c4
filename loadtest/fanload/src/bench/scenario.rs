//! The scenarios: their names, and which function plays each.
//!
//! What is measured how is in `delivery`, `sockets`, `cluster` and `records`.

use std::io;

use super::finding::Finding;
use super::settings::Settings;
use super::{cluster, delivery, records, sockets};

/// A scenario of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One topic of 1,000 sockets at 20 messages a second.
    CpuDelivery,
    /// One topic of 1,000 sockets, 8 messages in flight.
    Saturation,
    /// 500 topics of 10 sockets, 500 messages a second.
    ManyTopics,
    /// The cost of a delivery as sockets and topics grow.
    Flatness,
    /// The cost of a connect and a join.
    ConnectJoin,
    /// Memory of a joined socket that only beats.
    RssIdle,
    /// Memory after all have gone.
    RssAfter,
    /// Three nodes over Redis.
    CrossNode,
    /// The cost of a heartbeat and its answer.
    Heartbeats,
    /// Records on Postgres.
    RecordsPostgres,
    /// Records on SQLite.
    RecordsSqlite,
    /// All sockets of a node come back at once.
    MassRejoin,
    /// Eight nodes, one broadcast to all.
    ManyNodes,
}

impl Scenario {
    /// Every scenario, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::CpuDelivery,
        Self::Saturation,
        Self::ManyTopics,
        Self::Flatness,
        Self::ConnectJoin,
        Self::RssIdle,
        Self::RssAfter,
        Self::CrossNode,
        Self::Heartbeats,
        Self::RecordsPostgres,
        Self::RecordsSqlite,
        Self::MassRejoin,
        Self::ManyNodes,
    ];

    /// Returns the name for the table and for `BENCH_ONLY`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuDelivery => "cpu-delivery",
            Self::Saturation => "saturation",
            Self::ManyTopics => "many-topics",
            Self::Flatness => "flatness",
            Self::ConnectJoin => "connect-join",
            Self::RssIdle => "rss-idle",
            Self::RssAfter => "rss-after",
            Self::CrossNode => "cross-node",
            Self::Heartbeats => "heartbeats",
            Self::RecordsPostgres => "records-postgres",
            Self::RecordsSqlite => "records-sqlite",
            Self::MassRejoin => "mass-rejoin",
            Self::ManyNodes => "many-nodes",
        }
    }

    /// Returns how often it is run when the others are run so often.
    pub fn runs(self, runs: usize) -> usize {
        match self {
            // It takes all of the machine for a minute, and what it counts does not vary.
            Self::ManyNodes => 1,
            _ => runs.max(1),
        }
    }

    /// Plays it once.
    ///
    /// # Errors
    /// When something could not be started, or the generator gave up.
    pub fn run(self, settings: &Settings) -> io::Result<Vec<Finding>> {
        match self {
            Self::CpuDelivery => delivery::cpu(settings),
            Self::Saturation => delivery::saturation(settings),
            Self::ManyTopics => delivery::many_topics(settings),
            Self::Flatness => delivery::flatness(settings),
            Self::ConnectJoin => sockets::connect_join(settings),
            Self::RssIdle => sockets::rss_idle(settings),
            Self::RssAfter => sockets::rss_after(settings),
            Self::CrossNode => cluster::cross_node(settings),
            Self::Heartbeats => sockets::heartbeats(settings),
            Self::RecordsPostgres => records::postgres(settings),
            Self::RecordsSqlite => records::sqlite(settings),
            Self::MassRejoin => sockets::mass_rejoin(settings),
            Self::ManyNodes => cluster::many_nodes(settings),
        }
    }
}
