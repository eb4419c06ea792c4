//! What arrives from Redis: read, put in order and handed to the inbox.
//!
//! It never waits: it runs where the link is read.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::broker::envelope::Envelope;
use crate::broker::repair::{Message, Reliability, To, Told};
use crate::broker::{Inbox, Metrics, NODES, Notice, nodes_topic};
use crate::clock;
use crate::protocol::Topic;

/// Questions of other nodes that wait for the publisher. Then: they are dropped, and asked again.
const QUESTIONS: usize = 256;

/// A question of another node to this one's publishing side.
pub(super) type Question = (u64, Message);

/// The inbox with what is known of the other nodes' publishes.
pub(super) struct Reception {
    incarnation: u64,
    inbox: Inbox,
    metrics: Metrics,
    questions: mpsc::Sender<Question>,
    /// Wakes the publisher when there is something to ask.
    pub(super) asking: Notify,
    /// Wakes the link when time begins to matter.
    pub(super) restless: Notify,
    state: Mutex<State>,
}

/// The lock is held while the inbox takes a notice, so that notices are told one after the other.
struct State {
    /// The link that is listened to; what an older one still brings is too late.
    link: u64,
    reliability: Reliability,
    nodes_known: bool,
    /// Whether the link knows that time matters.
    restless: bool,
}

impl Reception {
    pub(super) fn new(
        incarnation: u64,
        lanes: usize,
        inbox: Inbox,
        metrics: Metrics,
    ) -> (Self, mpsc::Receiver<Question>) {
        let state = State {
            link: 0,
            reliability: Reliability::new(lanes, clock::now()),
            nodes_known: false,
            restless: false,
        };
        let (questions, receiver) = mpsc::channel(QUESTIONS);
        let reception = Self {
            incarnation,
            inbox,
            metrics,
            questions,
            asking: Notify::new(),
            restless: Notify::new(),
            state: Mutex::new(state),
        };
        (reception, receiver)
    }

    /// Starts to listen to a new link, on which the node topic is subscribed first, and returns its number.
    pub(super) fn listen(&self) -> u64 {
        let mut state = self.state.lock();
        state.link += 1;
        let (link, now) = (state.link, clock::now());
        state.reliability.link_opened(link, now);
        state.reliability.subscribing(&nodes_topic(), now);
        link
    }

    /// Notes that the node topic is subscribed on a link.
    pub(super) fn nodes_subscribed(&self, link: u64) {
        let mut state = self.state.lock();
        if state.link == link {
            let anew = !std::mem::replace(&mut state.nodes_known, true);
            state.reliability.subscribed(NODES, anew);
            self.notify(&mut state);
        }
    }

    /// Notes that subscriptions are about to be sent.
    pub(super) fn subscribing(&self, topics: &[Topic]) {
        let mut state = self.state.lock();
        let now = clock::now();
        for topic in topics {
            state.reliability.subscribing(topic, now);
        }
    }

    /// Notes that a topic is subscribed; `anew`: what came on earlier links does not count.
    pub(super) fn subscribed(&self, topic: &str, anew: bool) {
        let mut state = self.state.lock();
        state.reliability.subscribed(topic, anew);
        self.notify(&mut state);
    }

    /// Forgets what arrived on a topic: from here on it starts anew.
    pub(super) fn forget(&self, topic: &str) {
        self.state.lock().reliability.forget(topic);
    }

    /// Tells the inbox that the link is up and every topic subscribed.
    pub(super) fn connected(&self) {
        let mut state = self.state.lock();
        state.reliability.restored();
        (self.inbox)(Notice::Connected);
    }

    /// Stops to listen to the current link and tells the inbox.
    pub(super) fn disconnected(&self) {
        let mut state = self.state.lock();
        state.link += 1;
        state.reliability.link_lost();
        (self.inbox)(Notice::Disconnected);
    }

    /// Wakes who asks, and who lets time pass, when there is a reason.
    fn notify(&self, state: &mut State) {
        if state.reliability.is_asking() {
            self.asking.notify_one();
        }
        if !state.restless && state.reliability.is_restless() {
            state.restless = true;
            self.restless.notify_one();
        }
    }

    /// Lets time pass; returns whether it goes on to matter.
    pub(super) fn tick(&self) -> bool {
        let mut state = self.state.lock();
        state
            .reliability
            .tick(clock::now(), &mut |told| self.tell(told));
        state.restless = state.reliability.is_restless();
        if state.restless {
            // There may be something to ask again.
            self.asking.notify_one();
        }
        state.restless
    }

    /// Returns what is to be asked of other nodes now.
    pub(super) fn requests(&self) -> Vec<(To, Message)> {
        self.state.lock().reliability.requests(clock::now())
    }

