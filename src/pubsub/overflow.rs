//! Healing of full mailboxes: the records that a worker's mailbox could not take are read from the store.
//!
//! It waits for room and for the store, never for a subscriber; it gives up only what the store no longer has.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Deliver;
use super::hub::PubSub;
use super::mailbox::Mailbox;
use super::missed::Part;
use super::notices::{gap, notice, renewal};
use super::order::Hole;
use super::repair::{Found, READ_MAX, RecordSource};
use crate::channel::Unavailable;
use crate::protocol::Topic;

/// How long to wait for a store that does not answer, or is behind.
const STORE_PAUSE: Duration = Duration::from_millis(250);

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There may be more to do for the topic.
    Onward,
    /// The mailbox is full again.
    NoRoom,
    /// The store has to come back first.
    NoStore,
}

impl PubSub {
    /// Heals one worker's mailbox, as long as it is polled.
    pub(super) async fn heal_mailbox(&self, worker: usize, source: &dyn RecordSource) {
        let mailbox = &self.mailboxes()[worker];
        loop {
            mailbox.healable().await;
            self.heal_topics(worker, mailbox, source).await;
        }
    }

    /// Goes on until no topic is marked, or the worker has to make room first.
    async fn heal_topics(&self, worker: usize, mailbox: &Mailbox, source: &dyn RecordSource) {
        loop {
            let topics = mailbox.healing();
            if topics.is_empty() {
                return;
            }
            let mut store_is_away = false;
            for topic in topics {
                if !self.is_wanted_by(&topic, worker) {
                    mailbox.forget(&topic);
                    continue;
                }
                match self.heal_topic(mailbox, &topic, source).await {
                    Step::Onward => {}
                    Step::NoRoom => return,
                    Step::NoStore => store_is_away = true,
                }
            }
            if store_is_away {
                sleep(STORE_PAUSE).await;
            }
        }
    }

    /// Queues the next part of what a topic has missed.
    async fn heal_topic(
        &self,
        mailbox: &Mailbox,
        topic: &Topic,
        source: &dyn RecordSource,
    ) -> Step {
        let (epoch, from, to) = match mailbox.part(topic) {
            None => {
                self.metrics.mailboxes_healed.inc();
                return Step::Onward;
            }
            Some(Part::Renewal(epoch, behind)) => {
                return queue(mailbox, renewal(topic, epoch, behind));
            }
            Some(Part::Records(epoch, from, to)) => (epoch, from, to),
        };
        match source.between(topic.clone(), from, to, READ_MAX).await {
            Err(Unavailable) => Step::NoStore,
            Ok(found) if *found.end.epoch != *epoch => {
                // The news of the new epoch comes the usual way, and voids these ids.
                self.observe_active(topic, found.end.last_id, &found.end.epoch);
                self.compare_soon();
                Step::NoStore
            }
            Ok(found) => {
                let hole = Hole { from, to, epoch };
                self.queue_found(mailbox, topic, &hole, found)
            }
        }
    }

    fn queue_found(&self, mailbox: &Mailbox, topic: &Topic, hole: &Hole, found: Found) -> Step {
        let Found { records, end } = found;
        let is_all = records.len() < READ_MAX;
        let mut next = hole.from;
        let gone = |from: u64, to: u64| {
            self.metrics.gone.inc_by(to - from + 1);
            let epoch = Arc::clone(&hole.epoch);
            gap(topic, &Hole { from, to, epoch })
        };
        for record in records {
            let Some(id) = record.id else { continue };
            if id > next && queue(mailbox, gone(next, id - 1)) == Step::NoRoom {
                return Step::NoRoom;
            }
            let deliver = Deliver {
                id: Some(id),
                epoch: Some(Arc::clone(&hole.epoch)),
                accepted_at: record.record.inserted_at,
                remote: true,
                ..notice(topic, record.event(), record.payload())
            };
            if queue(mailbox, deliver) == Step::NoRoom {
                return Step::NoRoom;
            }
            self.metrics.healed.inc();
            next = id + 1;
        }
        // Ids up to the end that the store did not give are gone for good.
        let to = hole.to.min(end.last_id);
        match is_all && next <= to {
            true => queue(mailbox, gone(next, to)),
            // A store that is behind what it committed is looked at again.
            false if next == hole.from => Step::NoStore,
            false => Step::Onward,
        }
    }
}

