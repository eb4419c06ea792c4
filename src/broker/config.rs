//! The settings under `[broker]`.
//!
//! They never show a password: their debug form hides the URL.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How the nodes reach each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where Redis 6 or newer, or Valkey, is: see [`Address`](super::address::Address).
    /// Default: none, a single node.
    pub url: Option<String>,
    /// PEM file of the authority that signed Redis' certificate. Default: the public web's authorities.
    pub ca_file: Option<PathBuf>,
    /// What every Redis channel's name starts with. Default `fanfare:`.
    pub prefix: String,
    /// How often an idle link is asked for a sign of life. Default 1 s.
    pub ping_interval: Duration,
    /// How long a link may be silent after it was asked; then it is made anew. Default 3 s.
    pub ping_timeout: Duration,
    /// Letters that wait to be published, those in flight included. Default 65,536. Then: refused as full.
    pub publish_queue: usize,
    /// Bytes that wait to be published, those in flight included. Default 64 MiB. Then: refused as full.
    pub publish_queue_bytes: usize,
    /// Published letters that are kept for nodes that miss them. Default 65,536. Then: the oldest is dropped.
    pub ring_letters: usize,
    /// Bytes of published letters that are kept. Default 32 MiB. Then: the oldest is dropped.
    pub ring_bytes: usize,
    /// Lanes over which the topics are spread in a cluster with sharded pub/sub; the same on every node.
    /// Default 16. 0: plain pub/sub, which a cluster carries to all its servers.
    pub cluster_lanes: u16,
    /// Topics in one SUBSCRIBE command. Default 512.
    pub subscribe_batch: usize,
    /// Longest delay between two attempts to reconnect. Default 2 s.
    pub reconnect_max: Duration,
    /// How long a subscription may go unacknowledged while the link is up. Default 5 s.
    pub join_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            prefix: String::from("fanfare:"),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(3),
            publish_queue: 65_536,
            publish_queue_bytes: 64 * 1024 * 1024,
            ring_letters: 65_536,
            ring_bytes: 32 * 1024 * 1024,
            cluster_lanes: 16,
            subscribe_batch: 512,
            reconnect_max: Duration::from_secs(2),
            join_timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.url.as_ref().map(|_| "(hidden)"))
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("ping_interval", &self.ping_interval)
            .field("ping_timeout", &self.ping_timeout)
            .field("publish_queue", &self.publish_queue)
            .field("publish_queue_bytes", &self.publish_queue_bytes)
            .field("ring_letters", &self.ring_letters)
            .field("ring_bytes", &self.ring_bytes)
            .field("cluster_lanes", &self.cluster_lanes)
            .field("subscribe_batch", &self.subscribe_batch)
            .field("reconnect_max", &self.reconnect_max)
            .field("join_timeout", &self.join_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_hides_the_password() {
        let config = Config {
            url: Some(String::from("redis://:sesame@localhost")),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
