//! The sweep: small steps with pauses, again and again, on one node at a time.
//!
//! It never holds up the writers: a step is a short transaction that locks no topic.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};

use super::retention::{Next, Retention, Step};
use super::{Config, Store};
use crate::backoff::{Backoff, jitter};
use crate::clock;

/// How long a node keeps its turn without another step; a node that dies is followed after this.
const LEASE: Duration = Duration::from_secs(30);

/// How long to wait before asking for a turn that another node has.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Between two attempts while the store is away.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the sweep counts.
#[derive(Debug, Clone)]
pub struct SweepMetrics {
    /// `fanfare_sweep_records_total`: records removed by this node.
    records: IntCounter,
    /// `fanfare_sweep_errors_total`: steps that failed and were repeated.
    errors: IntCounter,
    /// `fanfare_sweep_finished_timestamp_seconds`: when this node's last sweep came to its end; 0 before.
    finished: IntGauge,
}

impl SweepMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When the registry already has a metric of one of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            records: IntCounter::new(
                "fanfare_sweep_records_total",
                "Records removed because they are not kept any longer.",
            )?,
            errors: IntCounter::new(
                "fanfare_sweep_errors_total",
                "Steps of a sweep that failed and were repeated.",
            )?,
            finished: IntGauge::new(
                "fanfare_sweep_finished_timestamp_seconds",
                "When this node's last sweep came to its end, in seconds since the Unix epoch.",
            )?,
        };
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.finished.clone()))?;
        Ok(metrics)
    }
}

/// A node's part in sweeping; whoever made it runs it.
pub struct Sweeper {
    store: Arc<dyn Store>,
    retention: Retention,
    metrics: SweepMetrics,
    rows_max: usize,
    pause: Duration,
    every: Duration,
}

impl Sweeper {
    /// Makes a sweeper; `None` when the rules keep everything.
    pub fn new(
        store: Arc<dyn Store>,
        config: &Config,
        retention: Retention,
        metrics: SweepMetrics,
    ) -> Option<Self> {
        (!retention.keeps_everything()).then_some(Self {
            store,
            retention,
            metrics,
            rows_max: config.sweep_records.max(1),
            pause: config.sweep_pause,
            every: config.sweep_every,
        })
    }

    /// Sweeps until it is dropped.
    ///
    /// # Cancel safety
    /// A step is one transaction: it is done or not.
    pub async fn run(self) {
        let holder = clock::uid().to_string();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        loop {
            let step = Step {
                holder: holder.clone(),
                lease: LEASE.max(self.pause * 3),
                rest: self.every,
                rows_max: self.rows_max,
                now: clock::unix_us(),
                retention: self.retention.clone(),
            };
            let wait = match self.store.sweep(&step).await {
                Ok(swept) => {
                    backoff.reset();
                    self.metrics.records.inc_by(swept.rows);
                    self.after(swept.next)
                }
                Err(error) => {
                    self.metrics.errors.inc();
                    tracing::warn!(%error, "a step of the sweep failed, will retry");
                    backoff.next_delay()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns how long to wait before the next step.
    fn after(&self, next: Next) -> Duration {
        let ask_again = ASK_AGAIN.min(self.every);
        match next {
            Next::NotNow => ask_again + jitter(ask_again / 2),
            Next::Step => self.pause,
            Next::Done => {
                let now = i64::try_from(clock::unix_s()).unwrap_or(i64::MAX);
                self.metrics.finished.set(now);
                self.every + jitter(ask_again / 2)
            }
        }
    }
}
