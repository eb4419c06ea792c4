//! The Postgres store: a bounded pool of connections, few round trips a call.
//!
//! It connects at the first call, never waits without a limit, and never reuses a connection that failed.

mod append;
mod connect;
mod moment;
mod read;
mod schema;
mod sweep;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::future::BoxFuture;

use super::{
    Batch, Config, Floor, Game, Head, Player, Range, Slice, Step, Store, StoreError, Swept, Video,
    row,
};
use crate::channel::NewRecord;
use crate::protocol::Topic;

/// Records in a Postgres database.
pub struct Postgres {
    pool: Pool,
    /// How long a call may take once it has a connection; the server's own limits end most calls earlier.
    patience: Duration,
}

/// How long applying the migrations may take, other nodes' included.
const MIGRATE_MAX: Duration = Duration::from_secs(600);

impl Postgres {
    /// Reads the address and prepares the pool; connects at the first call.
    ///
    /// `sslmode` means what it means to libpq: `disable` (never TLS), `prefer` (TLS when offered; the default),
    /// `require` (TLS, the server's certificate isn't verified), `verify-ca` (its issuer is), `verify-full` (its
    /// name too). The issuers are those of the web, or the PEM file that `sslrootcert` names.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a bad address or certificate file.
    pub fn open(config: &Config) -> Result<Self, StoreError> {
        if config.synchronous_commit.is_weak() {
            tracing::warn!(
                synchronous_commit = config.synchronous_commit.as_str(),
                "acknowledged records can be lost: commits don't wait for the disks"
            );
        }
        Ok(Self {
            pool: connect::pool(config)?,
            patience: config.statement_timeout + config.lock_timeout,
        })
    }

    async fn run<T, F, Work>(&self, work: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Object>) -> Work,
        Work: Future<Output = Result<T, Failure>>,
    {
        self.run_within(self.patience, work).await
    }

    /// Runs work on a connection, twice when the first one turns out to be closed.
    ///
    /// The second attempt covers what a restarted server leaves in the pool; it is safe because
    /// every call is safe to repeat.
    async fn run_within<T, F, Work>(&self, patience: Duration, work: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Object>) -> Work,
        Work: Future<Output = Result<T, Failure>>,
    {
        let mut is_first = true;
        loop {
            let client = Arc::new(self.pool.get().await.map_err(|error| {
                StoreError::Unavailable(format!("no connection: {}", describe(&error)))
            })?);
            let outcome = tokio::time::timeout(patience, work(Arc::clone(&client))).await;
            let error = match outcome {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Failure::Postgres(error))) if error.is_closed() && is_first => {
                    is_first = false;
                    discard(client);
                    continue;
                }
                Ok(Err(failure)) => StoreError::from(failure),
                Err(_) => {
                    // After a failover the pool's other connections hang as well: each would cost as much time.
                    self.pool.retain(|_, _| false);
                    StoreError::Unavailable(format!("no answer within {patience:?}"))
                }
            };
            if let StoreError::Unavailable(_) = error {
                discard(client);
            }
            return Err(error);
        }
    }
}

/// Closes a connection instead of giving it back.
fn discard(client: Arc<Object>) {
    if let Some(client) = Arc::into_inner(client) {
        drop(Object::take(client));
    }
}

/// Why work on a connection failed.
#[derive(Debug)]
enum Failure {
    Postgres(tokio_postgres::Error),
    Store(StoreError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::Postgres(error) => error,
        };
        // Classes 22 (data), 23 (constraints), 54 (too large or too deep) and P0 (raised by an operator's trigger)
        // are about the input and come again; everything else (locks, deadlocks, shutdown, disk full, a database
        // that is read-only, a missing table) may pass.
        let refused = error
            .code()
            .is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23" | "54" | "P0")));
        // The detail that comes with the server's message may quote a record; the message doesn't.
        let why = match error.as_db_error() {
            Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
            None => describe(&error),
        };
        match refused {
            true => StoreError::Refused(why),
            false => StoreError::Unavailable(why),
        }
    }
}

/// Writes an error and its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

impl Store for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run_within(MIGRATE_MAX, |client| async move {
            schema::migrate(&client).await
        }))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(|client| async move { Ok(client.batch_execute("select 1").await?) }))
    }

    fn append_above<'a>(
        &'a self,
        batch: &'a [NewRecord],
        floors: &'a [Floor],
    ) -> BoxFuture<'a, Result<Batch, StoreError>> {
        Box::pin(async move {
            batch.iter().try_for_each(row::check)?;
            let plan = &append::Plan::new(batch, floors)?;
            self.run(|client| async move { append::append(&client, plan).await })
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
            self.run(|client| async move { read::slice(&client, topic, range).await })
                .await
        })
    }

    fn heads<'a>(
        &'a self,
        topics: &'a [Topic],
    ) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        Box::pin(self.run(move |client| async move { read::heads(&client, topics).await }))
    }

    fn renew_epoch<'a>(
        &'a self,
        topic: &'a Topic,
        ended: &'a str,
        last_id: u64,
    ) -> BoxFuture<'a, Result<Head, StoreError>> {
        Box::pin(async move {
            row::check_text([topic.as_str()])?;
            self.run(
                |client| async move { append::renew_epoch(&client, topic, ended, last_id).await },
            )
            .await
        })
    }

    fn sweep<'a>(&'a self, step: &'a Step) -> BoxFuture<'a, Result<Swept, StoreError>> {
        Box::pin(self.run(move |client| async move { sweep::sweep(&client, step).await }))
    }

    fn game<'a>(
        &'a self,
        slug: &'a str,
        create: bool,
    ) -> BoxFuture<'a, Result<Option<Game>, StoreError>> {
        Box::pin(async move {
            row::check_text([slug])?;
            self.run(|client| async move { read::game(&client, slug, create).await })
                .await
        })
    }

    fn video(&self, id: i64, create: bool) -> BoxFuture<'_, Result<Option<Video>, StoreError>> {
        Box::pin(self.run(move |client| async move { read::video(&client, id, create).await }))
    }

    fn player<'a>(
        &'a self,
        id: &'a str,
        username: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>> {
        Box::pin(async move {
            row::check_text([id].into_iter().chain(username))?;
            self.run(|client| async move { read::player(&client, id, username).await })
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
            self.run(|client| async move { read::raise_rating(&client, id, rating).await })
                .await
        })
    }
}
