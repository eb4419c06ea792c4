//! The settings under `[broker]`.
//!
//! Its `Debug` never prints the URL, which may hold a password.

use std::fmt;
use std::time::Duration;

/// How the nodes reach each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Redis: `redis://`, `rediss://` (TLS) or `unix://`. Default none: a single node.
    pub url: Option<String>,
    /// What every channel name in Redis begins with. Default `fanfare:`.
    pub prefix: String,
    /// How often the link is tried when nothing arrives. Default 1 s.
    pub ping_interval: Duration,
    /// How long an answer may take before the link counts as down. Default 3 s.
    pub ping_timeout: Duration,
    /// Publishes that wait for Redis, in entries. Default 65,536. Then: the publish is refused.
    pub publish_queue: usize,
    /// Topics in one SUBSCRIBE command. Default 512.
    pub subscribe_batch: usize,
    /// Longest delay between attempts to connect. Default 2 s.
    pub reconnect_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            prefix: String::from("fanfare:"),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(3),
            publish_queue: 65_536,
            subscribe_batch: 512,
            reconnect_max: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.url.as_ref().map(|_| "[hidden]"))
            .field("prefix", &self.prefix)
            .field("ping_interval", &self.ping_interval)
            .field("ping_timeout", &self.ping_timeout)
            .field("publish_queue", &self.publish_queue)
            .field("subscribe_batch", &self.subscribe_batch)
            .field("reconnect_max", &self.reconnect_max)
            .finish()
    }
}
