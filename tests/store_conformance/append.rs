//! What storing a batch promises.
//!
//! Claims only; each is run on every store.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::Arc;

use fanfare::channel::{Body, NewRecord};
use fanfare::protocol::Topic;
use fanfare::store::{Appended, Floor, Store, StoreError};

use crate::support::records::{custom, keyed, message, topic};
use crate::{ALL, Stores, append, ids, known, stored};

pub async fn numbers_are_contiguous_from_1_in_each_topic(stores: Stores) {
    let batch = [message("a", "1"), message("b", "1"), message("a", "2")];
    assert_eq!(
        append(&stores.one, &batch).await,
        [stored(1), stored(1), stored(2)]
    );
    let batch = [message("b", "2"), message("a", "3")];
    assert_eq!(append(&stores.other, &batch).await, [stored(2), stored(3)]);
    assert_eq!(ids(&stores.one, "a", ALL).await, [1, 2, 3]);
    assert_eq!(ids(&stores.other, "b", ALL).await, [1, 2]);
    assert_eq!(append(&stores.one, &[]).await, []);
}

pub async fn a_store_that_was_set_back_starts_a_new_epoch_before_it_numbers(stores: Stores) {
    append(&stores.one, &[message("a", "1"), message("b", "1")]).await;
    let head = |on| {
        let (store, topic) = (Arc::clone(&stores.one), topic(on));
        async move { store.read(&topic, ALL).await.expect("read").head }
    };
    let (before, other) = (head("a").await, head("b").await);
    let floor = |on, last_id, epoch: &str| Floor {
        topic: topic(on),
        last_id,
        epoch: epoch.to_owned(),
    };
    let batch = || [message("a", "2"), message("b", "2")];
    // What was seen is there, or was of another epoch: nothing happens.
    let fine = [floor("a", 1, &before.epoch), floor("b", 9, "another")];
    let stored = stores.one.append_above(&batch(), &fine).await;
    assert!(
        stored
            .expect("stored")
            .epochs
            .iter()
            .all(|(_, epoch)| { *epoch == before.epoch || *epoch == other.epoch })
    );
    // Nine were seen, and the store ends at two.
    let seen = [floor("a", 9, &before.epoch), floor("b", 2, &other.epoch)];
    let stored = stores.other.append_above(&batch(), &seen).await;
    let stored = stored.expect("stored");
    assert_eq!(stored.answers, [crate::stored(3), crate::stored(3)]);
    let epochs: BTreeMap<_, _> = stored.epochs.into_iter().collect();
    assert_ne!(epochs[&topic("a")], before.epoch);
    assert_eq!(epochs[&topic("b")], other.epoch);
    assert_eq!(head("a").await.epoch, epochs[&topic("a")]);
}

pub async fn a_repeated_uid_is_known_and_makes_no_hole(stores: Stores) {
    let (first, second) = (message("a", "1"), message("a", "2"));
    let batch = [first.clone(), first.clone(), second.clone()];
    assert_eq!(
        append(&stores.one, &batch).await,
        [stored(1), known(1, &first), stored(2)]
    );
    let third = message("a", "3");
    let batch = [second.clone(), third.clone(), first.clone(), third.clone()];
    let answers = [
        known(2, &second),
        stored(3),
        known(1, &first),
        known(3, &third),
    ];
    assert_eq!(append(&stores.other, &batch).await, answers);
    assert_eq!(ids(&stores.one, "a", ALL).await, [1, 2, 3]);
}

pub async fn a_repeated_key_of_a_player_is_known_by_the_first_record(stores: Stores) {
    let first = keyed("a", "p1", "k");
    let again = keyed("a", "p1", "k");
    assert_eq!(
        append(&stores.one, &[first.clone(), again.clone()]).await,
        [stored(1), known(1, &first)]
    );
    let batch = [again, message("a", "between"), keyed("a", "p1", "k")];
    assert_eq!(
        append(&stores.other, &batch).await,
        [known(1, &first), stored(2), known(1, &first)]
    );
    // In whichever table the first one is.
    let elsewhere = NewRecord {
        body: Body::Score {
            game_id: 1,
            player_score: 1,
        },
        ..keyed("a", "p1", "k")
    };
    assert_eq!(append(&stores.one, &[elsewhere]).await, [known(1, &first)]);
}

pub async fn the_same_key_of_another_player_topic_or_guest_is_new(stores: Stores) {
    let guest = || NewRecord {
        author: None,
        ..keyed("a", "", "k")
    };
    let batch = [
        keyed("a", "p1", "k"),
        keyed("a", "p2", "k"),
        keyed("b", "p1", "k"),
        keyed("a", "p1", "K"),
        guest(),
        guest(),
    ];
    let new = [
        stored(1),
        stored(2),
        stored(1),
        stored(3),
        stored(4),
        stored(5),
    ];
    assert_eq!(append(&stores.one, &batch).await, new);
    assert_eq!(append(&stores.other, &[guest()]).await, [stored(6)]);
}

