//! A store that fails or waits when a test says so, and passes everything else on to a real one.
//!
//! It never makes up an answer of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fanfare::channel::NewRecord;
use fanfare::protocol::Topic;
use fanfare::store::{
    Batch, Floor, Game, Head, Player, Range, Slice, Step, Store, StoreError, Swept, Video,
};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// What the double does with one `append`, before it goes back to passing on.
pub enum Fault {
    /// Answers that it is unavailable, and stores nothing.
    Away,
    /// Stores, and answers that it is unavailable.
    AnswerLost,
}

/// No limit for [`Faulty::records_max`].
pub const ANY: usize = usize::MAX;

/// A store that fails as told, and keeps the sizes of the batches it was given.
pub struct Faulty {
    inner: Arc<dyn Store>,
    faults: Mutex<VecDeque<Fault>>,
    batches: Mutex<Vec<usize>>,
    /// A larger batch finds the store away.
    pub records_max: AtomicUsize,
    /// One permit lets one `append` begin.
    pub gate: Semaphore,
    /// One permit for each `append` that came to the gate.
    pub entered: Semaphore,
}

impl Faulty {
    pub fn new(
        inner: Arc<dyn Store>,
        permits: usize,
        faults: impl IntoIterator<Item = Fault>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::new(faults.into_iter().collect()),
            batches: Mutex::default(),
            records_max: AtomicUsize::new(ANY),
            gate: Semaphore::new(permits),
            entered: Semaphore::new(0),
        })
    }

    pub fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("not poisoned").clone()
    }
}

impl Store for Faulty {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.migrate()
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.ping()
    }
    fn append_above<'a>(
        &'a self,
        batch: &'a [NewRecord],
        floors: &'a [Floor],
    ) -> BoxFuture<'a, Result<Batch, StoreError>> {
        Box::pin(async move {
            self.entered.add_permits(1);
            self.gate.acquire().await.expect("never closed").forget();
            self.batches.lock().expect("not poisoned").push(batch.len());
            let fault = self.faults.lock().expect("not poisoned").pop_front();
            let away = || Err(StoreError::Unavailable(String::from("as told")));
            match fault {
                None if batch.len() > self.records_max.load(Ordering::Relaxed) => away(),
                None => self.inner.append_above(batch, floors).await,
                Some(Fault::Away) => away(),
                Some(Fault::AnswerLost) => {
                    self.inner.append_above(batch, floors).await?;
                    away()
                }
            }
        })
    }
    fn read<'a>(
        &'a self,
        topic: &'a Topic,
        range: Range,
    ) -> BoxFuture<'a, Result<Slice, StoreError>> {
        self.inner.read(topic, range)
    }
    fn heads<'a>(
        &'a self,
        topics: &'a [Topic],
    ) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        self.inner.heads(topics)
    }
    fn renew_epoch<'a>(
        &'a self,
        topic: &'a Topic,
        ended: &'a str,
        last_id: u64,
    ) -> BoxFuture<'a, Result<Head, StoreError>> {
        self.inner.renew_epoch(topic, ended, last_id)
    }
    fn sweep<'a>(&'a self, step: &'a Step) -> BoxFuture<'a, Result<Swept, StoreError>> {
        self.inner.sweep(step)
    }
    fn game<'a>(
        &'a self,
        slug: &'a str,
        create: bool,
    ) -> BoxFuture<'a, Result<Option<Game>, StoreError>> {
        self.inner.game(slug, create)
    }
    fn video(&self, id: i64, create: bool) -> BoxFuture<'_, Result<Option<Video>, StoreError>> {
        self.inner.video(id, create)
    }
    fn player<'a>(
        &'a self,
        id: &'a str,
        username: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        self.inner.player(id, username)
    }
    fn raise_rating<'a>(
        &'a self,
        id: &'a str,
        rating: i64,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        self.inner.raise_rating(id, rating)
    }
}
