//! What the writer counts.
//!
//! It never has a label: topics and players are not bounded.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The writer's metrics, shared by its lanes.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `fanfare_writer_queue`: records submitted and not answered yet.
    pub(super) queue: IntGauge,
    /// `fanfare_writer_batch_records`: records of each stored batch.
    pub(super) batch_records: Histogram,
    /// `fanfare_writer_commit_seconds`: how long each successful attempt at a batch took.
    pub(super) commit_seconds: Histogram,
    /// `fanfare_writer_retries_total`: attempts that failed and were repeated.
    pub(super) retries: IntCounter,
    /// `fanfare_writer_refused_total`: records that a full lane or the store itself refused.
    pub(super) refused: IntCounter,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When the registry already has a metric of one of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let batch_records = HistogramOpts::new(
            "fanfare_writer_batch_records",
            "Records of each stored batch.",
        )
        .buckets(prometheus::exponential_buckets(1.0, 2.0, 11)?);
        let commit_seconds = HistogramOpts::new(
            "fanfare_writer_commit_seconds",
            "How long each stored batch took.",
        )
        .buckets(prometheus::exponential_buckets(0.000_25, 2.0, 16)?);
        let metrics = Self {
            queue: IntGauge::new(
                "fanfare_writer_queue",
                "Records submitted to the writer and not answered yet.",
            )?,
            batch_records: Histogram::with_opts(batch_records)?,
            commit_seconds: Histogram::with_opts(commit_seconds)?,
            retries: IntCounter::new(
                "fanfare_writer_retries_total",
                "Attempts to store a batch that failed and were repeated.",
            )?,
            refused: IntCounter::new(
                "fanfare_writer_refused_total",
                "Records refused, by a full lane or by the store.",
            )?,
        };
        registry.register(Box::new(metrics.queue.clone()))?;
        registry.register(Box::new(metrics.batch_records.clone()))?;
        registry.register(Box::new(metrics.commit_seconds.clone()))?;
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        Ok(metrics)
    }
}
