//! The ring: the newest letters that this node published, findable by sequence and linked by topic.
//!
//! It never grows past its bounds: the oldest letter goes first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::broker::sequence::{Place, Position};

/// What a letter takes besides its bytes.
const LETTER_OVERHEAD_BYTES: usize = 96;
/// Answers of Redis that come within this time count as one, at the time of the last.
const MARK_EVERY: Duration = Duration::from_millis(1);

/// A letter as it was sent.
#[derive(Debug)]
struct Kept {
    /// Empty when it could not be written.
    encoded: Bytes,
    previous: u64,
    /// The topic's publish after it; 0: none yet.
    next: u64,
    nth: u64,
}

/// Redis had everything up to a sequence.
#[derive(Debug, Clone, Copy)]
struct Mark {
    through: u64,
    since: Instant,
    at: Instant,
}

/// Letters to be sent again.
#[derive(Debug, PartialEq, Eq)]
pub struct Again {
    /// In order, a part of what is missing at least, unless it is gone.
    pub letters: Vec<Bytes>,
    /// What is missing up to here is not kept; sequence 0: all of it is.
    pub gone: Position,
}

/// The newest letters of this node. Sequences are contiguous.
#[derive(Debug)]
pub struct Ring {
    kept: VecDeque<Kept>,
    /// The sequence of the oldest that is kept.
    first: u64,
    bytes: usize,
    letters_max: usize,
    bytes_max: usize,
    /// In order of both fields.
    marks: VecDeque<Mark>,
}

impl Ring {
    /// Keeps up to so many letters and bytes.
    pub fn new(letters_max: usize, bytes_max: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            first: 1,
            bytes: 0,
            letters_max,
            bytes_max,
            marks: VecDeque::new(),
        }
    }

    /// Keeps a letter; its sequence follows the one before.
    pub fn keep(&mut self, place: Place, encoded: Bytes) {
        debug_assert_eq!(place.sequence, self.first + self.kept.len() as u64);
        if let Some(at) = self.index(place.previous) {
            self.kept[at].next = place.sequence;
        }
        self.bytes += encoded.len() + LETTER_OVERHEAD_BYTES;
        self.kept.push_back(Kept {
            encoded,
            previous: place.previous,
            next: 0,
            nth: place.nth,
        });
        while self.kept.len() > self.letters_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.encoded.len() + LETTER_OVERHEAD_BYTES;
            self.first += 1;
        }
        while self
            .marks
            .get(1)
            .is_some_and(|mark| mark.through < self.first)
        {
            self.marks.pop_front();
        }
    }

    /// Notes that Redis has everything up to a sequence.
    pub fn answered(&mut self, through: u64, now: Instant) {
        match self.marks.back_mut() {
            Some(mark) if now.saturating_duration_since(mark.since) < MARK_EVERY => {
                mark.through = through;
                mark.at = now;
            }
            _ => self.marks.push_back(Mark {
                through,
                since: now,
                at: now,
            }),
        }
    }

    /// Returns the newest of a topic's publishes that Redis surely had at a time.
    ///
    /// False beside it: older ones may have come later, and are not kept.
    pub fn baseline(&self, newest: Position, before: Option<Instant>) -> (Position, bool) {
        let had = before.map_or(0, |before| {
            let marks = self.marks.partition_point(|mark| mark.at <= before);
            marks
                .checked_sub(1)
                .map_or(0, |last| self.marks[last].through)
        });
        let mut at = newest;
        while at.sequence > had {
            match self.find(at.sequence) {
                Some(kept) => at = kept.before(),
                None => return (at, false),
            }
        }
        (at, true)
    }

    /// Returns letters of the topic that ends at `newest`, after one sequence and up to another.
    ///
    /// At least one, and no more than `letters_max` and about `bytes_max`.
    pub fn again(
        &self,
        newest: Position,
        after: u64,
        until: u64,
        letters_max: usize,
        bytes_max: usize,
    ) -> Again {
        let mut again = Again {
            letters: Vec::new(),
            gone: Position::default(),
        };
        let mut next = self.first_after(newest, after);
        match self.find(next) {
            Some(kept) if kept.previous > after => again.gone = kept.before(),
            Some(_) => {}
            None if newest.sequence > after => again.gone = newest,
            // It is not even remembered that the topic was published on.
            None => {
                again.gone = Position {
                    sequence: until,
                    nth: 0,
                };
            }
        }
        let mut bytes = 0;
        while next != 0 && next <= until && again.letters.len() < letters_max && bytes < bytes_max {
            let Some(kept) = self.find(next) else {
                break;
            };
            match (kept.encoded.is_empty(), again.letters.is_empty()) {
                (false, _) => {
                    bytes += kept.encoded.len();
                    again.letters.push(kept.encoded.clone());
                }
                (true, true) => {
                    again.gone = Position {
                        sequence: next,
                        nth: kept.nth,
                    };
                }
                // The next request begins with it.
                (true, false) => break,
            }
            next = kept.next;
        }
        again
    }

    /// Returns the sequence of a topic's oldest kept publish after one; 0 when there is none.
    fn first_after(&self, newest: Position, after: u64) -> u64 {
        if let Some(kept) = self.find(after) {
            return kept.next;
        }
        let (mut at, mut first) = (newest.sequence, 0);
        while at > after {
            let Some(kept) = self.find(at) else {
                break;
            };
            first = at;
            at = kept.previous;
        }
        first
    }

    fn find(&self, sequence: u64) -> Option<&Kept> {
        self.index(sequence).map(|at| &self.kept[at])
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        (at < self.kept.len()).then_some(at)
    }
}

