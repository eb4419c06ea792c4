//! The batcher: records through a writer's lane into a store that answers at once.
//!
//! The database is left out; what counts is what a record costs on its way to it and back.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use fanfare::channel::{Body, NewRecord};
use fanfare::clock;
use fanfare::protocol::Topic;
use fanfare::store::{
    Appended, Batch, Config, Floor, Game, Head, Lane, Metrics, Player, Range, Slice, Step, Store,
    StoreError, Swept, Video, Writer,
};
use futures_util::future::BoxFuture;

/// Stores nothing and numbers everything.
struct Nowhere;

fn refuse<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, StoreError>> {
    let why = StoreError::Refused(String::from("only records are stored here"));
    Box::pin(ready(Err(why)))
}

impl Store for Nowhere {
    fn kind(&self) -> &'static str {
        "nowhere"
    }

    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn append_above<'a>(
        &'a self,
        batch: &'a [NewRecord],
        _: &'a [Floor],
    ) -> BoxFuture<'a, Result<Batch, StoreError>> {
        let answers = (1..).zip(batch).map(|(id, _)| Appended::Stored { id });
        Box::pin(ready(Ok(Batch {
            answers: answers.collect(),
            epochs: vec![(batch[0].topic.clone(), String::from("epoch"))],
        })))
    }

    fn read<'a>(&'a self, _: &'a Topic, _: Range) -> BoxFuture<'a, Result<Slice, StoreError>> {
        refuse()
    }

    fn heads<'a>(&'a self, _: &'a [Topic]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        refuse()
    }

    fn renew_epoch<'a>(
        &'a self,
        _: &'a Topic,
        _: &'a str,
        _: u64,
    ) -> BoxFuture<'a, Result<Head, StoreError>> {
        refuse()
    }

    fn sweep<'a>(&'a self, _: &'a Step) -> BoxFuture<'a, Result<Swept, StoreError>> {
        refuse()
    }

    fn game<'a>(&'a self, _: &'a str, _: bool) -> BoxFuture<'a, Result<Option<Game>, StoreError>> {
        refuse()
    }

    fn video(&self, _: i64, _: bool) -> BoxFuture<'_, Result<Option<Video>, StoreError>> {
        refuse()
    }

    fn player<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        refuse()
    }

    fn raise_rating<'a>(
        &'a self,
        _: &'a str,
        _: i64,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        refuse()
    }
}

fn message(topic: &Topic) -> NewRecord {
    NewRecord {
        topic: topic.clone(),
        uid: clock::uid(),
        client_key: None,
        author: None,
        inserted_at: clock::unix_us(),
        body: Body::Message {
            room: String::from("lobby"),
            name: String::from("ada"),
            message: String::from("hello to everybody in here"),
        },
    }
}

fn writer() -> (Writer, Lane) {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
    let config = Config {
        lanes: 1,
        ..Config::default()
    };
    let (writer, mut lanes) = Writer::new(Arc::new(Nowhere), &config, 10_000, metrics);
    (writer, lanes.pop().expect("one lane"))
}

/// So many records are queued, stored in batches of 512 and answered.
#[divan::bench(args = [1, 512, 5_120])]
fn records(bencher: Bencher, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let topic = Topic::try_from("chat_room:lobby").expect("a topic");
    let made = || -> Vec<NewRecord> { (0..count).map(|_| message(&topic)).collect() };
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| (writer(), made()))
        .bench_local_values(|((writer, lane), records)| {
            for record in records {
                let answered = writer.submit(record, Box::new(drop));
                answered.expect("there is room");
            }
            writer.close();
            runtime.block_on(lane.run());
            assert_eq!(runtime.block_on(writer.flush(Duration::ZERO)), 0);
        });
}
