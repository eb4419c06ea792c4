//! Sequences: the place of each publish among what its node published.
//!
//! A publisher numbers, a receiver tells duplicates and holes. Neither keeps what was published: a ring
//! for retransmission belongs beside [`Numbering`], requests for what is missing beside [`Positions`].

use hashbrown::HashMap;

use crate::protocol::Topic;

/// Topics of a generation on the publishing side; twice as many are remembered at most.
const PUBLISHED_TOPICS: usize = 1 << 18;
/// Topics of a generation on the receiving side, above the default limit of a node's topics.
const RECEIVED_TOPICS: usize = 1 << 20;
/// Origins that are remembered for a topic; the one not heard for longest goes first.
const ORIGINS_OF_TOPIC: usize = 64;

/// Where a publish stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The node's count of everything it published, from 1.
    pub sequence: u64,
    /// The sequence of the topic's publish before this one; 0: none is known, the topic starts anew.
    pub previous: u64,
}

/// Numbers what this node publishes.
#[derive(Debug)]
pub struct Numbering {
    last: u64,
    topics: Recent<u64>,
}

impl Numbering {
    /// Starts at 1, without any topic.
    pub fn new() -> Self {
        Self::remembering(PUBLISHED_TOPICS)
    }

    fn remembering(topics: usize) -> Self {
        Self {
            last: 0,
            topics: Recent::new(topics),
        }
    }

    /// Gives the next publish on a topic its place.
    pub fn next(&mut self, topic: &Topic) -> Place {
        self.last += 1;
        let previous = std::mem::replace(self.topics.entry(topic), self.last);
        Place {
            sequence: self.last,
            previous,
        }
    }
}

impl Default for Numbering {
    fn default() -> Self {
        Self::new()
    }
}

/// What an arrival tells about what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing is known to be missing.
    InOrder,
    /// It came before; drop it.
    Duplicate,
    /// Publishes between the one before and this one did not arrive.
    AfterHole {
        /// How many, when that is known; at least one.
        missed: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Position {
    incarnation: u64,
    sequence: u64,
}

/// Remembers, for each topic and origin, what arrived last.
#[derive(Debug)]
pub struct Positions {
    topics: Recent<Vec<Position>>,
}

impl Positions {
    /// Knows nothing yet: each origin's first arrival on a topic is its baseline.
    pub fn new() -> Self {
        Self {
            topics: Recent::new(RECEIVED_TOPICS),
        }
    }

    /// Notes an arrival and says how it fits.
    pub fn arrived(&mut self, topic: &Topic, incarnation: u64, place: Place) -> Arrival {
        let Place { sequence, previous } = place;
        let origins = self.topics.entry(topic);
        let Some(at) = origins
            .iter()
            .position(|known| known.incarnation == incarnation)
        else {
            if origins.len() >= ORIGINS_OF_TOPIC {
                origins.remove(0);
            }
            origins.push(Position {
                incarnation,
                sequence,
            });
            return Arrival::InOrder;
        };
        let last = origins[at].sequence;
        if sequence <= last {
            return Arrival::Duplicate;
        }
        origins[at].sequence = sequence;
        // The last of the list is the one heard last, so that the first is the one to forget.
        origins[at..].rotate_left(1);
        match previous.checked_sub(last) {
            // It follows the last one, or its origin started the topic anew.
            None | Some(0) => Arrival::InOrder,
            // The numbers are the node's, not the topic's: only a neighbour is known to be alone.
            Some(1) => Arrival::AfterHole { missed: Some(1) },
            Some(_) => Arrival::AfterHole { missed: None },
        }
    }

    /// Forgets a topic: what is published while nobody here wants it is not missed.
    pub fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }
}

impl Default for Positions {
    fn default() -> Self {
        Self::new()
    }
}

/// A map by topic that forgets what was not used for long: two generations of bounded size.
#[derive(Debug)]
struct Recent<V> {
    young: HashMap<Topic, V>,
    old: HashMap<Topic, V>,
    generation_max: usize,
}

