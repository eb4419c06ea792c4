//! The settings under `[transport]`.
//!
//! It only holds them; limits on frames are in `[limits]`.

use super::forwarded::Network;
use super::origin::OriginPolicy;

/// How clients reach a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which pages may connect. Default: those of the host that the request itself names.
    pub origins: OriginPolicy,
    /// Read buffer of a WebSocket, in bytes. Default 1,024: an idle socket costs no more.
    pub read_buffer_bytes: usize,
    /// The proxies whose `X-Forwarded-For` tells a client's address. Default: none.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: OriginPolicy::RequestHost,
            read_buffer_bytes: 1_024,
            trusted_proxies: Vec::new(),
        }
    }
}
