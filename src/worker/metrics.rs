//! What workers count: connections, deliveries and turns.
//!
//! A fan-out adds to a counter once, not once a subscriber.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The counters that every worker of a node shares.
#[derive(Clone)]
pub struct Metrics {
    /// `fanfare_connections{transport}`: open connections.
    pub connections: IntGaugeVec,
    /// `fanfare_connections_opened_total{transport}`.
    pub opened: IntCounterVec,
    /// `fanfare_connections_closed_total{code}`: by close code; 1006 is a peer that vanished.
    pub closed: IntCounterVec,
    /// `fanfare_connect_refused_total{reason}`: streams and handshakes refused before the upgrade, by [`REASONS`].
    pub refused: IntCounterVec,
    /// `fanfare_deliveries_total`: frames of broadcasts appended to outboxes.
    pub deliveries: IntCounter,
    /// `fanfare_deliveries_dropped_total{reason}`: `slow`, `serializer`, `transport` or `mailbox`.
    pub dropped: IntCounterVec,
    /// `fanfare_delivery_seconds{path}`: accepted by a node to handed to the last socket.
    pub delivery_seconds: HistogramVec,
    /// `fanfare_records_total{kind,outcome}`: `stored`, `known`, `refused`, `abandoned` or `unavailable`.
    pub records: IntCounterVec,
    /// `fanfare_worker_turn_seconds{worker}`: one batch of a worker's mailbox.
    pub turn_seconds: HistogramVec,
    /// `fanfare_worker_sockets{worker}`: open connections by worker.
    pub sockets: IntGaugeVec,
    /// `fanfare_draining`: 1 from the moment the node is told to go.
    pub draining: IntGauge,
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

impl Metrics {
    /// Counts somebody who is not let in.
    pub(super) fn count_refused(&self, reason: &str) {
        debug_assert!(REASONS.contains(&reason), "{reason} is not in the list");
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Registers the families.
    ///
    /// # Errors
    /// When a family of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::new()?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.opened.clone()))?;
        registry.register(Box::new(metrics.closed.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.delivery_seconds.clone()))?;
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.turn_seconds.clone()))?;
        registry.register(Box::new(metrics.sockets.clone()))?;
        registry.register(Box::new(metrics.draining.clone()))?;
        registry.register(Box::new(metrics.accept_errors.clone()))?;
        for reason in REASONS {
            metrics.refused.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    fn new() -> Result<Self, prometheus::Error> {
        let opts = |name: &str, text: &str| Opts::new(name, text).namespace("fanfare");
        let seconds = |name: &str, text: &str| {
            HistogramOpts::new(name, text)
                .namespace("fanfare")
                .buckets(vec![
                    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
                    0.25, 0.5, 1.0, 2.5,
                ])
        };
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
            delivery_seconds: HistogramVec::new(
                seconds(
                    "delivery_seconds",
                    "Accepted by a node to handed to the last socket",
                ),
                &["path"],
            )?,
            records: IntCounterVec::new(
                opts("records_total", "Records by kind and outcome"),
                &["kind", "outcome"],
            )?,
            turn_seconds: HistogramVec::new(
                seconds("worker_turn_seconds", "One batch of a worker's mailbox"),
                &["worker"],
            )?,
            sockets: IntGaugeVec::new(
                opts("worker_sockets", "Open connections by worker"),
                &["worker"],
            )?,
            draining: IntGauge::with_opts(opts("draining", "Whether the node was told to go"))?,
            accept_errors: IntCounter::with_opts(opts(
                "accept_errors_total",
                "Connections that could not be accepted",
            ))?,
        })
    }
}
