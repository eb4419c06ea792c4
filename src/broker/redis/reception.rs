//! What arrives from Redis: read, put in its place and handed to the inbox, in order.
//!
//! It never waits: it runs where the link is read.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::broker::envelope::Envelope;
use crate::broker::sequence::{Arrival, Place, Positions};
use crate::broker::{Delivery, Inbox, Metrics, Notice};
use crate::clock;

/// The inbox with what is known of the other nodes' publishes.
pub(super) struct Reception {
    incarnation: u64,
    inbox: Inbox,
    metrics: Metrics,
    state: Mutex<State>,
}

/// The lock is held while the inbox takes a notice, so that notices are told one after the other.
struct State {
    /// The link that is listened to; what an older one still brings is too late.
    link: u64,
    positions: Positions,
}

impl Reception {
    pub(super) fn new(incarnation: u64, inbox: Inbox, metrics: Metrics) -> Self {
        let state = State {
            link: 0,
            positions: Positions::new(),
        };
        Self {
            incarnation,
            inbox,
            metrics,
            state: Mutex::new(state),
        }
    }

    /// Starts to listen to a new link and returns its number.
    pub(super) fn listen(&self) -> u64 {
        let mut state = self.state.lock();
        state.link += 1;
        state.link
    }

    /// Tells the inbox that the link is up and every topic subscribed.
    pub(super) fn connected(&self) {
        let _told_in_order = self.state.lock();
        (self.inbox)(Notice::Connected);
    }

    /// Stops to listen to the current link and tells the inbox.
    pub(super) fn disconnected(&self) {
        let mut state = self.state.lock();
        state.link += 1;
        (self.inbox)(Notice::Disconnected);
    }

    /// Forgets what arrived on a topic: from here on it starts anew.
    pub(super) fn forget(&self, topic: &str) {
        self.state.lock().positions.forget(topic);
    }

    /// Takes a message of a link.
    pub(super) fn message(&self, link: u64, bytes: &Bytes) {
        if Envelope::incarnation(bytes) == Some(self.incarnation) {
            return;
        }
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) => envelope,
            Err(cause) => {
                self.metrics.malformed.inc();
                tracing::debug!(%cause, "a publish of another node cannot be read");
                return;
            }
        };
        let Envelope {
            incarnation,
            sequence,
            previous,
            accepted_at,
            topic,
            letter,
        } = envelope;
        let mut state = self.state.lock();
        if state.link != link {
            return;
        }
        match state
            .positions
            .arrived(&topic, incarnation, Place { sequence, previous })
        {
            Arrival::InOrder => {}
            Arrival::Duplicate => {
                self.metrics.duplicates.inc();
                return;
            }
            Arrival::AfterHole { missed } => {
                self.metrics.lost.inc_by(missed.unwrap_or(1));
                let topic = topic.clone();
                (self.inbox)(Notice::Hole { topic, missed });
            }
        }
        self.metrics.lag_seconds.observe(seconds_since(accepted_at));
        (self.inbox)(Notice::Delivery(Delivery {
            topic,
            letter,
            accepted_at,
        }));
    }
}

/// Clocks of two nodes may disagree: a time to come counts as now.
fn seconds_since(at: clock::UnixMicros) -> f64 {
    let micros = clock::unix_us().saturating_sub(at).max(0);
    std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Letter;
    use std::sync::Arc;

    fn sent(incarnation: u64, sequence: u64, previous: u64) -> Bytes {
        let envelope = Envelope {
            incarnation,
            sequence,
            previous,
            accepted_at: 0,
            topic: "a".try_into().unwrap(),
            letter: Letter::Presence(Bytes::new()),
        };
        envelope.encode().unwrap()
    }

    /// Feeds messages to a node of incarnation 1 and returns what its inbox was told, by a letter each.
    fn told(messages: &[(u64, Bytes)]) -> (String, Metrics) {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let inbox: Inbox = {
            let log = Arc::clone(&log);
            Arc::new(move |notice| {
                log.lock().push(match notice {
                    Notice::Delivery(_) => 'd',
                    Notice::Connected => 'c',
                    Notice::Disconnected => 'x',
                    Notice::Hole { .. } => 'h',
                });
            })
        };
        let reception = Reception::new(1, inbox, metrics.clone());
        assert_eq!(reception.listen(), 1);
        for (link, bytes) in messages {
            reception.message(*link, bytes);
        }
        let log = log.lock().clone();
        (log, metrics)
    }

    #[test]
    fn own_publishes_are_dropped() {
        assert_eq!(told(&[(1, sent(1, 1, 0)), (1, sent(2, 1, 0))]).0, "d");
    }

    #[test]
    fn a_link_that_was_given_up_is_not_heard() {
        assert_eq!(told(&[(0, sent(2, 1, 0)), (1, sent(2, 2, 1))]).0, "d");
    }

    #[test]
    fn duplicates_are_dropped_and_counted() {
        let (log, metrics) = told(&[(1, sent(2, 1, 0)), (1, sent(2, 1, 0))]);
        assert_eq!((log.as_str(), metrics.duplicates.get()), ("d", 1));
    }

    #[test]
    fn a_hole_is_told_before_the_delivery_that_shows_it() {
        let (log, metrics) = told(&[(1, sent(2, 1, 0)), (1, sent(2, 9, 8))]);
        assert_eq!((log.as_str(), metrics.lost.get()), ("dhd", 1));
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        let (log, metrics) = told(&[(1, Bytes::from_static(b"hello"))]);
        assert_eq!((log.as_str(), metrics.malformed.get()), ("", 1));
    }
}
