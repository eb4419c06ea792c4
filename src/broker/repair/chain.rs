//! One origin's publishes on one topic: what came last, and what is held back behind a hole.
//!
//! It knows no time and asks nobody; the state machine around it does.

use std::collections::BTreeMap;

use crate::broker::envelope::Envelope;
use crate::broker::sequence::{Place, Position};
use crate::broker::{Delivery, Notice};
use crate::protocol::Topic;

/// How far one origin's publishes on one topic have been delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) incarnation: u64,
    /// The last that was delivered, or that counts as if.
    pub(super) last: Position,
    /// What came before `last` is known to be done with; else a baseline is awaited.
    pub(super) settled: bool,
    /// There is a [`Hole`] for it.
    pub(super) open: bool,
}

/// How an arrival fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Next,
    Duplicate,
    /// Something before it is missing, or may be.
    Early,
}

impl Chain {
    /// A chain of which a baseline is awaited; what is at or below `floor` was delivered before.
    pub(super) fn unsettled(incarnation: u64, floor: Position) -> Self {
        Self {
            incarnation,
            last: floor,
            settled: false,
            open: false,
        }
    }

    pub(super) fn fit(&self, place: Place) -> Fit {
        let Place {
            sequence, previous, ..
        } = place;
        if sequence <= self.last.sequence {
            Fit::Duplicate
        } else if self.open {
            Fit::Early
        } else if previous == 0
            || previous == self.last.sequence
            || (self.settled && previous < self.last.sequence)
        {
            Fit::Next
        } else {
            Fit::Early
        }
    }

    pub(super) fn advance(&mut self, to: Position) {
        self.last = to;
        self.settled = true;
    }

    /// Returns how many are missing up to a position, when that is known.
    fn missing(&self, to: Position) -> Option<u64> {
        let known = self.settled || self.last.sequence > 0;
        let missing = to.nth.checked_sub(self.last.nth)?;
        (known && to.nth > 0 && missing > 0).then_some(missing)
    }

    /// Gives up what is missing up to a position.
    pub(super) fn skip(&mut self, to: Position, topic: &Topic, tell: &mut impl FnMut(Told)) {
        let missed = self.missing(to);
        tell(Told::Lost {
            topic: topic.clone(),
            missed,
        });
        self.advance(to);
    }
}

/// What a receiver tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The next letter of its origin on its topic.
    Letter {
        /// The letter.
        envelope: Envelope,
        /// It had not arrived at first.
        healed: bool,
    },
    /// Letters were given up; told before what follows them.
    Lost {
        /// Their topic.
        topic: Topic,
        /// How many, when that is known; at least one.
        missed: Option<u64>,
    },
    /// A letter came again.
    Duplicate,
}

impl Told {
    /// Returns what the node is told of it.
    pub fn notice(self) -> Option<Notice> {
        match self {
            Self::Letter { envelope, .. } => Some(Notice::Delivery(Delivery {
                topic: envelope.topic,
                letter: envelope.letter,
                accepted_at: envelope.accepted_at,
            })),
            Self::Lost { topic, missed } => Some(Notice::Hole { topic, missed }),
            Self::Duplicate => None,
        }
    }
}

#[derive(Debug)]
struct Held {
    envelope: Envelope,
    resent: bool,
}

/// What is known to be missing of a chain, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Hole {
    held: BTreeMap<u64, Held>,
    bytes: usize,
    /// The chain goes on up to here at least.
    target: Position,
}

impl Hole {
    pub(super) fn expect(&mut self, target: Position) {
        if target.sequence > self.target.sequence {
            self.target = target;
        }
    }

    /// Holds a letter back; false when it is held already.
    pub(super) fn hold(&mut self, envelope: Envelope, resent: bool) -> bool {
        let bytes = cost(&envelope);
        let held = Held { envelope, resent };
        let fresh = match self.held.entry(held.envelope.sequence) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(held);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        };
        if fresh {
            self.bytes += bytes;
        }
        fresh
    }

    /// Returns how many letters and bytes are held.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.held.len(), self.bytes)
    }

    /// Tells the letters that are next, and returns how many went.
    pub(super) fn drain(&mut self, chain: &mut Chain, tell: &mut impl FnMut(Told)) -> usize {
        let mut told = 0;
        while let Some(first) = self.held.first_entry() {
            let next = place(&first.get().envelope);
            let last = chain.last.sequence;
            if next.sequence > last {
                // A topic that its origin started anew follows what is known to come before.
                let anew = next.previous == 0
                    && (self.target.sequence <= last || self.target.sequence >= next.sequence);
                let follows = next.previous == last
                    || (chain.settled && next.previous != 0 && next.previous < last);
                if !(anew || follows) {
                    break;
                }
            }
            self.tell_first(chain, tell);
            told += 1;
        }
        told
    }

    /// Gives up everything that is missing and tells what was held.
    pub(super) fn give_up(mut self, chain: &mut Chain, topic: &Topic, tell: &mut impl FnMut(Told)) {
        loop {
            self.drain(chain, tell);
            let Some(first) = self.held.first_key_value() else {
                break;
            };
            chain.skip(place(&first.1.envelope).before(), topic, tell);
            // Whatever the numbers say, this one is the next.
            self.tell_first(chain, tell);
        }
        if self.target.sequence > chain.last.sequence {
            chain.skip(self.target, topic, tell);
        }
    }

    /// Gives up what is missing up to a position, but not past what is held.
    pub(super) fn gone(
        &mut self,
        chain: &mut Chain,
        through: Position,
        topic: &Topic,
        tell: &mut impl FnMut(Told),
    ) {
        let to = match self.held.first_key_value() {
            Some((sequence, first)) if *sequence <= through.sequence => {
                place(&first.envelope).before()
            }
            _ => through,
        };
        if to.sequence > chain.last.sequence {
            chain.skip(to, topic, tell);
        }
    }

    pub(super) fn is_filled(&self, chain: &Chain) -> bool {
        chain.settled && self.held.is_empty() && self.target.sequence <= chain.last.sequence
    }

    /// Returns up to which sequence something is missing before the first that is held.
    pub(super) fn until(&self) -> u64 {
        self.held
            .first_key_value()
            .map_or(self.target.sequence, |(sequence, first)| {
                match first.envelope.previous {
                    0 => sequence - 1,
                    previous => previous,
                }
            })
    }

    fn tell_first(&mut self, chain: &mut Chain, tell: &mut impl FnMut(Told)) {
        let Some((_, Held { envelope, resent })) = self.held.pop_first() else {
            return;
        };
        self.bytes -= cost(&envelope);
        let place = place(&envelope);
        if place.sequence <= chain.last.sequence {
            return tell(Told::Duplicate);
        }
        chain.advance(place.position());
        tell(Told::Letter {
            envelope,
            healed: resent,
        });
    }
}

