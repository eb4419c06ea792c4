//! The probe: what this node publishes must come back on the link that listens.
//!
//! A link can answer every PING and still hear nothing: half open, or attached to a Redis that was demoted.
//! It never doubts a link while the other one is down.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::heartbeat::Loss;
use super::lane::Shared;

/// The probe on its way: asked for by the link that listens, sent by the one that publishes.
#[derive(Debug)]
pub(super) struct Probe {
    /// Wakes the publisher to send one.
    pub(super) wanted: Notify,
    /// Wakes the publisher to connect anew.
    pub(super) redo: Notify,
    answered: watch::Sender<u64>,
    returned: AtomicU64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            wanted: Notify::new(),
            redo: Notify::new(),
            answered: watch::Sender::new(0),
            returned: AtomicU64::new(0),
        }
    }
}

impl Probe {
    /// Notes that Redis has published a probe.
    pub(super) fn answered(&self, number: u64) {
        self.answered.send_replace(number);
    }

    /// Notes that a probe came back.
    pub(super) fn returned(&self, number: u64) {
        self.returned.fetch_max(number, Ordering::AcqRel);
    }
}

/// Probes each `ping_interval` until nothing came back for `ping_timeout`.
///
/// A PING that follows Redis' answer to the publish bounds the wait: what was published before it arrives before
/// the PONG, however much waits in front of it. One that is missing proves little, Redis may lose it.
pub(super) async fn watch(shared: &Shared, mut connection: MultiplexedConnection) -> Loss {
    let config = &shared.config;
    let mut answered = shared.probe.answered.subscribe();
    let mut missing = 0;
    loop {
        sleep(config.ping_interval).await;
        answered.mark_unchanged();
        shared.probe.wanted.notify_one();
        // Without an answer nothing is known: the publishing link is being made anew.
        if timeout(config.ping_timeout, answered.changed())
            .await
            .is_err()
        {
            continue;
        }
        let number = *answered.borrow_and_update();
        if let Err(cause) = redis::cmd("PING").exec_async(&mut connection).await {
            return Loss::Broken(Some(cause));
        }
        if shared.probe.returned.load(Ordering::Acquire) >= number {
            missing = 0;
            continue;
        }
        missing += 1;
        if config.ping_interval * missing >= config.ping_timeout {
            return Loss::Deaf;
        }
    }
}
