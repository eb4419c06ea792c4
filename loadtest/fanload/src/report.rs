//! What a generator says at its end: one line of JSON.
//!
//! Figures only; what they are worth is judged elsewhere.

use serde::{Deserialize, Serialize};

use crate::tally::Latency;

/// The figures of a run. Times are in seconds unless said, memory in KiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Sockets that had joined.
    pub ready: usize,
    /// Sockets that were refused or lost.
    pub dead: usize,
    /// Refusals and failures.
    pub errors: u64,
    /// What went wrong first.
    pub first_error: String,
    /// How long all took to connect and join.
    pub connect_seconds: f64,
    /// CPU of the server for a connect and join, in µs.
    pub cpu_us_a_connect: f64,
    /// Memory of the server before anybody came.
    pub rss_before_kib: u64,
    /// Memory of the server with all joined, after the settling time.
    pub rss_joined_kib: u64,
    /// Memory of the server at the end of the measurement.
    pub rss_end_kib: u64,
    /// Memory of the server after all had left and the time to wait had passed.
    pub rss_left_kib: u64,
    /// What the machine lost of its available memory a socket: both ends and the kernel.
    pub machine_kib_a_socket: f64,
    /// Publishes made here.
    pub published: u64,
    /// Deliveries that follow from them and from those of others.
    pub expected: u64,
    /// Deliveries that came.
    pub delivered: u64,
    /// Pushes and heartbeats that were answered.
    pub answered: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// From the first publish to the last delivery.
    pub seconds: f64,
    /// CPU of the server from the first publish to the last delivery, in µs.
    pub cpu_us: f64,
    /// From a publish to its deliveries, in µs.
    pub delivery_us: Latency,
    /// From a push or heartbeat to its answer, in µs.
    pub answer_us: Latency,
    /// How long all took to come back.
    pub rejoin_seconds: f64,
    /// How many came back.
    pub rejoined: usize,
    /// From the moment when all were gone to a client's join, in µs.
    pub rejoin_us: Latency,
    /// Attempts to come back that were refused.
    pub rejoin_refused: u64,
}

impl Report {
    /// Returns deliveries a second.
    pub fn deliveries_a_second(&self) -> f64 {
        self.delivered as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Returns answers a second.
    pub fn answers_a_second(&self) -> f64 {
        self.answered as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Returns the server's CPU for each of so many things, in µs.
    pub fn cpu_us_each(&self, things: u64) -> f64 {
        self.cpu_us / things.max(1) as f64
    }

    /// Returns deliveries that should have come and did not, or came twice.
    pub fn lost(&self) -> u64 {
        self.expected.abs_diff(self.delivered)
    }
}
