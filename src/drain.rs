//! Leaving without a storm: the steps from SIGTERM to exit.
//!
//! It knows the order and the time of each step; the gateway performs them.

use std::time::Duration;

/// The settings under `[drain]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long `/readyz` fails before sockets are told to go. Default 5 s.
    pub wait: Duration,
    /// Over how long the closes (1012) are spread. Default 20 s.
    pub spread: Duration,
    /// How long the writer may flush. Default 10 s.
    pub flush: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(5),
            spread: Duration::from_secs(20),
            flush: Duration::from_secs(10),
        }
    }
}
