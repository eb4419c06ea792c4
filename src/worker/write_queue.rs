//! Whose outbox is written next: what has just gathered goes first, a crowd in pieces in between.
//!
//! A write of 15,000 sockets takes a tenth of a second; nobody else's reply waits for its end.

use std::collections::VecDeque;

use crate::clock::UnixMicros;

/// Of each kind so many are written in a turn, which then takes two or three milliseconds at most.
const PIECE: usize = 256;
/// Room that is kept when a crowd has gone.
const KEPT: usize = 1_024;

/// A delivery whose frames are appended and not written yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unwritten {
    pub(super) accepted_at: UnixMicros,
    pub(super) remote: bool,
}

/// What is to be written, and the deliveries that are done when it is.
///
/// It is bounded by its caller, which puts nothing in that is in already.
#[derive(Debug)]
pub(super) struct WriteQueue<T> {
    /// Came since the last turn.
    fresh: Vec<T>,
    /// Came before it, oldest first.
    waiting: VecDeque<T>,
    /// Appended since the last turn.
    appended: Vec<Unwritten>,
    /// Each with how many must have been taken of all that ever waited.
    unwritten: VecDeque<(u64, Unwritten)>,
    /// How many ever waited.
    waited: u64,
}

impl<T> Default for WriteQueue<T> {
    fn default() -> Self {
        Self {
            fresh: Vec::new(),
            waiting: VecDeque::new(),
            appended: Vec::new(),
            unwritten: VecDeque::new(),
            waited: 0,
        }
    }
}

impl<T> WriteQueue<T> {
    /// Puts one in line; says whether it is the only one.
    pub(super) fn push(&mut self, one: T) -> bool {
        self.fresh.push(one);
        self.fresh.len() == 1 && self.waiting.is_empty()
    }

    /// Notes a delivery to those that were put in line last.
    pub(super) fn deliver(&mut self, delivery: Unwritten) {
        self.appended.push(delivery);
    }

    /// Says whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.waiting.is_empty()
    }

    /// Says whether some wait although they came before the last turn.
    pub(super) fn has_crowd(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes those that are to be written in this turn.
    pub(super) fn take(&mut self, batch: &mut Vec<T>) {
        let first = self.fresh.len().min(PIECE);
        self.waited += (self.fresh.len() - first) as u64;
        self.waiting.extend(self.fresh.drain(first..));
        batch.append(&mut self.fresh);
        let through = self.waited;
        let appended = self.appended.drain(..);
        self.unwritten
            .extend(appended.map(|delivery| (through, delivery)));
        let next = self.waiting.len().min(PIECE);
        batch.extend(self.waiting.drain(..next));
    }

    /// Takes the next delivery whose sockets have all been taken; to be asked after they were written.
    pub(super) fn next_written(&mut self) -> Option<Unwritten> {
        let (through, delivery) = *self.unwritten.front()?;
        let taken = self.waited - self.waiting.len() as u64;
        if through > taken {
            return None;
        }
        self.unwritten.pop_front();
        Some(delivery)
    }

    /// Gives back the room of a crowd that has gone.
    pub(super) fn give_back(&mut self) {
        self.fresh.shrink_to(KEPT);
        self.waiting.shrink_to(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &mut WriteQueue<usize>) -> Vec<usize> {
        let mut batch = Vec::new();
        queue.take(&mut batch);
        batch
    }

    fn delivery(accepted_at: UnixMicros) -> Unwritten {
        Unwritten {
            accepted_at,
            remote: false,
        }
    }

    #[test]
    fn who_comes_later_is_written_between_the_pieces_of_a_crowd() {
        let mut queue = WriteQueue::default();
        assert!(queue.push(0), "the only one");
        assert!((1..4 * PIECE).all(|one| !queue.push(one)));
        assert_eq!(take(&mut queue), Vec::from_iter(0..2 * PIECE));
        assert!(queue.has_crowd());
        assert!(!queue.push(9_999), "others wait");
        let second = take(&mut queue);
        assert_eq!(second[0], 9_999);
        assert_eq!(second[1..], Vec::from_iter(2 * PIECE..3 * PIECE));
        assert_eq!(take(&mut queue), Vec::from_iter(3 * PIECE..4 * PIECE));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_delivery_is_written_when_the_last_of_its_crowd_is() {
        let mut queue = WriteQueue::default();
        (0..3 * PIECE).for_each(|one| {
            queue.push(one);
        });
        queue.deliver(delivery(1));
        assert_eq!(queue.next_written(), None, "not even taken");
        take(&mut queue);
        assert_eq!(queue.next_written(), None);
        // What is delivered meanwhile may have sockets in the crowd.
        queue.push(9_999);
        queue.deliver(delivery(2));
        take(&mut queue);
        assert_eq!(queue.next_written(), Some(delivery(1)));
        assert_eq!(queue.next_written(), Some(delivery(2)));
        assert_eq!(queue.next_written(), None);
    }

    #[test]
    fn a_delivery_to_few_is_written_at_once() {
        let mut queue = WriteQueue::default();
        queue.push(1);
        queue.deliver(delivery(1));
        assert_eq!(take(&mut queue), [1]);
        assert_eq!(queue.next_written(), Some(delivery(1)));
    }
}
