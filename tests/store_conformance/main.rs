//! One suite for every store: what it promises, claim by claim, on SQLite in memory, in a file, and on Postgres.
//!
//! The claims know nothing but the trait.

mod append;
mod databases;
mod read;
#[path = "../support/mod.rs"]
mod support;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;

use fanfare::channel::NewRecord;
use fanfare::protocol::Topic;
use fanfare::store::{Appended, Range, Store};
use support::postgres::Postgres;
use support::records::{open, topic};
use tempfile::TempDir;

/// Two handles of one migrated database; in memory they are the same handle.
struct Stores {
    one: Arc<dyn Store>,
    other: Arc<dyn Store>,
    url: String,
    _dir: Option<TempDir>,
    postgres: Option<Arc<Postgres>>,
}

impl Stores {
    async fn memory() -> Self {
        let one = open("sqlite::memory:").await;
        one.migrate().await.expect("migrated");
        Self {
            other: Arc::clone(&one),
            one,
            url: String::from("sqlite::memory:"),
            _dir: None,
            postgres: None,
        }
    }

    async fn file() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}", dir.path().join("test.db").display());
        Self::two(url, Some(dir), None).await
    }

    async fn postgres() -> Self {
        let postgres = Postgres::shared();
        let url = postgres.create_database();
        Self::two(url, None, Some(postgres)).await
    }

    async fn two(url: String, dir: Option<TempDir>, postgres: Option<Arc<Postgres>>) -> Self {
        let (one, other) = (open(&url).await, open(&url).await);
        one.migrate().await.expect("migrated");
        Self {
            one,
            other,
            url,
            _dir: dir,
            postgres,
        }
    }
}

async fn append(store: &Arc<dyn Store>, batch: &[NewRecord]) -> Vec<Appended> {
    let stored = store.append(batch).await.expect("appended");
    let topics: BTreeSet<&Topic> = batch.iter().map(|record| &record.topic).collect();
    let named: BTreeSet<&Topic> = stored.epochs.iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, named, "every topic's epoch is named");
    assert_eq!(stored.epochs.len(), named.len(), "and named once");
    stored.answers
}

async fn ids(store: &Arc<dyn Store>, on: &str, range: Range) -> Vec<u64> {
    let slice = store.read(&topic(on), range).await.expect("read");
    slice
        .records
        .iter()
        .map(|record| record.id.expect("stored records have an id"))
        .collect()
}

const ALL: Range = Range::Recent { count: 1_000_000 };

fn stored(id: u64) -> Appended {
    Appended::Stored { id }
}

fn known(id: u64, first: &NewRecord) -> Appended {
    Appended::Known { id, uid: first.uid }
}

/// Runs claims on each store; a claim is a function of this name in that module.
macro_rules! suite {
    ($($module:ident { $($claim:ident),* $(,)? })*) => {
        mod sqlite_memory {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::$module::$claim(crate::Stores::memory().await).await })*)*
        }
        mod sqlite_file {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::$module::$claim(crate::Stores::file().await).await })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::$module::$claim(crate::Stores::postgres().await).await })*)*
        }
    };
}

suite! {
    append {
    numbers_are_contiguous_from_1_in_each_topic,
    a_repeated_uid_is_known_and_makes_no_hole,
    a_repeated_key_of_a_player_is_known_by_the_first_record,
    the_same_key_of_another_player_topic_or_guest_is_new,
    concurrent_batches_leave_no_hole_and_commit_in_order_of_id,
    the_same_key_from_two_handles_at_once_is_stored_once,
    what_cannot_be_stored_is_refused_and_nothing_of_its_batch_is_kept,
    the_longest_names_fit,
    a_large_batch_is_one_transaction,
    a_store_that_was_set_back_starts_a_new_epoch_before_it_numbers,
    }
    read {
    every_kind_of_record_is_read_as_it_was_written,
    a_missing_player_goes_by_its_id,
    an_epoch_is_made_once_and_stays,
    ranges_are_cut_at_the_right_end_and_oldest_first,
    heads_come_in_the_order_asked_for,
    a_new_epoch_never_lowers_the_place,
    a_player_is_made_from_claims_and_never_overwritten,
    a_rating_is_only_ever_raised,
    games_and_videos_are_made_only_when_asked_for,
    a_migrated_store_answers_and_migrating_again_changes_nothing,
    }
    sweep {
    records_go_by_age_up_to_the_first_that_stays,
    records_go_by_count_once_they_are_old_enough_for_it,
    places_and_epoch_stay_when_everything_is_swept,
    every_kind_of_record_is_swept,
    a_step_removes_so_many_and_the_next_goes_on,
    a_sweep_goes_through_more_topics_than_a_step_looks_at,
    one_at_a_time_sweeps_and_another_goes_on_where_it_died,
    }
}
