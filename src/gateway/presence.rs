//! Drives presence: diffs to this node's subscribers, messages to the other nodes.
//!
//! Presence itself keeps no time and sends nothing.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntGauge, Opts, Registry};
use tokio::sync::Notify;

use super::Failure;
use crate::broker::{Letter, nodes_topic};
use crate::clock;
use crate::presence::{Config, Fetch, Presence};
use crate::pubsub::PubSub;

/// How long changes gather before they are told; the design allows 50 ms.
const GATHER: Duration = Duration::from_millis(25);

/// How often presence is ticked when nothing changes.
const TICK: Duration = Duration::from_millis(250);

/// The presence of a node and what drives it.
pub(super) struct Driver {
    pub(super) presence: Arc<Presence>,
    changed: Arc<Notify>,
    entries: IntGauge,
}

impl Driver {
    /// Makes the presence of a node with a random name among the nodes.
    pub(super) fn new(registry: &Registry, fetch: Option<Fetch>) -> Result<Self, Failure> {
        let mut name = [0u8; 8];
        getrandom::fill(&mut name).map_err(|error| Failure::new("no random numbers", error))?;
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        let mut presence = Presence::new(u64::from_le_bytes(name), Config::default())
            .with_on_change(Arc::new(move || wake.notify_one()));
        if let Some(fetch) = fetch {
            presence = presence.with_fetch(fetch);
        }
        let opts = Opts::new(
            "fanfare_presence_entries",
            "Presences of this node's channels",
        );
        let metrics = |error| Failure::new("metrics", error);
        let entries = IntGauge::with_opts(opts).map_err(metrics)?;
        registry
            .register(Box::new(entries.clone()))
            .map_err(metrics)?;
        Ok(Self {
            presence: Arc::new(presence),
            changed,
            entries,
        })
    }

    /// Runs as long as it is polled.
    pub(super) async fn run(self, hub: Arc<PubSub>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(GATHER).await,
                _ = ticks.tick() => {}
            }
            self.presence.tick(clock::now());
            for (topic, diff) in self.presence.take_diffs_where(&|topic| hub.wants(topic)) {
                hub.announce(&topic, "presence_diff", diff);
            }
            for message in self.presence.take_messages(clock::now()) {
                hub.tell_nodes(&nodes_topic(), Letter::Presence(message));
            }
            self.entries
                .set(i64::try_from(self.presence.entries()).unwrap_or(i64::MAX));
        }
    }
}
