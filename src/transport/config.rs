//! The settings under `[transport]`.
//!
//! It only holds them; limits on frames are in `[limits]`.

use std::time::Duration;

use super::forwarded::Network;
use super::origin::OriginPolicy;

/// How clients reach a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which pages may connect. Default: those of the host that the request itself names.
    pub origins: OriginPolicy,
    /// Whether long-poll is served beside the WebSocket. Default true.
    pub longpoll: bool,
    /// How long a poll waits for a frame. Default 10 s; the stock clients wait 20 s for the answer.
    pub longpoll_window: Duration,
    /// How long another node that has a session may take to say so. Default 2 s.
    pub longpoll_owner_timeout: Duration,
    /// The proxies whose `X-Forwarded-For` tells a client's address. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Whether those begin each connection with a header of the PROXY protocol. Default: no.
    pub proxy_protocol: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: OriginPolicy::RequestHost,
            longpoll: true,
            longpoll_window: Duration::from_secs(10),
            longpoll_owner_timeout: Duration::from_secs(2),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        }
    }
}
