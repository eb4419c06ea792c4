//! The SQLite store: one file (or memory), one thread that owns the connection.
//!
//! It never blocks a caller's thread and never holds more than [`JOBS_MAX`] waiting calls.

mod append;
mod read;
mod schema;
mod sweep;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::row;
use super::{
    Batch, Config, Floor, Game, Head, Player, Range, Slice, Step, Store, StoreError, Swept, Video,
};
use crate::channel::NewRecord;
use crate::protocol::Topic;

/// Calls that wait for the database thread; further ones wait for a place.
const JOBS_MAX: usize = 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Records in an SQLite database.
///
/// In WAL mode with `synchronous = FULL`: a commit is on disk before it is answered. `NORMAL` would be
/// faster and could lose the newest commits when the power fails, after their senders were told `ok`.
pub struct Sqlite {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Place {
    Memory,
    File(PathBuf),
}

impl Sqlite {
    /// Opens `:memory:` or `//PATH` (what follows `sqlite:`) and starts the database thread.
    ///
    /// The thread ends when the store is dropped and its last call is answered.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an address that is neither; [`StoreError::Unavailable`] when the file can't be
    /// opened and written.
    pub async fn open(place: &str, config: &Config) -> Result<Self, StoreError> {
        let place = match place.strip_prefix("//") {
            None if place == ":memory:" => Place::Memory,
            Some(path) if !path.is_empty() => Place::File(PathBuf::from(path)),
            Some(_) | None => {
                return Err(StoreError::Refused(String::from(
                    "the database url must be sqlite://PATH or sqlite::memory:",
                )));
            }
        };
        let patience = config.lock_timeout;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let (opened, is_open) = oneshot::channel();
        thread::Builder::new()
            .name(String::from("fanfare-sqlite"))
            .spawn(move || serve(&place, patience, opened, queue))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        is_open.await.map_err(|_| thread_is_gone())??;
        Ok(Self { jobs })
    }

    /// Runs work on the database thread and waits for its answer.
    ///
    /// # Cancel safety
    /// Work that was handed over is done even if the caller stops waiting.
    async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that stopped waiting needs no answer.
            let _ = answer.send(work(connection).map_err(StoreError::from));
        });
        self.jobs.send(job).await.map_err(|_| thread_is_gone())?;
        answered.await.map_err(|_| thread_is_gone())?
    }
}

fn thread_is_gone() -> StoreError {
    StoreError::Unavailable(String::from("the database thread has ended"))
}

/// The life of the database thread: opens, says so, works until the store is dropped.
fn serve(
    place: &Place,
    patience: Duration,
    opened: oneshot::Sender<Result<(), StoreError>>,
    mut queue: mpsc::Receiver<Job>,
) {
    let mut connection = match schema::connect(place, patience) {
        Ok(connection) => connection,
        Err(error) => {
            // Nobody waits any more: there is nobody to tell.
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    while let Some(job) = queue.blocking_recv() {
        job(&mut connection);
    }
}

/// Why work on the database thread failed.
#[derive(Debug)]
enum Failure {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error,
            Failure::Sqlite(error) => {
                let refused = matches!(
                    error.sqlite_error_code(),
                    Some(
                        ErrorCode::ConstraintViolation
                            | ErrorCode::TooBig
                            | ErrorCode::TypeMismatch
                            | ErrorCode::ParameterOutOfRange
                    )
                );
                match refused {
                    true => StoreError::Refused(error.to_string()),
                    false => StoreError::Unavailable(error.to_string()),
                }
            }
        }
    }
}

impl Store for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(schema::migrate))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(|connection| Ok(connection.query_row("select 1", [], |_| Ok(()))?)))
    }

    fn append_above<'a>(
        &'a self,
        batch: &'a [NewRecord],
        floors: &'a [Floor],
    ) -> BoxFuture<'a, Result<Batch, StoreError>> {
        Box::pin(async move {
            batch.iter().try_for_each(row::check)?;
            let (batch, floors) = (batch.to_vec(), floors.to_vec());
            self.run(move |connection| append::append(connection, &batch, &floors))
                .await
        })
    }

    fn read<'a>(
        &'a self,
        topic: &'a Topic,
        range: Range,
    ) -> BoxFuture<'a, Result<Slice, StoreError>> {
        Box::pin(async move {
            row::check_text([topic.as_str()])?;
            let topic = topic.clone();
            self.run(move |connection| read::slice(connection, &topic, range))
                .await
        })
    }

    fn heads<'a>(
        &'a self,
        topics: &'a [Topic],
    ) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        let topics = topics.to_vec();
        Box::pin(self.run(move |connection| read::heads(connection, &topics)))
    }

    fn renew_epoch<'a>(
        &'a self,
        topic: &'a Topic,
        ended: &'a str,
        last_id: u64,
    ) -> BoxFuture<'a, Result<Head, StoreError>> {
        Box::pin(async move {
            row::check_text([topic.as_str()])?;
            let (topic, ended) = (topic.clone(), ended.to_owned());
            self.run(move |connection| append::renew_epoch(connection, &topic, &ended, last_id))
                .await
        })
    }

    fn sweep<'a>(&'a self, step: &'a Step) -> BoxFuture<'a, Result<Swept, StoreError>> {
        let step = step.clone();
        Box::pin(self.run(move |connection| sweep::sweep(connection, &step)))
    }

    fn game<'a>(
        &'a self,
        slug: &'a str,
        create: bool,
    ) -> BoxFuture<'a, Result<Option<Game>, StoreError>> {
        Box::pin(async move {
            row::check_text([slug])?;
            let slug = slug.to_owned();
            self.run(move |connection| read::game(connection, &slug, create))
                .await
        })
    }

    fn video(&self, id: i64, create: bool) -> BoxFuture<'_, Result<Option<Video>, StoreError>> {
        Box::pin(self.run(move |connection| read::video(connection, id, create)))
    }

    fn player<'a>(
        &'a self,
        id: &'a str,
        username: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        Box::pin(async move {
            row::check_text([id].into_iter().chain(username))?;
            let (id, username) = (id.to_owned(), username.map(str::to_owned));
            self.run(move |connection| read::player(connection, &id, username.as_deref()))
                .await
        })
    }

    fn raise_rating<'a>(
        &'a self,
        id: &'a str,
        rating: i64,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        Box::pin(async move {
            row::check_text([id])?;
            let id = id.to_owned();
            self.run(move |connection| read::raise_rating(connection, &id, rating))
                .await
        })
    }
}