fn queue(mailbox: &Mailbox, deliver: Deliver) -> Step {
    match mailbox.push_healed(deliver) {
        true => Step::Onward,
        false => Step::NoRoom,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::{Context, Waker};

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use parking_lot::Mutex;

    use super::super::{End, Entry, Metrics};
    use super::*;
    use crate::broker::LocalBroker;
    use crate::channel::{Body, NewRecord, Record};
    use crate::limits::Limits;

    /// A store that has these ids of epoch `a`, and does not answer at first.
    struct Source {
        ids: Vec<u64>,
        last_id: u64,
        epoch: &'static str,
        refusals: Mutex<u32>,
    }

    impl RecordSource for Source {
        fn between(
            &self,
            topic: Topic,
            from: u64,
            to: u64,
            count: usize,
        ) -> BoxFuture<'static, Result<Found, Unavailable>> {
            let mut refusals = self.refusals.lock();
            if *refusals > 0 {
                *refusals -= 1;
                return std::future::ready(Err(Unavailable)).boxed();
            }
            let ids = self.ids.iter().filter(|id| (from..=to).contains(id));
            let records = ids.take(count).map(|id| record(&topic, *id)).collect();
            let end = End {
                last_id: self.last_id,
                epoch: self.epoch.into(),
            };
            std::future::ready(Ok(Found { records, end })).boxed()
        }

        fn heads(
            &self,
            topics: Vec<Topic>,
        ) -> BoxFuture<'static, Result<Vec<Option<End>>, Unavailable>> {
            std::future::ready(Ok(vec![None; topics.len()])).boxed()
        }

        fn renew(&self, _: Topic, _: u64) -> BoxFuture<'static, Result<End, Unavailable>> {
            std::future::ready(Err(Unavailable)).boxed()
        }
    }

    fn record(topic: &Topic, id: u64) -> Record {
        let record = NewRecord {
            topic: topic.clone(),
            uid: uuid::Uuid::nil(),
            client_key: None,
            author: None,
            inserted_at: 0,
            body: Body::Message {
                room: "t".into(),
                name: "ada".into(),
                message: "hello".into(),
            },
        };
        Record {
            id: Some(id),
            record,
        }
    }

    /// Overflows a mailbox of three entries with the records 1 to `last`, heals it from the store, and says
    /// what the worker was handed: an id, or the last id of a gap in brackets.
    async fn check(source: Source, last: u64, expected: &str) {
        let mailbox = Arc::new(Mailbox::new(3, 1_000_000));
        let registry = prometheus::Registry::new();
        let broker = crate::broker::Metrics::register(&registry).unwrap();
        let hub = PubSub::new(
            vec![Arc::clone(&mailbox)],
            Arc::new(LocalBroker::new(&broker)),
            true,
            &Limits::default(),
            Metrics::register(&registry).unwrap(),
        );
        let topic: Topic = "t".try_into().unwrap();
        hub.attach(&topic, 0).await.unwrap();
        for id in 1..=last {
            mailbox.push(Entry::Deliver(Deliver {
                id: Some(id),
                epoch: Some("a".into()),
                ..notice(&topic, "e", crate::protocol::Payload::EMPTY)
            }));
        }
        let mut told = Vec::new();
        let mut healing = std::pin::pin!(hub.heal_mailbox(0, &source));
        while !expected.is_empty() && told.len() < expected.split(' ').count() {
            let mut entries = VecDeque::new();
            tokio::select! {
                biased;
                () = std::future::poll_fn(|task| mailbox.poll_take(task, &mut entries, &mut Vec::new())) => {}
                () = &mut healing => unreachable!("it never ends"),
            }
            told.extend(entries.iter().map(|entry| match entry {
                Entry::Deliver(Deliver {
                    id: Some(id),
                    fastlane,
                    ..
                }) => match &*fastlane.broadcast().event {
                    "gap" => format!("[{id}]"),
                    _ => id.to_string(),
                },
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(told.join(" "), expected);
        // Nothing is marked any more, so that the next record is queued at once.
        let _ = healing.as_mut().now_or_never();
        assert!(mailbox.healing().is_empty());
        let mut task = Context::from_waker(Waker::noop());
        assert!(
            mailbox
                .poll_take(&mut task, &mut VecDeque::new(), &mut Vec::new())
                .is_pending()
        );
    }

    fn store(ids: impl IntoIterator<Item = u64>, last_id: u64, refusals: u32) -> Source {
        Source {
            ids: ids.into_iter().collect(),
            last_id,
            epoch: "a",
            refusals: Mutex::new(refusals),
        }
    }

    #[tokio::test]
    async fn what_did_not_fit_is_read_in_order_as_there_is_room() {
        check(store(1..=9, 9, 0), 9, "1 2 3 4 5 6 7 8 9").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_waited_for() {
        check(store(1..=6, 6, 3), 6, "1 2 3 4 5 6").await;
    }

    #[tokio::test]
    async fn what_the_store_no_longer_has_is_told_as_a_gap_where_it_is_missing() {
        check(store([6, 9], 10, 0), 10, "1 2 3 [5] 6 [8] 9 [10]").await;
    }

    #[tokio::test]
    async fn a_topic_that_fits_is_not_read_again() {
        check(store([], 3, 0), 3, "1 2 3").await;
    }
}
