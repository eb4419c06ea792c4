//! Records at rest: the store trait, the writer pool, and its Postgres and SQLite implementations.
//!
//! A store gives each record its place in its topic; it never broadcasts.

mod config;
mod migrations;
mod players;
mod postgres;
mod retention;
mod row;
mod sqlite;
mod sweeper;
mod writer;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use config::{Config, NotSynchronousCommit, SynchronousCommit};
pub use players::{LoadStart, PLAYER_TTL, PLAYERS_MAX, PlayerCache};
pub use postgres::Postgres;
pub use retention::{Next, Retention, Rule, Step, Swept};
pub use sqlite::Sqlite;
pub use sweeper::{SweepMetrics, Sweeper};
pub use writer::{Completion, Full, Lane, Metrics, Outcome, Writer};

use crate::channel::{Epoch, NewRecord, Record};
pub use crate::channel::{Game, Player, Video};
use crate::protocol::Topic;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The store can't be reached, or is too slow, or refuses for now; trying again may help.
    Unavailable(String),
    /// The store refuses this input for good (for example a value that its encoding lacks).
    Refused(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "store unavailable: {why}"),
            Self::Refused(why) => write!(f, "store refused: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The answer to one record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It was stored now and has this place.
    Stored {
        /// Its place in the topic.
        id: u64,
    },
    /// It was stored before, by this `uid` or by the same player's `client_key` in the topic:
    /// the first one's place and uid. Nothing was stored or numbered.
    Known {
        /// The first record's place in the topic.
        id: u64,
        /// The first record's uid.
        uid: uuid::Uuid,
    },
}

/// What a batch did, in the order of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// One answer a record, in input order.
    pub answers: Vec<Appended>,
    /// The epoch of each topic that the batch touched.
    pub epochs: Vec<(Topic, Epoch)>,
}

/// Where a topic was seen to end: a store that ends before it, in the same epoch, has been set back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The topic.
    pub topic: Topic,
    /// A place that was stored.
    pub last_id: u64,
    /// The epoch of that place.
    pub epoch: Epoch,
}

/// What this node has seen of topics, for [`Store::append_above`].
pub trait Seen: Send + Sync {
    /// Returns the newest place of a topic that is known to be stored; `None` where none is.
    fn floor(&self, topic: &Topic) -> Option<Floor>;
}

/// Where a topic ends in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest place; 0 for a topic without records.
    pub last_id: u64,
    /// The topic's epoch; made on the first look at the topic, so that it is never absent.
    pub epoch: Epoch,
}

/// Which records of a topic to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The newest `count`.
    Recent {
        /// How many at most.
        count: usize,
    },
    /// The newest `count` of those with an id above `after`.
    After {
        /// The position that the reader has.
        after: u64,
        /// How many at most.
        count: usize,
    },
    /// The oldest `count` of those with an id from `from` to `to`, both included.
    Between {
        /// First id.
        from: u64,
        /// Last id.
        to: u64,
        /// How many at most.
        count: usize,
    },
}

/// A consistent look at a topic: its head and the records asked for, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The head in the same snapshot as the records.
    pub head: Head,
    /// The records, oldest first; ids may have holes where records are no longer kept.
    pub records: Vec<Record>,
}

