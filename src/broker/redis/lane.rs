//! A lane: one link that listens, one that publishes, and the topics that go over them.
//!
//! A server has one lane; a cluster with sharded pub/sub has several, each in one slot. They share nothing but
//! the room for what is to be published.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::channels::Channels;
use super::dial::{ConnectError, Dialer};
use super::link;
use super::probe::Probe;
use super::publisher::Publisher;
use super::queue::{Queue, Room};
use super::reception::Reception;
use super::subscription::Outcome;
use super::subscriptions::{Table, Want};
use crate::broker::{BrokerError, Config, Inbox, Metrics, Notice, Subscribed};
use crate::protocol::Topic;

/// What the two links and the callers share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) dialer: Dialer,
    pub(super) channels: Channels,
    pub(super) table: Mutex<Table>,
    /// Wakes the link when the table has something to send.
    pub(super) changed: Notify,
    connected: AtomicBool,
    links: Arc<Links>,
    pub(super) closed: Arc<watch::Sender<bool>>,
    pub(super) reception: Reception,
    pub(super) probe: Probe,
    pub(super) metrics: Metrics,
}

/// How many lanes are up.
pub(super) struct Links {
    lanes: usize,
    up: AtomicUsize,
    gauge: IntGauge,
}

impl Links {
    pub(super) fn new(lanes: usize, gauge: IntGauge) -> Self {
        Self {
            lanes,
            up: AtomicUsize::new(0),
            gauge,
        }
    }

    pub(super) fn are_up(&self) -> bool {
        self.up.load(Ordering::Acquire) == self.lanes
    }

    /// Returns an inbox a lane: together they are connected when all are.
    pub(super) fn inboxes(&self, inbox: &Inbox) -> Vec<Inbox> {
        let lanes = self.lanes;
        if lanes == 1 {
            return vec![Arc::clone(inbox)];
        }
        let up = Arc::new(Mutex::new(vec![false; lanes]));
        let inbox_of = |lane: usize| -> Inbox {
            let (up, inbox) = (Arc::clone(&up), Arc::clone(inbox));
            Arc::new(move |notice| {
                let connected = match notice {
                    Notice::Connected => true,
                    Notice::Disconnected => false,
                    Notice::Delivery(_) | Notice::Hole { .. } => return inbox(notice),
                };
                let mut up = up.lock();
                let all_before = up.iter().all(|up| *up);
                up[lane] = connected;
                // The lock keeps what is told of them in order.
                match (all_before, up.iter().all(|up| *up)) {
                    (false, true) => inbox(Notice::Connected),
                    (true, false) => inbox(Notice::Disconnected),
                    (true, true) | (false, false) => {}
                }
            })
        };
        (0..lanes).map(inbox_of).collect()
    }
}

/// What a lane is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) dialer: Dialer,
    pub(super) channels: Channels,
    pub(super) incarnation: u64,
    pub(super) inbox: Inbox,
    pub(super) joint: Joint,
}

/// What all lanes have in common.
#[derive(Clone)]
pub(super) struct Joint {
    pub(super) links: Arc<Links>,
    pub(super) closed: Arc<watch::Sender<bool>>,
    pub(super) room: Arc<Room>,
    pub(super) metrics: Metrics,
}

/// One lane.
pub(super) struct Lane {
    shared: Arc<Shared>,
    pub(super) queue: Queue,
}

impl Lane {
    /// Connects both links, and answers the future that runs them until the broker is closed.
    pub(super) async fn connect(
        parts: Parts,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), ConnectError> {
        let Parts {
            config,
            dialer,
            channels,
            incarnation,
            inbox,
            joint,
        } = parts;
        let Joint {
            links,
            closed,
            room,
            metrics,
        } = joint;
        let (reception, questions) =
            Reception::new(incarnation, links.lanes, inbox, metrics.clone());
        let (queue, letters) = Queue::new(&config, room, metrics.clone());
        let shared = Arc::new(Shared {
            config,
            dialer,
            channels,
            table: Mutex::new(Table::new()),
            changed: Notify::new(),
            connected: AtomicBool::new(false),
            links,
            closed,
            reception,
            probe: Probe::default(),
            metrics,
        });
        let link = link::open(&shared).await?;
        let publishing = shared.dialer.publishing().await?;
        let publisher = Publisher::new(Arc::clone(&shared), letters, questions, incarnation);
        let listening = Arc::clone(&shared);
        let run = async move {
            tokio::select! {
                never = link::run(&listening, link) => match never {},
                // It answers the other nodes' questions to its end, so the link is the last to go.
                () = publisher.run(publishing) => listening.link_down(),
            }
        };
        Ok((Self { shared, queue }, run))
    }

