//! What a joining client gets of the past: from this node's memory, or from the store.
//!
//! It decides what was missed; live delivery is not its business.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::ports::StorePorts;
use crate::channel::{Gap, History, Past, Persist, Position, Unavailable};
use crate::protocol::Topic;
use crate::pubsub::{self, Observed};
use crate::store::{Range, Slice};

/// Times that a stale look at the store is repeated; a fresh one follows it at once.
const LOOKS_MAX: usize = 5;

/// How far before `last_seen_uid` a `behind` topic's history starts again, in microseconds.
const OVERLAP_US: i64 = 5_000_000;

impl StorePorts {
    fn persist(&self, topic: &Topic) -> Persist {
        let found = self
            .persist
            .iter()
            .find(|(pattern, _)| pattern.matches(topic.as_str()));
        found.map_or(Persist::Before, |(_, persist)| *persist)
    }

    async fn look(
        &self,
        topic: &Topic,
        position: &Position,
        recent: usize,
    ) -> Result<Look, Unavailable> {
        let read = |range| async move {
            self.store.read(topic, range).await.map_err(|error| {
                tracing::warn!(%error, "a history cannot be read");
                Unavailable
            })
        };
        let count = self.resume_max;
        let after = match (position.last_seen_id, position.last_seen_uid) {
            (Some(after), _) => after,
            (None, Some(uid)) => {
                let mut slice = read(Range::Recent { count }).await?;
                keep_since(&mut slice, uid);
                return Ok(Look { slice, after: None });
            }
            (None, None) => {
                let slice = read(Range::Recent { count: recent }).await?;
                return Ok(Look { slice, after: None });
            }
        };
        let slice = read(Range::After { after, count }).await?;
        let known_epoch = position.last_seen_epoch.as_ref();
        let void = after > slice.head.last_id
            || known_epoch.is_some_and(|epoch| *epoch != slice.head.epoch);
        if !void {
            return Ok(Look {
                slice,
                after: Some(Seen::At(after)),
            });
        }
        let slice = read(Range::Recent { count: recent }).await?;
        Ok(Look {
            slice,
            after: Some(Seen::Void),
        })
    }

    /// Answers from memory where it can; else reads the store, once for all that wait for a topic's first look.
    pub(super) async fn history_of(
        &self,
        topic: Topic,
        position: Position,
        recent: usize,
    ) -> Result<History, Unavailable> {
        if self.persist(&topic) == Persist::Behind {
            // Such records are broadcast without an id, so their topic has no order to keep.
            let look = self.look(&topic, &position, recent).await?;
            return Ok(look.into_history(self.history_bytes));
        }
        if let Some(history) = self.remembered(&topic, &position, recent) {
            return Ok(history);
        }
        let first = !self.pubsub.has_position(&topic);
        let look = first.then(|| self.looks.of(&topic));
        let _turn = match &look {
            Some(look) => Some(look.lock().await),
            None => None,
        };
        if first && let Some(history) = self.remembered(&topic, &position, recent) {
            return Ok(history);
        }
        self.read_history(&topic, &position, recent).await
    }

    /// What this node's memory of the topic's newest records has for a join.
    fn remembered(&self, topic: &Topic, position: &Position, recent: usize) -> Option<History> {
        if position.last_seen_uid.is_some() && position.last_seen_id.is_none() {
            return None;
        }
        let found = self.pubsub.recall(topic, position.last_seen_id, recent)?;
        let epoch = position.last_seen_epoch.as_ref();
        // A position of another epoch, or too much to send, is for the store to judge.
        let bytes: usize = found
            .records
            .iter()
            .map(|record| record.payload.len())
            .sum();
        let fits = found.records.len() <= self.resume_max && bytes <= self.history_bytes;
        let current =
            position.last_seen_id.is_none() || epoch.is_none_or(|epoch| *epoch == found.epoch);
        if !fits || !current {
            return None;
        }
        self.pubsub.count_history("memory");
        Some(History {
            records: found.records,
            last_id: found.last_id,
            epoch: found.epoch,
            gaps: Vec::new(),
        })
    }

    async fn read_history(
        &self,
        topic: &Topic,
        position: &Position,
        recent: usize,
    ) -> Result<History, Unavailable> {
        for _ in 0..LOOKS_MAX {
            let look = self.look(topic, position, recent).await?;
            self.pubsub.count_history("store");
            let head = look.slice.head.clone();
            let history = look.into_history(self.history_bytes);
            let observed = self.pubsub.observe(
                topic,
                pubsub::Look {
                    last_id: head.last_id,
                    epoch: &head.epoch,
                    records: &history.records,
                },
            );
            match observed {
                Observed::Fresh => return Ok(history),
                Observed::Stale => {}
            }
        }
        Err(Unavailable)
    }
}

