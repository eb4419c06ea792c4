//! Which messages two nodes exchange, one by one, when some of them are lost or come twice.
//!
//! Exact messages; that everybody agrees in the end is the simulation's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::gossip::{END, Gossip};
use super::*;

/// A node that speaks (number 1) and one that listens (number 2).
struct Pair {
    from: Presence,
    to: Presence,
    now: Instant,
    owners: u64,
}

/// Names a message.
fn name(message: &Bytes) -> String {
    match Gossip::decode(message).unwrap().1 {
        Gossip::Delta { from, to, changes } => format!("delta {from}-{to}:{}", changes.len()),
        Gossip::Snapshot { first, end, .. } => match end {
            END => format!("snapshot {first}-"),
            end => format!("snapshot {first}-{end}"),
        },
        Gossip::Heartbeat { version, ask, .. } => match ask {
            true => format!("ask {version}"),
            false => format!("beat {version}"),
        },
        Gossip::Request { target, from } => match from {
            Some(from) => format!("request {target} from {from}"),
            None => format!("request {target}"),
        },
        Gossip::Goodbye => "goodbye".to_owned(),
    }
}

fn names(messages: &[Bytes]) -> String {
    messages.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn topic() -> Topic {
    Topic::try_from("room:1").unwrap()
}

impl Pair {
    /// Two nodes that know each other's state.
    fn new() -> Self {
        let config = Config {
            message_bytes: 8 * 1024,
            ..Config::default()
        };
        let pair = Self {
            from: Presence::new(1, config.clone()),
            to: Presence::new(2, config),
            now: crate::clock::now(),
            owners: 0,
        };
        for _ in 0..3 {
            pair.hear(&pair.say());
            pair.answer();
        }
        assert_eq!((names(&pair.say()), names(&pair.ask())), Default::default());
        pair
    }

    /// Tracks `count` presences with metas of about 2 KiB.
    fn track(&mut self, count: usize) {
        let meta = Payload::from_value(&json!({"pad": "x".repeat(2_000)}));
        for _ in 0..count {
            self.owners += 1;
            let owner = Owner(self.owners);
            self.from.track(owner, &topic(), "k", &meta).unwrap();
        }
    }

    fn leave(&self, owner: u64) {
        self.from.leave(Owner(owner), &topic());
    }

    fn say(&self) -> Vec<Bytes> {
        self.from.take_messages(self.now)
    }

    fn hear(&self, messages: &[Bytes]) {
        for message in messages {
            self.to.receive(message, self.now).unwrap();
        }
    }

    fn ask(&self) -> Vec<Bytes> {
        self.to.take_messages(self.now)
    }

    /// Carries what the listener says back, and returns its name.
    fn answer(&self) -> String {
        let messages = self.ask();
        for message in &messages {
            self.from.receive(message, self.now).unwrap();
        }
        names(&messages)
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn assert_same(&self) {
        assert_eq!(self.from.list(&topic()), self.to.list(&topic()));
    }
}

#[test]
fn a_lost_delta_is_repeated_alone() {
    let mut pair = Pair::new();
    pair.wait_ms(1_000);
    pair.track(1);
    assert_eq!(names(&pair.say()), "delta 0-1:1");
    pair.track(1);
    let second = pair.say();
    pair.hear(&second);
    assert_eq!(pair.answer(), "request 1 from 0");
    assert_eq!(pair.answer(), "", "asked once");
    let again = pair.say();
    assert_eq!(names(&again), "delta 0-1:1, delta 1-2:1, beat 2");
    pair.hear(&again);
    pair.assert_same();
    pair.wait_ms(1_000);
    assert_eq!(pair.answer(), "", "nothing is missing any more");
}

#[test]
fn a_delta_that_comes_twice_or_late_is_ignored() {
    let mut pair = Pair::new();
    pair.wait_ms(1_000);
    pair.track(2);
    let first = pair.say();
    pair.leave(1);
    let second = pair.say();
    for messages in [&first, &second, &first, &second] {
        pair.hear(messages);
    }
    assert_eq!(pair.answer(), "");
    pair.assert_same();
}

#[test]
fn a_request_is_repeated_every_second_until_it_is_answered() {
    let mut pair = Pair::new();
    pair.wait_ms(1_000);
    pair.track(1);
    pair.say();
    pair.from.tick(pair.now);
    pair.hear(&pair.say());
    for _ in 0..3 {
        assert_eq!(names(&pair.ask()), "request 1 from 0");
        pair.wait_ms(900);
        assert_eq!(names(&pair.ask()), "");
        pair.wait_ms(100);
    }
}

#[test]
fn a_copy_that_differs_at_the_same_version_is_replaced() {
    let mut pair = Pair::new();
    pair.wait_ms(1_000);
    pair.track(2);
    pair.say();
    let wrong = Gossip::Delta {
        from: 0,
        to: 2,
        changes: Vec::new(),
    };
    pair.hear(&[wrong.encode(1)]);
    pair.from.tick(pair.now);
    let beat = pair.say();
    assert_eq!(names(&beat), "beat 2");
    pair.hear(&beat);
    assert_eq!(pair.answer(), "request 1");
    let all = pair.say();
    assert_eq!(names(&all), "beat 2, snapshot 0-");
    pair.hear(&all);
    pair.assert_same();
}

#[test]
fn changes_during_a_snapshot_reach_what_was_sent_and_what_was_not() {
    let mut pair = Pair::new();
    pair.track(30);
    pair.say();
    pair.wait_ms(1_000);
    let ask = Gossip::Request {
        target: 1,
        from: None,
    };
    pair.from.receive(&ask.encode(2), pair.now).unwrap();
    let part = pair.say();
    assert_eq!(
        names(&part),
        "beat 30, snapshot 0-4, snapshot 4-7, snapshot 7-10, snapshot 10-13"
    );
    pair.hear(&part);
    pair.leave(2);
    pair.leave(20);
    pair.track(1);
    pair.from.receive(&ask.encode(3), pair.now).unwrap();
    let mut rest = String::new();
    for _ in 0..6 {
        let messages = pair.say();
        rest = rest + &names(&messages) + "; ";
        pair.hear(&messages);
    }
    pair.assert_same();
    assert_eq!(pair.to.entries_foreign(), 29);
    assert!(rest.contains("snapshot 13-"), "the first goes on: {rest}");
    let anew = rest.matches("snapshot 0-").count();
    assert_eq!(anew, 1, "for who asked amid the first: {rest}");
    assert_eq!(pair.answer(), "");
}

#[test]
fn a_lost_part_of_a_snapshot_or_a_delta_amid_starts_it_anew() {
    for lost in ["snapshot 4-7", "delta 30-31:1"] {
        let mut pair = Pair::new();
        pair.track(30);
        pair.say();
        pair.wait_ms(1_000);
        let ask = Gossip::Request {
            target: 1,
            from: None,
        };
        pair.from.receive(&ask.encode(2), pair.now).unwrap();
        let mut sent = pair.say();
        pair.leave(2);
        sent.extend(pair.say());
        sent.retain(|message| name(message) != lost);
        pair.hear(&sent);
        pair.wait_ms(1_000);
        assert_eq!(pair.answer(), "request 1", "{lost}");
        for _ in 0..6 {
            pair.hear(&pair.say());
        }
        pair.assert_same();
        pair.wait_ms(1_000);
        assert_eq!(pair.answer(), "", "{lost}");
    }
}

#[test]
fn who_said_goodbye_is_not_asked_for_anything() {
    let mut pair = Pair::new();
    pair.track(1);
    let late = pair.say();
    pair.hear(&[pair.from.goodbye()]);
    pair.hear(&late);
    pair.wait_ms(1_000);
    assert_eq!(names(&pair.ask()), "");
    assert_eq!(pair.to.entries_foreign(), 0);
}

#[test]
fn a_node_that_is_alone_only_says_that_it_lives() {
    let now = crate::clock::now();
    let alone = Presence::new(1, Config::default());
    alone
        .track(Owner(1), &topic(), "k", &Payload::EMPTY)
        .unwrap();
    assert_eq!(names(&alone.take_messages(now)), "ask 1");
    alone.leave(Owner(1), &topic());
    assert_eq!(names(&alone.take_messages(now)), "");
    alone.tick(now);
    assert_eq!(names(&alone.take_messages(now)), "beat 2");
}

#[test]
fn changes_wait_while_the_link_is_down_and_leave_as_one_delta() {
    let mut pair = Pair::new();
    pair.from.disconnected(pair.now);
    pair.track(1);
    assert_eq!(names(&pair.say()), "");
    pair.track(1);
    pair.leave(1);
    assert_eq!(names(&pair.say()), "");
    pair.from.reconnected(pair.now);
    let all = pair.say();
    assert_eq!(names(&all), "delta 0-3:1, ask 3");
    pair.hear(&all);
    pair.assert_same();
}