/// Returns where an envelope stands.
pub(super) fn place(envelope: &Envelope) -> Place {
    Place {
        sequence: envelope.sequence,
        previous: envelope.previous,
        nth: envelope.nth,
    }
}

/// Returns about how many bytes a held letter takes.
fn cost(envelope: &Envelope) -> usize {
    envelope.letter.len() + envelope.topic.as_str().len() + 192
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Letter;

    fn letter(sequence: u64, previous: u64, nth: u64) -> Envelope {
        Envelope {
            incarnation: 7,
            sequence,
            previous,
            nth,
            accepted_at: 0,
            topic: "a".try_into().unwrap(),
            letter: Letter::Presence(bytes::Bytes::new()),
        }
    }

    fn at(sequence: u64, nth: u64) -> Position {
        Position { sequence, nth }
    }

    fn chain(last: Position) -> Chain {
        Chain {
            settled: true,
            ..Chain::unsettled(7, last)
        }
    }

    fn check_fit(last: u64, settled: bool, (sequence, previous): (u64, u64), expected: Fit) {
        let chain = Chain {
            settled,
            ..chain(at(last, 1))
        };
        let place = place(&letter(sequence, previous, 9));
        assert_eq!(chain.fit(place), expected, "{sequence} after {previous}");
    }

    #[test]
    fn arrivals_are_told_apart() {
        check_fit(5, true, (9, 5), Fit::Next);
        check_fit(5, true, (5, 3), Fit::Duplicate);
        check_fit(5, true, (9, 7), Fit::Early);
        check_fit(5, true, (9, 0), Fit::Next);
        check_fit(5, true, (9, 4), Fit::Next);
        check_fit(0, false, (9, 0), Fit::Next);
        check_fit(0, false, (9, 4), Fit::Early);
        check_fit(5, false, (9, 5), Fit::Next);
        check_fit(5, false, (9, 4), Fit::Early);
        check_fit(5, false, (4, 3), Fit::Duplicate);
    }

    fn told(told: Vec<Told>) -> String {
        let mut log = String::new();
        for one in told {
            log += &match one {
                Told::Letter { envelope, healed } => {
                    format!("{}{} ", envelope.sequence, if healed { "+" } else { "" })
                }
                Told::Lost { missed, .. } => format!("lost {missed:?} "),
                Told::Duplicate => String::from("again "),
            };
        }
        log
    }

    #[test]
    fn what_is_held_is_told_in_order_as_soon_as_it_is_next() {
        let (mut chain, mut hole, mut log) = (chain(at(1, 1)), Hole::default(), Vec::new());
        let mut tell = |one| log.push(one);
        assert!(hole.hold(letter(9, 6, 4), false));
        assert!(!hole.hold(letter(9, 6, 4), true));
        assert_eq!((hole.until(), hole.drain(&mut chain, &mut tell)), (6, 0));
        hole.hold(letter(6, 3, 3), true);
        assert_eq!((hole.until(), hole.drain(&mut chain, &mut tell)), (3, 0));
        hole.hold(letter(3, 1, 2), true);
        assert_eq!(hole.drain(&mut chain, &mut tell), 3);
        assert!(hole.is_filled(&chain) && hole.size() == (0, 0));
        assert_eq!(told(log), "3+ 6+ 9 ");
    }

    #[test]
    fn what_is_given_up_is_told_where_it_is_missing() {
        let (mut chain, mut hole, mut log) = (chain(at(1, 1)), Hole::default(), Vec::new());
        hole.hold(letter(9, 6, 4), false);
        hole.hold(letter(12, 9, 5), false);
        hole.hold(letter(30, 20, 8), false);
        hole.expect(at(40, 10));
        let topic = "a".try_into().unwrap();
        hole.give_up(&mut chain, &topic, &mut |one| log.push(one));
        assert_eq!(told(log), "lost Some(2) 9 12 lost Some(2) 30 lost Some(2) ");
        assert_eq!(chain.last, at(40, 10));
    }

    #[test]
    fn what_is_gone_is_given_up_but_not_what_is_held() {
        let (mut chain, mut hole, mut log) = (chain(at(1, 1)), Hole::default(), Vec::new());
        hole.hold(letter(9, 6, 4), false);
        let topic = "a".try_into().unwrap();
        hole.gone(&mut chain, at(99, 50), &topic, &mut |one| log.push(one));
        hole.drain(&mut chain, &mut |one| log.push(one));
        assert_eq!(told(log), "lost Some(2) 9 ");
    }
}
