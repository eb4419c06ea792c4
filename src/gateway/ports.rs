//! What channels may ask, answered from the store: history, rows and tokens.
//!
//! It decides what a joining client missed; it delivers nothing.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::auth::{Identity, Verifier};
use crate::channel::{
    AuthError, Authenticated, Game, Gap, History, Pattern, Persist, Player, Ports, Position,
    Record, Unavailable, Video,
};
use crate::clock;
use crate::protocol::Topic;
use crate::pubsub::{End, Found, Observed, PubSub, RecordSource};
use crate::store::{Head, Range, Slice, Store, StoreError};

/// Times that a stale look at the store is repeated; a fresh one follows it at once.
const LOOKS_MAX: usize = 5;

/// How far before `last_seen_uid` a `behind` topic's history starts again, in microseconds.
const OVERLAP_US: i64 = 5_000_000;

/// The store and the verifier as the channels' ports.
pub(super) struct StorePorts {
    pub(super) store: Arc<dyn Store>,
    pub(super) pubsub: Arc<PubSub>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) auto_create_players: bool,
    /// Which topics are stored when, by the declarations; the first match wins.
    pub(super) persist: Vec<(Pattern, Persist)>,
    /// `limits.resume_max`.
    pub(super) resume_max: usize,
    /// Half of `limits.outbox_bytes`.
    pub(super) history_bytes: usize,
}

impl StorePorts {
    fn persist(&self, topic: &Topic) -> Persist {
        let found = self
            .persist
            .iter()
            .find(|(pattern, _)| pattern.matches(topic.as_str()));
        found.map_or(Persist::Before, |(_, persist)| *persist)
    }

    /// Loads the player of an identity; an unknown one is created from its claims where allowed.
    pub(super) async fn player(&self, identity: &Identity) -> Result<Player, AuthError> {
        let name = identity.name.as_deref().unwrap_or(&identity.sub);
        let username = self.auto_create_players.then_some(name);
        match self.store.player(&identity.sub, username).await {
            Ok(Some(player)) => Ok(player),
            Ok(None) | Err(StoreError::Refused(_)) => Err(AuthError::Unauthorized),
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, "a player cannot be loaded");
                Err(AuthError::Unavailable)
            }
        }
    }

    pub(super) fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        self.verifier
            .verify(token, clock::unix_s())
            .map_err(|error| {
                tracing::debug!(%error, "a token is refused");
                AuthError::Unauthorized
            })
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

    async fn history_of(
        &self,
        topic: Topic,
        position: Position,
        recent: usize,
    ) -> Result<History, Unavailable> {
        for _ in 0..LOOKS_MAX {
            let look = self.look(&topic, &position, recent).await?;
            let head = &look.slice.head;
            let observed = match self.persist(&topic) {
                Persist::Before => self.pubsub.observe(&topic, head.last_id, &head.epoch),
                // Such records are broadcast without an id, so their topic has no order to keep.
                Persist::Behind => Observed::Fresh,
            };
            if observed == Observed::Fresh {
                return Ok(look.into_history(self.history_bytes));
            }
        }
        Err(Unavailable)
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
        let Slice { head, mut records } = self.slice;
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
fn trim(records: &mut Vec<Record>, bytes_max: usize) {
    let mut bytes = 0;
    let kept = records
        .iter()
        .rev()
        .take_while(|record| {
            bytes += record.payload().len();
            bytes <= bytes_max
        })
        .count();
    records.drain(..records.len() - kept);
}

/// Returns the ranges above `after`, up to `last_id`, that the records don't cover.
fn gaps(records: &[Record], after: u64, last_id: u64) -> Vec<Gap> {
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

/// The shared form, answered on the control runtime whichever thread asks: the store's connections live there.
#[derive(Clone)]
pub(super) struct SharedPorts {
    ports: Arc<StorePorts>,
    control: tokio::runtime::Handle,
}

impl SharedPorts {
    /// Answers on the runtime that this is called on.
    pub(super) fn new(ports: Arc<StorePorts>) -> Self {
        Self {
            ports,
            control: tokio::runtime::Handle::current(),
        }
    }

    /// Runs work on the control runtime; `lost` is the answer when that is shutting down.
    fn ask<T, W>(&self, lost: T, work: impl FnOnce(Arc<StorePorts>) -> W) -> BoxFuture<'static, T>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let asked = self.control.spawn(work(self.ports.clone()));
        async move { asked.await.unwrap_or(lost) }.boxed()
    }
}

impl Ports for SharedPorts {
    fn history(
        &self,
        topic: Topic,
        position: Position,
        recent: usize,
    ) -> BoxFuture<'static, Result<History, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            ports.history_of(topic, position, recent).await
        })
    }

    fn game(
        &self,
        slug: String,
        create: bool,
    ) -> BoxFuture<'static, Result<Option<Game>, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            found(ports.store.game(&slug, create).await)
        })
    }

    fn video(
        &self,
        id: i64,
        create: bool,
    ) -> BoxFuture<'static, Result<Option<Video>, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            found(ports.store.video(id, create).await)
        })
    }

    fn subscribers(&self, topic: Topic) -> BoxFuture<'static, usize> {
        self.ask(0, move |ports| async move {
            ports.pubsub.subscribers(topic).await
        })
    }

    fn authenticate(&self, token: String) -> BoxFuture<'static, Result<Authenticated, AuthError>> {
        self.ask(Err(AuthError::Unavailable), move |ports| async move {
            let identity = ports.verify(&token)?;
            let player = ports.player(&identity).await?;
            Ok(Authenticated {
                player,
                expires_at: identity.expires_at,
                name: identity.name,
            })
        })
    }
}

/// A name that the store refuses names nothing.
fn found<T>(row: Result<Option<T>, StoreError>) -> Result<Option<T>, Unavailable> {
    match row {
        Ok(row) => Ok(row),
        Err(StoreError::Refused(_)) => Ok(None),
        Err(error @ StoreError::Unavailable(_)) => {
            tracing::warn!(%error, "a row cannot be read");
            Err(Unavailable)
        }
    }
}

impl RecordSource for SharedPorts {
    fn between(
        &self,
        topic: Topic,
        from: u64,
        to: u64,
        count: usize,
    ) -> BoxFuture<'static, Result<Found, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            let slice = ports
                .store
                .read(&topic, Range::Between { from, to, count })
                .await;
            let slice = slice.map_err(|_| Unavailable)?;
            Ok(Found {
                records: slice.records,
                end: end(slice.head),
            })
        })
    }

    fn heads(
        &self,
        topics: Vec<Topic>,
    ) -> BoxFuture<'static, Result<Vec<Option<End>>, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            let heads = ports.store.heads(&topics).await.map_err(|_| Unavailable)?;
            Ok(heads.into_iter().map(|head| head.map(end)).collect())
        })
    }
}

fn end(head: Head) -> End {
    End {
        last_id: head.last_id,
        epoch: head.epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Body, NewRecord};

    fn records(ids: &[u64]) -> Vec<Record> {
        let record = |id: &u64| Record {
            id: Some(*id),
            record: NewRecord {
                topic: "t".try_into().unwrap(),
                uid: uuid::Uuid::nil(),
                client_key: None,
                author: None,
                inserted_at: 0,
                body: Body::Custom {
                    event: "e".into(),
                    payload: "{\"a\":1}".into(),
                },
            },
        };
        ids.iter().map(record).collect()
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
