//! What the hub counts: broadcasts, pasts read for joins, records healed and gone.
//!
//! Labels are an origin and a source, never a topic.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// What the hub counts.
#[derive(Clone)]
pub struct Metrics {
    /// `fanfare_broadcasts_total{origin="local"}`: broadcasts of this node.
    pub local: IntCounter,
    /// `fanfare_broadcasts_total{origin="remote"}`: broadcasts of other nodes.
    pub remote: IntCounter,
    /// `fanfare_records_healed_total`: records that were read from the store to fill a hole.
    pub healed: IntCounter,
    /// `fanfare_histories_total{source}`: pasts read for joins, from `memory` or the `store`.
    pub histories: IntCounterVec,
    /// `fanfare_records_gone_total`: ids that were skipped because the store has them no more.
    pub gone: IntCounter,
    /// `fanfare_mailboxes_healed_total`: topics whose records did not fit into a worker's mailbox and were read again.
    pub mailboxes_healed: IntCounter,
    /// `fanfare_topics_refused_total`: joins refused because the node has `limits.topics`.
    pub topics_refused: IntCounter,
}

impl Metrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When a family of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, text: &str| Opts::new(name, text).namespace("fanfare");
        let broadcasts = IntCounterVec::new(
            opts("broadcasts_total", "Broadcasts by origin"),
            &["origin"],
        )?;
        registry.register(Box::new(broadcasts.clone()))?;
        let metrics = Self {
            local: broadcasts.with_label_values(&["local"]),
            remote: broadcasts.with_label_values(&["remote"]),
            healed: IntCounter::with_opts(opts(
                "records_healed_total",
                "Records read from the store to fill a hole",
            ))?,
            histories: IntCounterVec::new(
                opts("histories_total", "Pasts read for joins by source"),
                &["source"],
            )?,
            gone: IntCounter::with_opts(opts(
                "records_gone_total",
                "Record ids skipped as no longer kept",
            ))?,
            mailboxes_healed: IntCounter::with_opts(opts(
                "mailboxes_healed_total",
                "Topics whose records a full mailbox could not take and that were read from the store",
            ))?,
            topics_refused: IntCounter::with_opts(opts(
                "topics_refused_total",
                "Joins refused because the node has as many topics as it may",
            ))?,
        };
        registry.register(Box::new(metrics.healed.clone()))?;
        registry.register(Box::new(metrics.histories.clone()))?;
        registry.register(Box::new(metrics.gone.clone()))?;
        registry.register(Box::new(metrics.mailboxes_healed.clone()))?;
        registry.register(Box::new(metrics.topics_refused.clone()))?;
        // A rate sees the first event of a series only when it was 0 before.
        for source in ["memory", "store"] {
            metrics.histories.with_label_values(&[source]);
        }
        Ok(metrics)
    }
}
