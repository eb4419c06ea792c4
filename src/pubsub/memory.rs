//! The newest records of a topic, kept in memory so that many joins read the store once.
//!
//! They are always the ones up to the topic's position, without a hole.

use std::collections::VecDeque;

use crate::channel::Past;

/// Records kept of one topic.
const RECORDS_MAX: usize = 128;

/// Payload bytes kept of one topic.
const BYTES_MAX: usize = 64 * 1024;

/// The newest records of one topic, oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    records: VecDeque<Past>,
    bytes: usize,
}

impl Memory {
    /// Appends the record at the topic's new position; one that does not follow starts anew.
    pub(super) fn push(&mut self, record: Past) {
        let follows = match (self.records.back().and_then(|last| last.id), record.id) {
            (Some(last), Some(id)) => id == last + 1,
            (None, Some(_)) => true,
            (_, None) => return,
        };
        if !follows {
            self.clear();
        }
        self.bytes += record.payload.len();
        self.records.push_back(record);
        while self.records.len() > RECORDS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.records.pop_front() else {
                return;
            };
            self.bytes -= oldest.payload.len();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    /// Takes what a look at the store found, when it ends at the topic's position and tells more.
    pub(super) fn seed(&mut self, records: &[Past], position: u64) {
        let ends_there = records.last().and_then(|last| last.id) == Some(position);
        if ends_there && records.len() > self.records.len() {
            self.clear();
            records.iter().cloned().for_each(|record| self.push(record));
        }
    }

    /// Returns the newest `count` up to `position`; `None` when some of them are not here.
    pub(super) fn recent(&self, count: usize, position: u64) -> Option<Vec<Past>> {
        let wanted = u64::try_from(count).unwrap_or(u64::MAX).min(position);
        self.after(position - wanted, position)
    }

    /// Returns those above `after` up to `position`; `None` when some of them are not here.
    pub(super) fn after(&self, after: u64, position: u64) -> Option<Vec<Past>> {
        let wanted = usize::try_from(position.checked_sub(after)?).ok()?;
        if wanted == 0 {
            return Some(Vec::new());
        }
        let ends_there = self.records.back().and_then(|last| last.id) == Some(position);
        if !ends_there || wanted > self.records.len() {
            return None;
        }
        let skipped = self.records.len() - wanted;
        Some(self.records.iter().skip(skipped).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Payload;

    fn past(id: u64) -> Past {
        Past {
            id: Some(id),
            event: "e".into(),
            payload: Payload::json("{}"),
        }
    }

    fn memory(ids: &[u64]) -> Memory {
        let mut memory = Memory::default();
        ids.iter().for_each(|id| memory.push(past(*id)));
        memory
    }

    fn ids(found: Option<Vec<Past>>) -> Option<Vec<u64>> {
        found.map(|records| records.iter().filter_map(|record| record.id).collect())
    }

    #[test]
    fn only_a_whole_answer_is_given() {
        let memory = memory(&[4, 5, 6]);
        assert_eq!(ids(memory.recent(2, 6)), Some(vec![5, 6]));
        assert_eq!(ids(memory.recent(4, 6)), None);
        assert_eq!(ids(memory.after(3, 6)), Some(vec![4, 5, 6]));
        assert_eq!(ids(memory.after(2, 6)), None);
        assert_eq!(ids(memory.after(6, 6)), Some(vec![]));
        assert_eq!(ids(memory.after(5, 7)), None, "the position is ahead");
        assert_eq!(ids(memory.after(7, 6)), None, "the client is ahead");
    }

    #[test]
    fn a_topic_with_few_records_is_known_whole() {
        assert_eq!(ids(memory(&[1, 2]).recent(10, 2)), Some(vec![1, 2]));
        assert_eq!(ids(memory(&[]).recent(10, 0)), Some(vec![]));
    }

    #[test]
    fn a_hole_starts_it_anew_and_bounds_hold() {
        assert_eq!(ids(memory(&[1, 2, 9]).after(8, 9)), Some(vec![9]));
        assert_eq!(ids(memory(&[1, 2, 9]).after(1, 9)), None);
        let many: Vec<u64> = (1..=1_000).collect();
        assert_eq!(memory(&many).records.len(), RECORDS_MAX);
    }

    #[test]
    fn a_look_at_the_store_seeds_it() {
        let mut memory = memory(&[9]);
        memory.seed(&[past(7), past(8), past(9)], 9);
        assert_eq!(ids(memory.after(6, 9)), Some(vec![7, 8, 9]));
        memory.seed(&[past(10)], 9);
        assert_eq!(ids(memory.after(6, 9)), Some(vec![7, 8, 9]));
    }
}