/// The first looks at topics that are under way, so that a crowd of joins makes one.
#[derive(Default)]
pub(super) struct FirstLooks(Mutex<HashMap<Topic, Weak<tokio::sync::Mutex<()>>>>);

impl FirstLooks {
    /// Returns the turn of a topic; it is forgotten when nobody holds it.
    fn of(&self, topic: &Topic) -> Arc<tokio::sync::Mutex<()>> {
        let mut looks = self.0.lock();
        looks.retain(|_, look| look.strong_count() > 0);
        if let Some(look) = looks.get(topic).and_then(Weak::upgrade) {
            return look;
        }
        let look = Arc::default();
        looks.insert(topic.clone(), Arc::downgrade(&look));
        look
    }
}

/// Where the client stood.
enum Seen {
    At(u64),
    Void,
}

/// A look at the store for one join.
struct Look {
    slice: Slice,
    after: Option<Seen>,
}

impl Look {
    fn into_history(self, bytes_max: usize) -> History {
        let Slice { head, records } = self.slice;
        let mut records: Vec<Past> = records.iter().map(Past::from).collect();
        trim(&mut records, bytes_max);
        let gaps = match self.after {
            None => Vec::new(),
            Some(Seen::At(after)) => gaps(&records, after, head.last_id),
            Some(Seen::Void) => {
                let first = records.iter().find_map(|record| record.id);
                let to = first.map_or(head.last_id, |first| first - 1);
                vec![Gap {
                    from: 1,
                    to,
                    reset: true,
                }]
            }
        };
        History {
            records,
            last_id: head.last_id,
            epoch: head.epoch,
            gaps,
        }
    }
}

/// Drops the oldest records until the payloads of the rest hold at most `bytes_max`.
fn trim(records: &mut Vec<Past>, bytes_max: usize) {
    let mut bytes = 0;
    let kept = records
        .iter()
        .rev()
        .take_while(|record| {
            bytes += record.payload.len();
            bytes <= bytes_max
        })
        .count();
    records.drain(..records.len() - kept);
}

/// Returns the ranges above `after`, up to `last_id`, that the records don't cover.
fn gaps(records: &[Past], after: u64, last_id: u64) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut next = after + 1;
    for id in records
        .iter()
        .filter_map(|record| record.id)
        .chain([last_id + 1])
    {
        if id > next {
            gaps.push(Gap {
                from: next,
                to: id - 1,
                reset: false,
            });
        }
        next = id + 1;
    }
    gaps
}

/// Keeps the records from shortly before the time that is in a UUIDv7.
fn keep_since(slice: &mut Slice, uid: uuid::Uuid) {
    let Some(timestamp) = uid.get_timestamp() else {
        return;
    };
    let (seconds, nanos) = timestamp.to_unix();
    let at = i64::try_from(seconds).unwrap_or(0) * 1_000_000 + i64::from(nanos / 1_000);
    slice
        .records
        .retain(|record| record.record.inserted_at >= at - OVERLAP_US);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Payload;

    fn records(ids: &[u64]) -> Vec<Past> {
        let past = |id: &u64| Past {
            id: Some(*id),
            event: "e".into(),
            payload: Payload::json("{\"a\":1}"),
        };
        ids.iter().map(past).collect()
    }

    fn ranges(ids: &[u64], after: u64, last_id: u64) -> Vec<(u64, u64)> {
        let found = gaps(&records(ids), after, last_id);
        found.iter().map(|gap| (gap.from, gap.to)).collect()
    }

    #[test]
    fn gaps_are_what_the_records_leave_out() {
        assert_eq!(ranges(&[3, 4, 5], 2, 5), []);
        assert_eq!(ranges(&[], 5, 5), []);
        assert_eq!(ranges(&[7, 8], 2, 8), [(3, 6)]);
        assert_eq!(ranges(&[3, 6], 2, 8), [(4, 5), (7, 8)]);
        assert_eq!(ranges(&[], 2, 8), [(3, 8)]);
    }

    #[test]
    fn the_newest_records_are_kept_within_the_bytes() {
        let mut kept = records(&[1, 2, 3]);
        trim(&mut kept, 15);
        let ids: Vec<_> = kept.iter().filter_map(|record| record.id).collect();
        assert_eq!(ids, [2, 3]);
    }
}
