//! The broker's metrics.
//!
//! They never have a label: neither a topic nor a node.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// Upper bounds of the buckets, in seconds: 100 µs to 10 s.
const SECONDS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// What is counted between the nodes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `fanfare_broker_connected`: 1 while the other nodes' publishes arrive, else 0.
    pub connected: IntGauge,
    /// `fanfare_broker_publish_seconds`: from a letter's queueing to Redis' answer.
    pub publish_seconds: Histogram,
    /// `fanfare_broker_lag_seconds`: from acceptance on one node, by its clock, to arrival on this one.
    pub lag_seconds: Histogram,
    /// `fanfare_broker_reconnects_total`: lost links, of either kind, that were made anew.
    pub reconnects: IntCounter,
    /// `fanfare_broker_healed_total`: publishes that did not arrive at first and were sent again by their node.
    pub healed: IntCounter,
    /// `fanfare_broker_lost_total`: publishes given up on; a hole of unknown size counts as one.
    pub lost: IntCounter,
    /// `fanfare_broker_duplicates_total`: publishes that arrived again and were dropped.
    pub duplicates: IntCounter,
    /// `fanfare_broker_malformed_total`: envelopes of an unknown version or kind, or cut off.
    pub malformed: IntCounter,
    /// `fanfare_broker_refused_total`: publishes refused because the queue was full.
    pub refused: IntCounter,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When one of the names is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, about: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, about)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let histogram = |name: &str, about: &str| -> prometheus::Result<Histogram> {
            let options = HistogramOpts::new(name, about).buckets(SECONDS.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let connected = IntGauge::new(
            "fanfare_broker_connected",
            "1 while the publishes of the other nodes arrive",
        )?;
        registry.register(Box::new(connected.clone()))?;
        Ok(Self {
            connected,
            publish_seconds: histogram(
                "fanfare_broker_publish_seconds",
                "Seconds from queueing a publish to the broker's answer",
            )?,
            lag_seconds: histogram(
                "fanfare_broker_lag_seconds",
                "Seconds from acceptance on another node to arrival here",
            )?,
            reconnects: counter(
                "fanfare_broker_reconnects_total",
                "Lost links to the broker that were made anew",
            )?,
            healed: counter(
                "fanfare_broker_healed_total",
                "Publishes of other nodes that were missed and sent again",
            )?,
            lost: counter(
                "fanfare_broker_lost_total",
                "Publishes of other nodes given up on",
            )?,
            duplicates: counter(
                "fanfare_broker_duplicates_total",
                "Publishes of other nodes that arrived again and were dropped",
            )?,
            malformed: counter(
                "fanfare_broker_malformed_total",
                "Envelopes that could not be read",
            )?,
            refused: counter(
                "fanfare_broker_refused_total",
                "Publishes refused because the queue was full",
            )?,
        })
    }
}