/// Records, games, videos and players at rest.
///
/// Every method may be called from any thread. A method that fails with
/// [`StoreError::Unavailable`] may or may not have taken effect; all are safe to repeat.
pub trait Store: Send + Sync + 'static {
    /// Names the kind of store: `sqlite` or `postgres`.
    fn kind(&self) -> &'static str;

    /// Applies `migrations/` in order; safe to run from several nodes at once.
    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Says whether the store answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Stores a batch in one transaction and numbers its new records per topic.
    ///
    /// Each topic's row in `topics` is locked first (in sorted order), so that commit order is id
    /// order across nodes. Known `uid`s and (player, `client_key`)s are looked up under the lock:
    /// no holes, no doubles; the same `uid` or key twice within one batch is known the second time.
    ///
    /// # Errors
    /// All or nothing. [`StoreError::Refused`] means that some record of the batch is bad.
    fn append<'a>(&'a self, batch: &'a [NewRecord]) -> BoxFuture<'a, Result<Batch, StoreError>> {
        self.append_above(batch, &[])
    }

    /// As [`Self::append`], for a node that has seen where topics ended: at most one floor a topic.
    ///
    /// A topic that ends below its floor, in the floor's epoch, was restored to an older state. It gets a new epoch
    /// before anything is numbered, so that no place ever names two records.
    fn append_above<'a>(
        &'a self,
        batch: &'a [NewRecord],
        floors: &'a [Floor],
    ) -> BoxFuture<'a, Result<Batch, StoreError>>;

    /// Reads a slice of a topic and its head in one snapshot.
    fn read<'a>(
        &'a self,
        topic: &'a Topic,
        range: Range,
    ) -> BoxFuture<'a, Result<Slice, StoreError>>;

    /// Reads the heads of many topics in one query, in input order; `None` for a topic without a row.
    fn heads<'a>(
        &'a self,
        topics: &'a [Topic],
    ) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>>;

    /// Ends an epoch of a topic, unless somebody else has: a new one, and a `last_seq` of at least `last_id`.
    ///
    /// When the topic is in another epoch than `ended` already, nothing happens: nodes that notice the same thing at
    /// once agree on one new epoch. Returns where the topic is then.
    fn renew_epoch<'a>(
        &'a self,
        topic: &'a Topic,
        ended: &'a str,
        last_id: u64,
    ) -> BoxFuture<'a, Result<Head, StoreError>>;

    /// Does one step of a sweep: removes some records that are not kept any longer, oldest first.
    ///
    /// Only the holder of the turn does anything; the turn, and the place where the sweep goes on, are in the
    /// database, so that one node at a time sweeps and another goes on where it died. A topic's row, its last
    /// place and its epoch stay: whoever resumes before what is left is told the gap.
    fn sweep<'a>(&'a self, step: &'a Step) -> BoxFuture<'a, Result<Swept, StoreError>>;

    /// Finds a game by its slug; creates it (name = slug) when `create`.
    fn game<'a>(
        &'a self,
        slug: &'a str,
        create: bool,
    ) -> BoxFuture<'a, Result<Option<Game>, StoreError>>;

    /// Finds a video by its id; creates it (title = `Video <id>`, empty url) when `create`.
    fn video(&self, id: i64, create: bool) -> BoxFuture<'_, Result<Option<Video>, StoreError>>;

    /// Finds a player by id; when absent and `username` is given, creates it with that name.
    fn player<'a>(
        &'a self,
        id: &'a str,
        username: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>>;

    /// Raises a player's rating to at least `rating` in one statement; the fresh row, if any.
    fn raise_rating<'a>(
        &'a self,
        id: &'a str,
        rating: i64,
    ) -> BoxFuture<'a, Result<Option<Player>, StoreError>>;
}

/// Opens the store that `config.url` names.
///
/// An SQLite file is opened (and made) now. Postgres is not connected to before the first call, so that a
/// node can start while its database is away. Call this, and the store, on a runtime that outlives
/// the store's connections.
///
/// # Errors
/// [`StoreError::Refused`] for an address that no store understands, [`StoreError::Unavailable`] for a file that
/// can't be opened; each is one line, without any password.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let url = config.url.as_str();
    match url.split_once(':') {
        Some(("sqlite", place)) => Ok(Arc::new(Sqlite::open(place, config).await?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(Postgres::open(config)?)),
        // The address isn't repeated: it may hold a password.
        Some(_) | None => Err(StoreError::Refused(String::from(
            "the database url must start with sqlite: or postgres://",
        ))),
    }
}
