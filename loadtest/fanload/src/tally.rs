//! What a generator counts while its sockets talk.
//!
//! It holds numbers only, and never a message.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart, in microseconds: two minutes.
const LATENCY_US_MAX: u64 = 120_000_000;

/// Latency in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: u64,
    /// One of a hundred was slower.
    pub p99: u64,
    /// One of a thousand was slower.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

/// Latencies, counted.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let made = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self(made.expect("the bounds are in order and the digits at most five"))
    }
}

impl Latencies {
    /// Counts one, by when it began and ended.
    pub fn record(&mut self, from_ns: u64, to_ns: u64) {
        self.0
            .saturating_record(to_ns.saturating_sub(from_ns) / 1_000);
    }

    /// Sums up.
    pub fn summary(&self) -> Latency {
        Latency {
            p50: self.0.value_at_quantile(0.5),
            p99: self.0.value_at_quantile(0.99),
            p999: self.0.value_at_quantile(0.999),
            max: self.0.max(),
        }
    }
}

/// The counts of a run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Deliveries since the measurement began.
    pub delivered: u64,
    /// The same by topic.
    pub delivered_by_topic: Vec<u64>,
    /// Answers to pushes and heartbeats since the measurement began.
    pub answered: u64,
    /// Refusals and failures.
    pub errors: u64,
    /// Close frames.
    pub closed: u64,
    /// What went wrong first.
    pub first_error: String,
    /// From a publish to each of its deliveries.
    pub deliveries: Latencies,
    /// From a push or heartbeat to its answer.
    pub answers: Latencies,
    /// Whether what arrives counts.
    pub measuring: bool,
}

impl Tally {
    /// Starts at nothing.
    pub fn new(topics: usize) -> Self {
        Self {
            delivered_by_topic: vec![0; topics],
            ..Self::default()
        }
    }

    /// Counts a delivery.
    pub fn delivery(&mut self, topic: usize, stamped_ns: u64, now_ns: u64) {
        if self.measuring {
            self.delivered += 1;
            self.delivered_by_topic[topic] += 1;
            self.deliveries.record(stamped_ns, now_ns);
        }
    }

    /// Counts an answer.
    pub fn answer(&mut self, stamped_ns: u64, now_ns: u64) {
        if self.measuring {
            self.answered += 1;
            self.answers.record(stamped_ns, now_ns);
        }
    }

    /// Counts a failure and keeps the first one's text.
    pub fn error(&mut self, text: &[u8]) {
        self.errors += 1;
        if self.first_error.is_empty() {
            let shown = &text[..text.len().min(300)];
            self.first_error = String::from_utf8_lossy(shown).into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_summed_up() {
        let mut latencies = Latencies::default();
        for ms in 1..=1_000 {
            latencies.record(0, ms * 1_000_000);
        }
        let told = latencies.summary();
        let near = |found: u64, wanted: u64| found.abs_diff(wanted) * 1_000 <= wanted * 2;
        assert!(near(told.p50, 500_000) && near(told.p99, 990_000) && near(told.p999, 999_000));
        latencies.record(0, u64::MAX);
        assert!(latencies.summary().max >= LATENCY_US_MAX);
    }

    #[test]
    fn nothing_counts_before_the_measurement() {
        let mut tally = Tally::new(2);
        tally.delivery(1, 0, 1);
        tally.measuring = true;
        tally.delivery(1, 0, 1);
        tally.answer(0, 1);
        assert_eq!((tally.delivered, tally.answered), (1, 1));
        assert_eq!(tally.delivered_by_topic, [0, 1]);
    }
}
