//! Sequences: the place of each publish among what its node published.
//!
//! It keeps numbers only, never what was published.

use hashbrown::HashMap;

use crate::protocol::Topic;

/// Topics of a generation; twice as many are remembered at most.
const PUBLISHED_TOPICS: usize = 1 << 18;

/// A publish of a node, or the one that a receiver has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The node's count of everything it published, from 1; 0: nothing.
    pub sequence: u64,
    /// The node's count of what it published on the topic, from 1; 0: nothing, or not known.
    pub nth: u64,
}

/// Where a publish stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The node's count of everything it published, from 1.
    pub sequence: u64,
    /// The sequence of the topic's publish before this one; 0: none is known, the topic starts anew.
    pub previous: u64,
    /// The node's count of what it published on the topic, from 1.
    pub nth: u64,
}

impl Place {
    /// Returns the publish's own position.
    pub fn position(self) -> Position {
        Position {
            sequence: self.sequence,
            nth: self.nth,
        }
    }

    /// Returns the position of the topic's publish before it.
    pub fn before(self) -> Position {
        Position {
            sequence: self.previous,
            nth: self.nth.saturating_sub(1),
        }
    }
}

/// The last publish on a topic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tail {
    /// Where it stands.
    pub position: Position,
    /// It is going to be announced.
    pub announcing: bool,
}

/// Numbers what this node publishes.
#[derive(Debug)]
pub struct Numbering {
    last: u64,
    topics: Recent<Tail>,
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

    /// Gives the next publish on a topic its place; also returns the topic's tail, to be marked.
    pub fn next(&mut self, topic: &Topic) -> (Place, &mut Tail) {
        self.last += 1;
        let tail = self.topics.entry(topic);
        let place = Place {
            sequence: self.last,
            previous: tail.position.sequence,
            nth: tail.position.nth + 1,
        };
        tail.position = place.position();
        (place, tail)
    }

    /// Returns the last publish on a topic that is remembered.
    pub fn tail(&mut self, topic: &str) -> Option<&mut Tail> {
        self.topics.find(topic)
    }

    /// Returns the sequence of the last publish on any topic.
    pub fn last(&self) -> u64 {
        self.last
    }
}

impl Default for Numbering {
    fn default() -> Self {
        Self::new()
    }
}

/// A map by topic that forgets what was not used for long: two generations of bounded size.
#[derive(Debug)]
pub(super) struct Recent<V> {
    young: HashMap<Topic, V>,
    old: HashMap<Topic, V>,
    generation_max: usize,
}

impl<V: Default> Recent<V> {
    pub(super) fn new(generation_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max,
        }
    }

    /// Returns the topic's value, a default one when it is new or was forgotten.
    pub(super) fn entry(&mut self, topic: &Topic) -> &mut V {
        if !self.young.contains_key(topic) {
            let value = self.old.remove(topic).unwrap_or_default();
            if self.young.len() >= self.generation_max {
                self.turn();
            }
            self.young.insert(topic.clone(), value);
        }
        self.young
            .get_mut(topic)
            .expect("it was there or was put there")
    }

    pub(super) fn find(&mut self, topic: &str) -> Option<&mut V> {
        match self.young.get_mut(topic) {
            Some(value) => Some(value),
            None => self.old.get_mut(topic),
        }
    }

    pub(super) fn remove(&mut self, topic: &str) -> Option<V> {
        let young = self.young.remove(topic);
        young.or(self.old.remove(topic))
    }

    /// Forgets the old generation and starts a young one.
    pub(super) fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        name.try_into().unwrap()
    }

    fn place(sequence: u64, previous: u64, nth: u64) -> Place {
        Place {
            sequence,
            previous,
            nth,
        }
    }

    #[test]
    fn places_chain_by_topic() {
        let mut numbering = Numbering::new();
        assert_eq!(numbering.next(&topic("a")).0, place(1, 0, 1));
        assert_eq!(numbering.next(&topic("b")).0, place(2, 0, 1));
        assert_eq!(numbering.next(&topic("a")).0, place(3, 1, 2));
        assert_eq!(numbering.next(&topic("a")).0, place(4, 3, 3));
        let tail = numbering.tail("a").map(|tail| tail.position);
        assert_eq!(
            tail,
            Some(Position {
                sequence: 4,
                nth: 3
            })
        );
    }

    #[test]
    fn the_topics_of_a_publisher_are_bounded_and_those_in_use_stay() {
        let mut numbering = Numbering::remembering(10);
        for round in 0..100 {
            numbering.next(&topic(&format!("once:{round}")));
            let (hot, _) = numbering.next(&topic("hot"));
            let expected = if round == 0 { 0 } else { hot.sequence - 2 };
            assert_eq!((hot.previous, hot.nth), (expected, round + 1));
        }
        assert!(numbering.topics.young.len() + numbering.topics.old.len() <= 20);
        assert_eq!(numbering.next(&topic("once:0")).0.previous, 0);
    }
}