    /// Takes a message of a link; `own`: it came on the channel of this node alone.
    ///
    /// Returns the number of a probe that came back.
    pub(super) fn message(&self, link: u64, own: bool, bytes: &Bytes) -> Option<u64> {
        if Envelope::incarnation(bytes) == Some(self.incarnation) {
            return match Message::decode(bytes) {
                Ok((_, Message::Probe(number))) if own => Some(number),
                _ => None,
            };
        }
        let read = if Message::is(bytes) {
            Message::decode(bytes).map(|(origin, message)| self.said(link, origin, message))
        } else {
            Envelope::decode(bytes).map(|envelope| self.letter(link, own, envelope))
        };
        if let Err(cause) = read {
            self.metrics.malformed.inc();
            tracing::debug!(%cause, "a publish of another node cannot be read");
        }
        None
    }

    fn letter(&self, link: u64, resent: bool, envelope: Envelope) {
        let mut state = self.state.lock();
        if state.link != link {
            return;
        }
        let reliability = &mut state.reliability;
        reliability.letter(envelope, resent, clock::now, &mut |told| self.tell(told));
        self.notify(&mut state);
    }

    fn said(&self, link: u64, origin: u64, message: Message) {
        let question = match &message {
            Message::Inquiry { .. } | Message::Request(_) => Some(message.clone()),
            Message::Announcement { .. }
            | Message::Standing { .. }
            | Message::Outcome(_)
            | Message::Probe(_)
            | Message::Leaving => None,
        };
        let mut state = self.state.lock();
        if state.link != link {
            return;
        }
        let (reliability, now) = (&mut state.reliability, clock::now());
        reliability.message(origin, message, now, &mut |told| self.tell(told));
        self.notify(&mut state);
        if let Some(question) = question {
            // When there is no room it is asked again.
            let _ = self.questions.try_send((origin, question));
        }
    }

    fn tell(&self, told: Told) {
        match &told {
            Told::Letter { envelope, healed } => {
                self.metrics.healed.inc_by(u64::from(*healed));
                let lag = seconds_since(envelope.accepted_at);
                self.metrics.lag_seconds.observe(lag);
            }
            Told::Lost { missed, .. } => self.metrics.lost.inc_by(missed.unwrap_or(1)),
            Told::Duplicate => self.metrics.duplicates.inc(),
        }
        if let Some(notice) = told.notice() {
            (self.inbox)(notice);
        }
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
    use futures_util::FutureExt;
    use std::sync::Arc;

    fn sent(incarnation: u64, sequence: u64, previous: u64) -> Bytes {
        let envelope = Envelope {
            incarnation,
            sequence,
            previous,
            nth: sequence,
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
        let (reception, _questions) = Reception::new(1, 1, inbox, metrics.clone());
        assert_eq!(reception.listen(), 1);
        reception.subscribing(&["a".try_into().unwrap()]);
        reception.subscribed("a", true);
        for (link, bytes) in messages {
            assert_eq!(reception.message(*link, false, bytes), None);
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
        assert_eq!(told(&[(0, sent(2, 1, 0)), (1, sent(2, 2, 0))]).0, "d");
    }

    #[test]
    fn duplicates_are_dropped_and_counted() {
        let (log, metrics) = told(&[(1, sent(2, 1, 0)), (1, sent(2, 1, 0))]);
        assert_eq!((log.as_str(), metrics.duplicates.get()), ("d", 1));
    }

    #[test]
    fn what_follows_a_hole_is_held_back() {
        let (log, metrics) = told(&[(1, sent(2, 1, 0)), (1, sent(2, 9, 8))]);
        assert_eq!((log.as_str(), metrics.lost.get()), ("d", 0));
    }

    #[test]
    fn time_matters_while_something_is_missing_and_the_link_is_told_when_it_begins_to() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let (reception, _questions) = Reception::new(1, 1, Arc::new(|_| {}), metrics);
        let link = reception.listen();
        let told = || reception.restless.notified().now_or_never().is_some();
        reception.subscribing(&["a".try_into().unwrap()]);
        assert!(!reception.tick() && !told());
        reception.subscribed("a", true);
        assert!(told(), "the others are to be asked where they stand");
        assert!(reception.tick(), "nobody has asked yet");
        reception.requests();
        assert!(!reception.tick(), "there is nobody to answer");
        reception.message(link, false, &sent(2, 1, 0));
        assert!(!told() && !reception.tick());
        reception.message(link, false, &sent(2, 3, 2));
        assert!(told() && reception.tick(), "the second is missing");
        reception.message(link, false, &sent(2, 5, 4));
        assert!(!told() && reception.tick(), "it knows");
        reception.message(link, true, &sent(2, 2, 1));
        assert!(reception.tick(), "the fourth is missing");
        reception.message(link, true, &sent(2, 4, 3));
        assert!(!reception.tick());
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        let (log, metrics) = told(&[(1, Bytes::from_static(b"hello"))]);
        assert_eq!((log.as_str(), metrics.malformed.get()), ("", 1));
    }

    #[test]
    fn a_probe_comes_back_on_the_own_channel_only() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let (reception, _questions) = Reception::new(1, 1, Arc::new(|_| {}), metrics);
        let probe = |from| Message::Probe(7).encode(from).unwrap();
        assert_eq!(reception.message(0, true, &probe(1)), Some(7));
        assert_eq!(reception.message(0, false, &probe(1)), None);
        assert_eq!(reception.message(0, true, &probe(2)), None);
    }
}
