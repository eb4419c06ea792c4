//! The writer pool: order, batches, retries, refusals and the end, over real stores.
//!
//! Answers are collected as they are given, so that their order is part of every test.

mod bench;
mod faulty;
mod stress;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use bench::Bench;
use fanfare::channel::NewRecord;
use fanfare::protocol::Topic;
use fanfare::store::{Completion, Config, Full, Outcome, Range, Store};
use faulty::{Fault, Faulty};
use support::postgres::Postgres;
use support::records::{custom, keyed, message, open};

const LANE_RECORDS: usize = 10_000;

async fn migrated(url: &str) -> Arc<dyn Store> {
    let store = open(url).await;
    store.migrate().await.expect("migrated");
    store
}

fn one_lane() -> Config {
    Config {
        lanes: 1,
        ..Config::default()
    }
}

fn id_of(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Stored { id, epoch, .. } => {
            assert!(!epoch.is_empty(), "an epoch comes with each place");
            *id
        }
        other => panic!("not stored: {other:?}"),
    }
}

/// Submits many records on many topics and checks each topic's answers and rows against the submissions.
async fn check_order(url: &str) {
    const TOPICS: usize = 10;
    const RECORDS: usize = 3_000;
    let store = migrated(url).await;
    let mut bench = Bench::new(Arc::clone(&store), &Config::default(), LANE_RECORDS);
    let lanes = bench.run();
    let mut submitted: Vec<Vec<NewRecord>> = vec![Vec::new(); TOPICS];
    for number in 0..RECORDS {
        let record = message(&format!("t{}", number % TOPICS), &number.to_string());
        submitted[number % TOPICS].push(record.clone());
        bench.submit(record).expect("room");
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    bench.writer.close();
    assert_eq!(bench.writer.flush(Duration::from_secs(60)).await, 0);
    for lane in lanes {
        lane.await.expect("a closed lane ends");
    }
    let mut answered: Vec<Vec<NewRecord>> = vec![Vec::new(); TOPICS];
    while let Ok((record, outcome)) = bench.answers.try_recv() {
        if let Outcome::Stored {
            record: returned, ..
        } = &outcome
        {
            assert_eq!(*returned, record);
        }
        let place: usize = record
            .topic
            .after("t")
            .expect("t…")
            .parse()
            .expect("a number");
        answered[place].push(record);
        assert_eq!(
            id_of(&outcome),
            answered[place].len() as u64,
            "in order, without holes"
        );
    }
    assert_eq!(answered, submitted);
    for (number, expected) in submitted.into_iter().enumerate() {
        let topic: Topic = format!("t{number}").as_str().try_into().expect("a topic");
        let slice = store
            .read(&topic, Range::Recent { count: RECORDS })
            .await
            .expect("read");
        let read: Vec<_> = slice
            .records
            .into_iter()
            .map(|record| record.record)
            .collect();
        assert_eq!(read, expected);
    }
    assert_eq!(bench.metric("fanfare_writer_queue"), 0.0);
    let batches = bench.metric("fanfare_writer_batch_records");
    assert!(
        batches < RECORDS as f64,
        "records share transactions: {batches}"
    );
    assert_eq!(bench.metric("fanfare_writer_commit_seconds"), batches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_answers_each_topic_in_order_of_submission() {
    check_order("sqlite::memory:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_answers_each_topic_in_order_of_submission() {
    check_order(&Postgres::shared().create_database()).await;
}

#[tokio::test]
async fn a_full_lane_refuses_at_once_and_keeps_what_it_has() {
    let mut bench = Bench::new(migrated("sqlite::memory:").await, &one_lane(), 2);
    assert_eq!(bench.submit(message("a", "1")), Ok(()));
    assert_eq!(bench.submit(message("a", "2")), Ok(()));
    assert_eq!(bench.submit(message("a", "3")), Err(Full));
    assert_eq!(bench.writer.unanswered(), 2);
    assert_eq!(bench.metric("fanfare_writer_queue"), 2.0);
    assert_eq!(bench.metric("fanfare_writer_refused_total"), 1.0);
    let lanes = bench.run();
    assert_eq!(id_of(&bench.outcome().await), 1);
    assert_eq!(id_of(&bench.outcome().await), 2);
    assert_eq!(bench.submit(message("a", "3")), Ok(()));
    assert_eq!(id_of(&bench.outcome().await), 3);
    assert_eq!(bench.writer.flush(Duration::from_secs(10)).await, 0);
    assert!(
        bench.answers.try_recv().is_err(),
        "a refused record is not answered"
    );
    drop(lanes);
}

#[tokio::test]
async fn a_lane_is_full_by_bytes_too_but_takes_one_record_of_any_size() {
    let config = Config {
        lane_bytes: 4_096,
        ..one_lane()
    };
    let bench = Bench::new(migrated("sqlite::memory:").await, &config, LANE_RECORDS);
    let large = "x".repeat(10_000);
    assert_eq!(bench.submit(message("a", &large)), Ok(()));
    assert_eq!(bench.submit(message("a", "small")), Err(Full));
}

#[tokio::test]
async fn what_queues_during_a_commit_is_the_next_batch() {
    let store = Faulty::new(migrated("sqlite::memory:").await, 0, []);
    let mut bench = Bench::new(store.clone(), &one_lane(), LANE_RECORDS);
    let _lanes = bench.run();
    bench.submit(message("a", "alone")).expect("room");
    store.entered.acquire().await.expect("open").forget();
    for number in 0..700 {
        bench
            .submit(message("a", &number.to_string()))
            .expect("room");
    }
    store.gate.add_permits(3);
    assert_eq!(bench.writer.flush(Duration::from_secs(10)).await, 0);
    assert_eq!(store.batches(), [1, 512, 188]);
}

#[tokio::test]
async fn a_batch_is_limited_by_bytes_and_a_larger_record_goes_alone() {
    let config = Config {
        batch_bytes: 30_000,
        ..one_lane()
    };
    let store = Faulty::new(migrated("sqlite::memory:").await, 100, []);
    let mut bench = Bench::new(store.clone(), &config, LANE_RECORDS);
    for bytes in [40_000, 10_000, 10_000, 25_000, 40_000] {
        bench
            .submit(message("a", &"x".repeat(bytes)))
            .expect("room");
    }
    let _lanes = bench.run();
    assert_eq!(bench.writer.flush(Duration::from_secs(10)).await, 0);
    assert_eq!(store.batches(), [1, 2, 1, 1]);
}

#[tokio::test]
async fn an_unavailable_store_is_tried_until_it_answers() {
    let store = Faulty::new(
        migrated("sqlite::memory:").await,
        100,
        (0..6).map(|_| Fault::Away),
    );
    let config = Config {
        retry_max: Duration::from_millis(1),
        ..one_lane()
    };
    let mut bench = Bench::new(store.clone(), &config, LANE_RECORDS);
    for text in ["1", "2", "3"] {
        bench.submit(message("a", text)).expect("room");
    }
    let _lanes = bench.run();
    for id in 1..=3 {
        assert_eq!(id_of(&bench.outcome().await), id);
    }
    // Halved after three attempts, and not again while it is a single record.
    assert_eq!(store.batches(), [3, 3, 3, 1, 1, 1, 1, 2]);
    assert_eq!(bench.metric("fanfare_writer_retries_total"), 6.0);
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_stored_once_and_said_to_be_stored() {
    let inner = migrated("sqlite::memory:").await;
    let faults = [Fault::AnswerLost, Fault::Away, Fault::AnswerLost];
    let store = Faulty::new(Arc::clone(&inner), 100, faults);
    let mut bench = Bench::new(store, &one_lane(), LANE_RECORDS);
    bench.submit(message("a", "1")).expect("room");
    bench.submit(message("a", "2")).expect("room");
    let _lanes = bench.run();
    assert_eq!(id_of(&bench.outcome().await), 1);
    assert_eq!(id_of(&bench.outcome().await), 2);
    let topic = "a".try_into().expect("a topic");
    let slice = inner
        .read(&topic, Range::Recent { count: 10 })
        .await
        .expect("read");
    assert_eq!(slice.records.len(), 2);
}

#[tokio::test]
async fn a_repeated_key_is_known_with_the_first_uid() {
    let mut bench = Bench::new(migrated("sqlite::memory:").await, &one_lane(), LANE_RECORDS);
    let first = keyed("a", "p1", "k");
    bench.submit(first.clone()).expect("room");
    bench.submit(keyed("a", "p1", "k")).expect("room");
    let _lanes = bench.run();
    assert_eq!(id_of(&bench.outcome().await), 1);
    match bench.outcome().await {
        Outcome::Known { id, uid, epoch } => {
            assert_eq!((id, uid), (1, first.uid));
            assert!(!epoch.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

/// Puts one bad record among many and checks that it alone is refused.
async fn check_poison(url: &str, position: usize) {
    let mut bench = Bench::new(migrated(url).await, &one_lane(), LANE_RECORDS);
    for number in 0..100 {
        let record = match number == position {
            // No check in this program sees it: the database refuses it.
            true => custom("a", "{not json"),
            false => message("a", &number.to_string()),
        };
        bench.submit(record).expect("room");
    }
    let _lanes = bench.run();
    let mut next_id = 1;
    for number in 0..100 {
        match (number == position, bench.outcome().await) {
            (true, Outcome::Refused(reason)) => assert!(!reason.is_empty()),
            (false, Outcome::Stored { id, .. }) => {
                assert_eq!(id, next_id);
                next_id += 1;
            }
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(bench.metric("fanfare_writer_refused_total"), 1.0);
    assert_eq!(bench.metric("fanfare_writer_retries_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poisoned_record_is_refused_alone() {
    for position in [0, 37, 99] {
        check_poison("sqlite::memory:", position).await;
    }
    let postgres = Postgres::shared();
    check_poison(&postgres.create_database(), 63).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_an_operators_trigger_refuses_is_refused_alone() {
    let postgres = Postgres::shared();
    let url = postgres.create_database();
    let mut bench = Bench::new(migrated(&url).await, &one_lane(), LANE_RECORDS);
    postgres.sql(
        &url,
        "create function refuse() returns trigger language plpgsql as $$ begin
           if new.message = 'bad' then raise exception 'not this one'; end if;
           return new;
         end $$;
         create trigger refuse before insert on messages for each row execute function refuse()",
    );
    for text in ["1", "bad", "2"] {
        bench.submit(message("a", text)).expect("room");
    }
    let _lanes = bench.run();
    assert_eq!(id_of(&bench.outcome().await), 1);
    let refused = bench.outcome().await;
    assert!(
        matches!(&refused, Outcome::Refused(why) if why.contains("not this one")),
        "{refused:?}"
    );
    assert_eq!(id_of(&bench.outcome().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_much_for_the_store_goes_in_pieces() {
    let store = Faulty::new(migrated("sqlite::memory:").await, 10_000, []);
    store
        .records_max
        .store(4, std::sync::atomic::Ordering::Relaxed);
    let mut bench = Bench::new(store.clone(), &one_lane(), LANE_RECORDS);
    for number in 0..32 {
        bench
            .submit(message("a", &number.to_string()))
            .expect("room");
    }
    let _lanes = bench.run();
    for id in 1..=32 {
        assert_eq!(id_of(&bench.outcome().await), id);
    }
    let batches = store.batches();
    assert_eq!(batches.iter().filter(|records| **records == 4).count(), 8);
}

#[tokio::test]
async fn a_closed_writer_refuses_and_its_lanes_end_when_they_are_empty() {
    let mut bench = Bench::new(
        migrated("sqlite::memory:").await,
        &Config::default(),
        LANE_RECORDS,
    );
    bench.submit(message("a", "1")).expect("room");
    bench.writer.close();
    assert_eq!(bench.submit(message("a", "2")), Err(Full));
    for lane in bench.run() {
        lane.await.expect("a closed lane ends");
    }
    assert_eq!(id_of(&bench.outcome().await), 1);
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_counted_and_abandoned_with_its_lane() {
    let store = Faulty::new(migrated("sqlite::memory:").await, 0, []);
    let mut bench = Bench::new(store.clone(), &one_lane(), LANE_RECORDS);
    let lanes = bench.run();
    bench.submit(message("a", "under way")).expect("room");
    store.entered.acquire().await.expect("open").forget();
    bench.submit(message("a", "queued")).expect("room");
    bench.writer.close();
    assert_eq!(bench.writer.flush(Duration::from_millis(1)).await, 2);
    for lane in lanes {
        lane.abort();
    }
    assert_eq!(bench.outcome().await, Outcome::Abandoned);
    assert_eq!(bench.outcome().await, Outcome::Abandoned);
    assert_eq!(bench.writer.flush(Duration::from_secs(10)).await, 0);
}

#[tokio::test]
async fn a_lane_that_never_ran_abandons_what_it_holds() {
    let mut bench = Bench::new(migrated("sqlite::memory:").await, &one_lane(), LANE_RECORDS);
    bench.submit(message("a", "1")).expect("room");
    bench.lanes.clear();
    assert_eq!(bench.outcome().await, Outcome::Abandoned);
    assert_eq!(bench.submit(message("a", "2")), Err(Full));
}

#[tokio::test]
async fn a_panic_in_one_completion_does_not_stop_its_lane() {
    let mut bench = Bench::new(migrated("sqlite::memory:").await, &one_lane(), LANE_RECORDS);
    let broken: Completion = Box::new(|_| panic!("on purpose"));
    bench
        .writer
        .submit(message("a", "1"), broken)
        .expect("room");
    bench.submit(message("a", "2")).expect("room");
    let _lanes = bench.run();
    assert_eq!(id_of(&bench.outcome().await), 2);
    assert_eq!(bench.writer.flush(Duration::from_secs(10)).await, 0);
}

/// Submits from another thread while the database dies and comes back, three times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_crashes_under_load_loses_and_doubles_nothing() {
    const RECORDS: usize = 3_000;
    let postgres = Arc::new(Postgres::start());
    let url = postgres.create_database();
    let store = migrated(&url).await;
    let config = Config {
        lanes: 2,
        batch_records: 32,
        retry_max: Duration::from_millis(50),
        ..Config::default()
    };
    let mut bench = Bench::new(Arc::clone(&store), &config, LANE_RECORDS);
    let _lanes = bench.run();
    let mut answers = [Vec::new(), Vec::new()];
    for number in 0..RECORDS {
        bench
            .submit(message(["a", "b"][number % 2], "x"))
            .expect("room");
        // The server dies while records of this round are on their way.
        if number % 1_000 == 500 {
            let (record, outcome) = bench.answers.recv().await.expect("an answer");
            answers[usize::from(record.topic.as_str() == "b")].push((record.uid, id_of(&outcome)));
            let postgres = Arc::clone(&postgres);
            tokio::task::spawn_blocking(move || postgres.restart())
                .await
                .expect("restarted");
        }
    }
    assert_eq!(bench.writer.flush(Duration::from_secs(60)).await, 0);
    while let Ok((record, outcome)) = bench.answers.try_recv() {
        answers[usize::from(record.topic.as_str() == "b")].push((record.uid, id_of(&outcome)));
    }
    assert!(
        bench.metric("fanfare_writer_retries_total") > 0.0,
        "the crash was noticed"
    );
    for (on, answered) in ["a", "b"].into_iter().zip(answers) {
        let topic = on.try_into().expect("a topic");
        let slice = store
            .read(&topic, Range::Recent { count: RECORDS })
            .await
            .expect("read");
        let read: Vec<_> = slice
            .records
            .iter()
            .map(|record| (record.record.uid, record.id.expect("an id")))
            .collect();
        assert_eq!(read, answered, "lost, doubled and out of order: none");
        let ids: Vec<u64> = read.iter().map(|(_, id)| *id).collect();
        assert_eq!(ids, (1..=(RECORDS / 2) as u64).collect::<Vec<_>>());
    }
}