impl Kept {
    /// Returns the position of the topic's publish before it.
    fn before(&self) -> Position {
        Position {
            sequence: self.previous,
            nth: self.nth.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two topics in turn: odd sequences are of one, even ones of the other.
    fn ring(letters: u64, letters_max: usize) -> Ring {
        let mut ring = Ring::new(letters_max, usize::MAX);
        for sequence in 1..=letters {
            let place = Place {
                sequence,
                previous: sequence.saturating_sub(2),
                nth: sequence.div_ceil(2),
            };
            ring.keep(place, Bytes::from(sequence.to_string()));
        }
        ring
    }

    fn at(sequence: u64, nth: u64) -> Position {
        Position { sequence, nth }
    }

    fn check(ring: &Ring, newest: u64, (after, until): (u64, u64), expected: &str, gone: u64) {
        let again = ring.again(at(newest, newest.div_ceil(2)), after, until, 3, 1_000);
        let letters: Vec<_> = again.letters.iter().map(|one| &one[..]).collect();
        assert_eq!(String::from_utf8(letters.join(&b' ')).unwrap(), expected);
        assert_eq!(again.gone.sequence, gone);
    }

    #[test]
    fn what_is_missing_on_a_topic_is_found_in_order() {
        let whole = ring(20, 100);
        check(&whole, 19, (3, 7), "5 7", 0);
        check(&whole, 19, (0, 1), "1", 0);
        check(&whole, 19, (3, 19), "5 7 9", 0);
        check(&whole, 20, (16, 20), "18 20", 0);
        check(&whole, 19, (19, 21), "", 21);
    }

    #[test]
    fn what_the_ring_has_dropped_is_gone() {
        let young = ring(20, 10);
        check(&young, 19, (3, 13), "11 13", 9);
        check(&young, 19, (3, 7), "", 9);
        check(&young, 19, (11, 13), "13", 0);
        check(&young, 5, (3, 5), "", 5);
        assert_eq!(young.again(at(5, 3), 3, 5, 3, 99).gone, at(5, 3));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut small = Ring::new(1_000, 3 * (LETTER_OVERHEAD_BYTES + 10));
        for sequence in 1..=9 {
            let place = Place {
                sequence,
                previous: sequence - 1,
                nth: sequence,
            };
            small.keep(place, Bytes::from_static(b"0123456789"));
        }
        assert_eq!((small.first, small.kept.len()), (7, 3));
    }

    #[test]
    fn a_baseline_is_what_redis_surely_had() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut ring = ring(20, 100);
        ring.answered(4, ms(10));
        ring.answered(10, ms(20));
        let check = |before, expected| {
            assert_eq!(ring.baseline(at(19, 10), Some(ms(before))), expected);
        };
        check(5, (at(0, 0), true));
        check(10, (at(3, 2), true));
        check(19, (at(3, 2), true));
        check(30, (at(9, 5), true));
        assert_eq!(ring.baseline(at(19, 10), None), (at(0, 0), true));
    }

    #[test]
    fn a_baseline_that_is_not_kept_is_told_apart() {
        let start = Instant::now();
        let mut ring = ring(20, 4);
        assert_eq!(ring.baseline(at(19, 10), Some(start)), (at(15, 8), false));
        ring.answered(15, start);
        assert_eq!(ring.baseline(at(19, 10), Some(start)), (at(15, 8), true));
    }
}