impl<V: Default> Recent<V> {
    fn new(generation_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max,
        }
    }

    /// Returns the topic's value, a default one when it is new or was forgotten.
    fn entry(&mut self, topic: &Topic) -> &mut V {
        if !self.young.contains_key(topic) {
            let value = self.old.remove(topic).unwrap_or_default();
            if self.young.len() >= self.generation_max {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(topic.clone(), value);
        }
        self.young.entry(topic.clone()).or_default()
    }

    fn remove(&mut self, topic: &str) {
        self.young.remove(topic);
        self.old.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        name.try_into().unwrap()
    }

    fn place(sequence: u64, previous: u64) -> Place {
        Place { sequence, previous }
    }

    /// Each step is one arrival on one topic: (incarnation, sequence, previous, expected).
    fn check(steps: &[(u64, u64, u64, Arrival)]) {
        let mut positions = Positions::new();
        for &(incarnation, sequence, previous, expected) in steps {
            let arrival = positions.arrived(&topic("a"), incarnation, place(sequence, previous));
            assert_eq!(
                arrival, expected,
                "{incarnation}: {sequence} after {previous}"
            );
        }
    }

    const HOLE: Arrival = Arrival::AfterHole { missed: None };
    const HOLE_OF_1: Arrival = Arrival::AfterHole { missed: Some(1) };
    use Arrival::{Duplicate, InOrder};

    #[test]
    fn arrivals_are_told_apart() {
        check(&[(1, 1, 0, InOrder), (1, 2, 1, InOrder), (1, 9, 2, InOrder)]);
        check(&[(1, 50, 40, InOrder), (1, 51, 50, InOrder)]);
        check(&[
            (1, 5, 0, InOrder),
            (1, 5, 0, Duplicate),
            (1, 4, 0, Duplicate),
            (1, 6, 5, InOrder),
        ]);
        check(&[(1, 5, 0, InOrder), (1, 9, 7, HOLE), (1, 10, 9, InOrder)]);
        check(&[
            (1, 5, 0, InOrder),
            (1, 9, 6, HOLE_OF_1),
            (1, 6, 5, Duplicate),
        ]);
    }

    #[test]
    fn a_topic_that_starts_anew_is_neither_duplicate_nor_hole() {
        check(&[
            (1, 5, 3, InOrder),
            (1, 900, 0, InOrder),
            (1, 901, 900, InOrder),
        ]);
    }

    #[test]
    fn origins_do_not_mix() {
        check(&[
            (1, 5, 0, InOrder),
            (2, 3, 0, InOrder),
            (2, 8, 4, HOLE_OF_1),
            (1, 6, 5, InOrder),
        ]);
    }

    #[test]
    fn a_forgotten_topic_has_no_hole() {
        let mut positions = Positions::new();
        positions.arrived(&topic("a"), 1, place(1, 0));
        positions.forget("a");
        assert_eq!(positions.arrived(&topic("a"), 1, place(9, 8)), InOrder);
    }

    #[test]
    fn the_origin_not_heard_for_longest_is_forgotten_first() {
        let mut positions = Positions::new();
        let mut arrive =
            |incarnation, sequence| positions.arrived(&topic("a"), incarnation, place(sequence, 0));
        let origins = ORIGINS_OF_TOPIC as u64;
        for incarnation in 0..origins {
            arrive(incarnation, 5);
        }
        arrive(0, 6);
        arrive(origins, 5);
        assert_eq!(arrive(0, 6), Duplicate, "heard a moment ago");
        assert_eq!(arrive(1, 5), InOrder, "forgotten");
    }

    #[test]
    fn places_chain_by_topic() {
        let mut numbering = Numbering::new();
        assert_eq!(numbering.next(&topic("a")), place(1, 0));
        assert_eq!(numbering.next(&topic("b")), place(2, 0));
        assert_eq!(numbering.next(&topic("a")), place(3, 1));
        assert_eq!(numbering.next(&topic("a")), place(4, 3));
    }

    #[test]
    fn the_topics_of_a_publisher_are_bounded_and_those_in_use_stay() {
        let mut numbering = Numbering::remembering(10);
        for round in 0..100 {
            numbering.next(&topic(&format!("once:{round}")));
            let hot = numbering.next(&topic("hot"));
            let expected = if round == 0 { 0 } else { hot.sequence - 2 };
            assert_eq!(hot.previous, expected);
        }
        assert!(numbering.topics.young.len() + numbering.topics.old.len() <= 20);
        assert_eq!(numbering.next(&topic("once:0")).previous, 0);
    }
}
