//! The settings under `[store]`: where records live, and how patient the store and its writer are.
//!
//! It reads no file and no environment; `config` fills it in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The settings under `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `sqlite://PATH`, `sqlite::memory:` or `postgres://…`. Default `sqlite://fanfare.db`.
    pub url: String,
    /// Postgres connections of a node. Default 8; at least one more than `lanes` keeps reads going.
    pub pool_size: usize,
    /// How long a connection may take, and how long a call waits for a free one. Default 5 s.
    pub connect_timeout: Duration,
    /// How long one Postgres statement may run. Default 10 s.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock (SQLite: for another process). Default 5 s.
    pub lock_timeout: Duration,
    /// How long an open Postgres transaction may idle before the server ends it. Default 10 s.
    pub idle_in_transaction_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before a connection counts as dead. Default 10 s.
    pub tcp_user_timeout: Duration,
    /// What a Postgres commit waits for. Default `on`; anything weaker is logged at start.
    pub synchronous_commit: SynchronousCommit,
    /// Writer lanes; a topic always uses the same one. Default 4, at least 1.
    pub lanes: usize,
    /// Records of one transaction at most. Default 512, at least 1.
    pub batch_records: usize,
    /// Bytes of one transaction at most; a larger record goes alone. Default 1 MiB.
    pub batch_bytes: usize,
    /// Bytes that wait in one lane at most. Default 64 MiB. Then: `unavailable`.
    pub lane_bytes: usize,
    /// Longest delay between two attempts at a batch. Default 1 s.
    pub retry_max: Duration,
    /// How long nobody sweeps after a sweep. Default 60 s.
    pub sweep_every: Duration,
    /// Records that one step of a sweep removes at most. Default 500.
    pub sweep_records: usize,
    /// Between two steps of a sweep. Default 100 ms.
    pub sweep_pause: Duration,
    /// The youngest age at which a record may go because its topic has too many. Default 10 min.
    pub sweep_grace: Duration,
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
            synchronous_commit: SynchronousCommit::On,
            lanes: 4,
            batch_records: 512,
            batch_bytes: 1024 * 1024,
            lane_bytes: 64 * 1024 * 1024,
            retry_max: Duration::from_secs(1),
            sweep_every: Duration::from_secs(60),
            sweep_records: 500,
            sweep_pause: Duration::from_millis(100),
            sweep_grace: Duration::from_secs(600),
        }
    }
}

/// What a Postgres commit waits for, as the setting of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynchronousCommit {
    /// The standbys have applied it.
    RemoteApply,
    /// It is on disk here, and on the synchronous standbys if there are any.
    On,
    /// It is on disk here and received by the standbys: lost when both machines fail.
    RemoteWrite,
    /// It is on disk here: lost when a failover follows.
    Local,
    /// Nothing: a crash of the server loses the newest records although they were acknowledged.
    Off,
}

impl SynchronousCommit {
    /// Returns the word that Postgres uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RemoteApply => "remote_apply",
            Self::On => "on",
            Self::RemoteWrite => "remote_write",
            Self::Local => "local",
            Self::Off => "off",
        }
    }

    /// Says whether an acknowledged record can be lost although the default would have kept it.
    pub fn is_weak(self) -> bool {
        match self {
            Self::RemoteApply | Self::On => false,
            Self::RemoteWrite | Self::Local | Self::Off => true,
        }
    }
}

/// A text that is none of the five words of [`SynchronousCommit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSynchronousCommit;

impl fmt::Display for NotSynchronousCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be one of remote_apply, on, remote_write, local, off")
    }
}

impl std::error::Error for NotSynchronousCommit {}

impl FromStr for SynchronousCommit {
    type Err = NotSynchronousCommit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::RemoteApply,
            Self::On,
            Self::RemoteWrite,
            Self::Local,
            Self::Off,
        ]
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or(NotSynchronousCommit)
    }
}

impl fmt::Display for SynchronousCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_read_back_from_its_own_word_and_nothing_else_is() {
        for word in ["remote_apply", "on", "remote_write", "local", "off"] {
            let level: SynchronousCommit = word.parse().expect(word);
            assert_eq!(level.to_string(), word);
        }
        for other in ["", "ON", "true", "sometimes"] {
            assert!(other.parse::<SynchronousCommit>().is_err(), "{other}");
        }
    }

    #[test]
    fn the_default_level_is_not_weak() {
        assert!(!Config::default().synchronous_commit.is_weak());
        assert!(SynchronousCommit::Off.is_weak());
    }
}
