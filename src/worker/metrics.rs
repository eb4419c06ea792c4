//! What workers count: connections, deliveries and turns.
//!
//! A fan-out adds to a counter once, not once a subscriber.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use crate::channel::Body;

/// The counters that every worker of a node shares.
#[derive(Clone)]
pub struct Metrics {
    /// `fanfare_connections{transport}`: open connections.
    pub connections: IntGaugeVec,
    /// `fanfare_connections_opened_total{transport}`.
    pub opened: IntCounterVec,
    /// `fanfare_connections_closed_total{code}`: by close code; 1006 is a peer that vanished, see [`CODES`].
    pub closed: IntCounterVec,
    /// `fanfare_connect_refused_total{reason}`: streams and handshakes refused before the upgrade, by [`REASONS`].
    pub refused: IntCounterVec,
    /// `fanfare_deliveries_total`: frames of broadcasts appended to outboxes.
    pub deliveries: IntCounter,
    /// `fanfare_deliveries_dropped_total{reason}`: `slow`, `serializer`, `transport` or `mailbox`.
    pub dropped: IntCounterVec,
    /// `fanfare_delivery_seconds{path="local"}`: accepted by this node to handed to the last socket.
    pub local_delivery_seconds: Histogram,
    /// `fanfare_delivery_seconds{path="remote"}`: accepted by another node to handed to the last socket here.
    pub remote_delivery_seconds: Histogram,
    /// `fanfare_records_total{kind,outcome}`: `stored`, `known`, `refused`, `abandoned` or `unavailable`.
    pub records: IntCounterVec,
    /// `fanfare_worker_turn_seconds{worker}`: one batch of a worker's mailbox, or one of its writes to sockets.
    pub turn_seconds: HistogramVec,
    /// `fanfare_worker_sockets{worker}`: open connections by worker.
    pub sockets: IntGaugeVec,
    /// `fanfare_accept_errors_total`: connections that could not be accepted, most often for want of descriptors.
    pub accept_errors: IntCounter,
}

/// Why somebody was not let in; each is there from 0 on, so that a first refusal shows as an increase.
const REASONS: [&str; 12] = [
    "forbidden",
    "bad_request",
    "denied",
    "internal",
    "bodies",
    "streams",
    "proxy_protocol",
    "connections",
    "connects_per_second",
    "handshakes_in_flight",
    "connections_per_ip",
    "draining",
];

/// The close codes that are told apart; a peer may say any number, and the rest is `other`.
const CODES: [&str; 11] = [
    "1000", "1001", "1002", "1005", "1006", "1007", "1008", "1009", "1011", "1012", "1013",
];

/// What becomes of a record.
const OUTCOMES: [&str; 5] = ["stored", "known", "refused", "unavailable", "abandoned"];

impl Metrics {
    /// Returns the turns of one worker.
    pub(super) fn turn_seconds_of(&self, index: usize) -> Histogram {
        self.turn_seconds.with_label_values(&[&index.to_string()])
    }

    /// Counts somebody who is not let in.
    pub(super) fn count_refused(&self, reason: &str) {
        debug_assert!(REASONS.contains(&reason), "{reason} is not in the list");
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Counts a closed connection.
    pub(super) fn count_closed(&self, code: u16) {
        let code = code.to_string();
        let known = CODES.iter().find(|known| **known == code);
        let label = known.unwrap_or(&"other");
        self.closed.with_label_values(&[label]).inc();
    }

    /// Makes every series that can be named, so that a rate sees the first event of each.
    fn starting_at_zero(self) -> Self {
        for transport in ["websocket", "longpoll"] {
            self.connections.with_label_values(&[transport]);
            self.opened.with_label_values(&[transport]);
        }
        for code in CODES.iter().chain(&["other"]) {
            self.closed.with_label_values(&[code]);
        }
        for reason in REASONS {
            self.refused.with_label_values(&[reason]);
        }
        for reason in ["slow", "serializer", "transport", "mailbox"] {
            self.dropped.with_label_values(&[reason]);
        }
        for kind in Body::KINDS {
            for outcome in OUTCOMES {
                self.records.with_label_values(&[kind, outcome]);
            }
        }
        self
    }

    /// Registers the families.
    ///
    /// # Errors
    /// When a family of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::new(registry)?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.opened.clone()))?;
        registry.register(Box::new(metrics.closed.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.turn_seconds.clone()))?;
        registry.register(Box::new(metrics.sockets.clone()))?;
        registry.register(Box::new(metrics.accept_errors.clone()))?;
        Ok(metrics.starting_at_zero())
    }

    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, text: &str| Opts::new(name, text).namespace("fanfare");
        let seconds = |name: &str, text: &str| {
            HistogramOpts::new(name, text)
                .namespace("fanfare")
                .buckets(vec![
                    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
                    0.25, 0.5, 1.0, 2.5,
                ])
        };
        let delivery_seconds = HistogramVec::new(
            seconds(
                "delivery_seconds",
                "Accepted by a node to handed to the last socket",
            ),
            &["path"],
        )?;
        registry.register(Box::new(delivery_seconds.clone()))?;
        Ok(Self {
            connections: IntGaugeVec::new(opts("connections", "Open connections"), &["transport"])?,
            opened: IntCounterVec::new(
                opts("connections_opened_total", "Connections opened"),
                &["transport"],
            )?,
            closed: IntCounterVec::new(
                opts(
                    "connections_closed_total",
                    "Connections closed by close code",
                ),
                &["code"],
            )?,
            refused: IntCounterVec::new(
                opts(
                    "connect_refused_total",
                    "Handshakes refused before the upgrade",
                ),
                &["reason"],
            )?,
            deliveries: IntCounter::with_opts(opts(
                "deliveries_total",
                "Frames of broadcasts appended to outboxes",
            ))?,
            dropped: IntCounterVec::new(
                opts("deliveries_dropped_total", "Deliveries that were dropped"),
                &["reason"],
            )?,
            local_delivery_seconds: delivery_seconds.with_label_values(&["local"]),
            remote_delivery_seconds: delivery_seconds.with_label_values(&["remote"]),
            records: IntCounterVec::new(
                opts("records_total", "Records by kind and outcome"),
                &["kind", "outcome"],
            )?,
            turn_seconds: HistogramVec::new(
                seconds(
                    "worker_turn_seconds",
                    "One batch of a worker's mailbox, or one of its writes to sockets",
                ),
                &["worker"],
            )?,
            sockets: IntGaugeVec::new(
                opts("worker_sockets", "Open connections by worker"),
                &["worker"],
            )?,
            accept_errors: IntCounter::with_opts(opts(
                "accept_errors_total",
                "Connections that could not be accepted",
            ))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_peers_own_is_counted_as_other() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        for (code, label) in [
            (1001, "1001"),
            (1006, "1006"),
            (4007, "other"),
            (0, "other"),
        ] {
            let counted = metrics.closed.with_label_values(&[label]);
            let before = counted.get();
            metrics.count_closed(code);
            assert_eq!(counted.get(), before + 1, "{code}");
        }
        for reason in crate::protocol::CloseReason::ALL {
            let code = reason.code().to_string();
            assert!(CODES.contains(&code.as_str()), "{reason:?}");
        }
    }
}