/// Appends from many tasks over both handles, while readers check that each look is complete.
pub async fn concurrent_batches_leave_no_hole_and_commit_in_order_of_id(stores: Stores) {
    const TASKS: usize = 8;
    const BATCHES: usize = 12;
    let topics = ["a", "b", "c"];
    let mut writers = Vec::new();
    for task in 0..TASKS {
        let handle = [&stores.one, &stores.other][task % 2];
        let store = Arc::clone(handle);
        writers.push(tokio::spawn(async move {
            let mut answered = Vec::new();
            for number in 0..BATCHES {
                // Topics in another order in each task: locks are taken in one order all the same.
                let batch: Vec<_> = (0..topics.len())
                    .map(|place| topics[(place + task) % topics.len()])
                    .map(|on| message(on, &format!("{task} {number}")))
                    .collect();
                for (record, answer) in batch.iter().zip(append_patiently(&store, &batch).await) {
                    answered.push((record.topic.clone(), record.uid, answer));
                }
            }
            answered
        }));
    }
    let reader = {
        let store = Arc::clone(&stores.other);
        tokio::spawn(async move {
            let mut last_id = 0;
            while last_id < (TASKS * BATCHES) as u64 {
                let slice = store.read(&topic("a"), ALL).await.expect("read");
                let seen: Vec<u64> = slice
                    .records
                    .iter()
                    .filter_map(|record| record.id)
                    .collect();
                let expected: Vec<u64> = (1..=slice.head.last_id).collect();
                assert_eq!(seen, expected, "a look shows every id up to its head");
                assert!(slice.head.last_id >= last_id, "the head never goes back");
                last_id = slice.head.last_id;
            }
        })
    };
    let mut places: BTreeMap<(Topic, u64), uuid::Uuid> = BTreeMap::new();
    for writer in writers {
        for (on, uid, answer) in writer.await.expect("a writer") {
            let Appended::Stored { id } = answer else {
                panic!("a new record is not known: {answer:?}");
            };
            assert!(
                places.insert((on, id), uid).is_none(),
                "an id is given once"
            );
        }
    }
    reader.await.expect("the reader");
    for on in topics.map(topic) {
        let slice = stores.one.read(&on, ALL).await.expect("read");
        let read: Vec<_> = slice
            .records
            .iter()
            .map(|record| (record.id.expect("an id"), record.record.uid))
            .collect();
        let answered: Vec<_> = (1..=(TASKS * BATCHES) as u64)
            .map(|id| (id, places[&(on.clone(), id)]))
            .collect();
        assert_eq!(read, answered, "the ids answered are the ids stored");
    }
}

/// Appends until the store is free: SQLite gives the file to one process at a time. Postgres has no such excuse:
/// there an error would be a deadlock.
async fn append_patiently(store: &Arc<dyn Store>, batch: &[NewRecord]) -> Vec<Appended> {
    loop {
        match store.append(batch).await {
            Ok(done) => return done.answers,
            Err(StoreError::Unavailable(_)) if store.kind() == "sqlite" => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub async fn the_same_key_from_two_handles_at_once_is_stored_once(stores: Stores) {
    for round in 0..20 {
        let key = round.to_string();
        let (left, right) = ([keyed("a", "p1", &key)], [keyed("a", "p1", &key)]);
        let (one, other) = tokio::join!(
            append_patiently(&stores.one, &left),
            append_patiently(&stores.other, &right)
        );
        let first = match (&one[0], &other[0]) {
            (Appended::Stored { id }, second) => {
                assert_eq!(second, &known(*id, &left[0]));
                *id
            }
            (second, Appended::Stored { id }) => {
                assert_eq!(second, &known(*id, &right[0]));
                *id
            }
            both => panic!("one of them is stored: {both:?}"),
        };
        assert_eq!(first, round + 1);
    }
}

pub async fn what_cannot_be_stored_is_refused_and_nothing_of_its_batch_is_kept(stores: Stores) {
    let refused = |what: &str, result: Result<(), StoreError>| match result {
        Err(StoreError::Refused(_)) => {}
        other => panic!("{what}: {other:?}"),
    };
    let deep = "[".repeat(200_000);
    let bad = [
        ("NUL in a message", message("a", "nul \0")),
        ("NUL in a topic", message("a\0", "x")),
        ("NUL in a player", keyed("a", "p\0", "k")),
        ("NUL in a key", keyed("a", "p", "k\0")),
        ("no JSON", custom("a", "{\"a\":")),
        ("JSON that is too deep", custom("a", &deep)),
    ];
    for (what, record) in bad {
        let batch = [message("a", "good"), record];
        refused(what, stores.one.append(&batch).await.map(drop));
    }
    refused(
        "a topic to read",
        stores.one.read(&topic("a\0"), ALL).await.map(drop),
    );
    refused("a game", stores.one.game("\0", true).await.map(drop));
    refused(
        "a player",
        stores.one.player("\0", Some("x")).await.map(drop),
    );
    refused("a name", stores.one.player("x", Some("\0")).await.map(drop));
    assert_eq!(ids(&stores.one, "a", ALL).await, Vec::<u64>::new());
    assert_eq!(
        append(&stores.one, &[message("a", "good")]).await,
        [stored(1)]
    );
}

pub async fn the_longest_names_fit(stores: Stores) {
    let on = "t".repeat(1024);
    let record = NewRecord {
        inserted_at: 0,
        ..keyed(&on, &"p".repeat(255), &"k".repeat(64))
    };
    assert_eq!(append(&stores.one, from_ref(&record)).await, [stored(1)]);
    assert_eq!(
        append(&stores.one, from_ref(&record)).await,
        [known(1, &record)]
    );
}

pub async fn a_large_batch_is_one_transaction(stores: Stores) {
    let batch: Vec<_> = (0..2_000)
        .map(|n| message(["a", "b"][n % 2], "x"))
        .collect();
    let answers = append(&stores.one, &batch).await;
    let expected: Vec<_> = (0..2_000).map(|n| stored(n / 2 + 1)).collect();
    assert_eq!(answers, expected);
}
