//! The settings under `[store]`.
//!
//! Its `Debug` never prints the URL, which may hold a password.

use std::fmt;
use std::time::Duration;

/// Where records are stored, and how they get there.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `sqlite://FILE`, `sqlite::memory:` or `postgres://…`. Default `sqlite://fanfare.db`.
    pub url: String,
    /// Connections to Postgres. Default 8.
    pub pool_size: usize,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a statement may take. Default 10 s.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock. Default 5 s.
    pub lock_timeout: Duration,
    /// How long a transaction may do nothing. Default 10 s.
    pub idle_in_transaction_timeout: Duration,
    /// How long sent bytes may stay unacknowledged. Default 10 s.
    pub tcp_user_timeout: Duration,
    /// Postgres' `synchronous_commit`. Default `on`; weaker values may lose the newest records.
    pub synchronous_commit: String,
    /// Lanes of the writer pool. Default 4.
    pub lanes: usize,
    /// Records in one transaction. Default 512.
    pub batch_records: usize,
    /// Bytes of payloads in one transaction. Default 1 MiB.
    pub batch_bytes: usize,
    /// Longest delay between attempts at a batch. Default 1 s.
    pub retry_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::from("sqlite://fanfare.db"),
            pool_size: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(10),
            tcp_user_timeout: Duration::from_secs(10),
            synchronous_commit: String::from("on"),
            lanes: 4,
            batch_records: 512,
            batch_bytes: 1024 * 1024,
            retry_max: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &"[hidden]")
            .field("pool_size", &self.pool_size)
            .field("synchronous_commit", &self.synchronous_commit)
            .field("lanes", &self.lanes)
            .field("batch_records", &self.batch_records)
            .field("batch_bytes", &self.batch_bytes)
            .finish_non_exhaustive()
    }
}