    /// Subscribes this node to a topic; concurrent calls for one topic share one command.
    pub(super) async fn subscribe(&self, topic: &Topic) -> Result<Subscribed, BrokerError> {
        if *self.shared.closed.borrow() {
            return Err(BrokerError::Closed);
        }
        let wanted = self.shared.table.lock().want(topic);
        let mut pending = match wanted {
            Want::Subscribed => return Ok(Subscribed::Acknowledged),
            Want::Deferred => return Ok(Subscribed::Deferred),
            Want::Pending(pending) => pending,
        };
        self.shared.changed.notify_one();
        let answer = timeout(
            self.shared.config.join_timeout,
            pending.wait_for(Option::is_some),
        )
        .await
        // A sender that went without a word was withdrawn with its topic.
        .map(|told| told.map_or(Some(Outcome::Refused), |outcome| *outcome));
        // Only other callers' waits may count from here on.
        drop(pending);
        match answer
            .ok()
            .flatten()
            .unwrap_or_else(|| self.shared.table.lock().abandon(topic))
        {
            Outcome::Acknowledged => Ok(Subscribed::Acknowledged),
            Outcome::Deferred => Ok(Subscribed::Deferred),
            Outcome::Refused => {
                self.shared.changed.notify_one();
                Err(BrokerError::Unacknowledged)
            }
        }
    }

    pub(super) fn unsubscribe(&self, topic: &Topic) {
        self.shared.table.lock().unwant(topic.as_str());
        self.shared.changed.notify_one();
    }
}

impl Shared {
    /// Waits until the broker is closed.
    pub(super) async fn closing(&self) {
        closing(&self.closed).await;
    }

    /// Notes whether the other nodes' publishes arrive on this lane.
    pub(super) fn set_connected(&self, connected: bool) {
        if self.connected.swap(connected, Ordering::AcqRel) == connected {
            return;
        }
        match connected {
            true => self.links.up.fetch_add(1, Ordering::AcqRel),
            false => self.links.up.fetch_sub(1, Ordering::AcqRel),
        };
        self.links.gauge.set(i64::from(self.links.are_up()));
    }
}

/// Waits until the broker is closed.
pub(super) async fn closing(closed: &watch::Sender<bool>) {
    let mut closed = closed.subscribe();
    // The sender is here, so that waiting cannot fail.
    let _ = closed.wait_for(|closed| *closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_connected_together_and_each_notice_is_told_once() {
        let told = Arc::new(Mutex::new(String::new()));
        let inbox: Inbox = {
            let told = Arc::clone(&told);
            Arc::new(move |notice| {
                told.lock().push(match notice {
                    Notice::Connected => 'c',
                    Notice::Disconnected => 'x',
                    Notice::Delivery(_) | Notice::Hole { .. } => '?',
                });
            })
        };
        let links = Links::new(2, IntGauge::new("g", "g").unwrap());
        let lanes = links.inboxes(&inbox);
        let check = |lane: usize, notice: Notice, expected: &str| {
            lanes[lane](notice);
            assert_eq!(*told.lock(), expected);
        };
        check(0, Notice::Connected, "");
        check(1, Notice::Connected, "c");
        check(0, Notice::Disconnected, "cx");
        check(0, Notice::Disconnected, "cx");
        check(1, Notice::Disconnected, "cx");
        check(0, Notice::Connected, "cx");
        check(1, Notice::Connected, "cxc");
    }
}
