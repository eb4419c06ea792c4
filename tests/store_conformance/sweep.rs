//! What a sweep promises: which records go, whose turn it is, what stays.
//!
//! Claims only; each is run on every store.

use std::time::Duration;

use fanfare::channel::{NewRecord, Pattern};
use fanfare::clock;
use fanfare::store::{Next, Range, Retention, Rule, Step, Swept};

use crate::support::records::{custom, keyed, message, topic};
use crate::{ALL, Stores, append, ids, stored};

const HOUR_US: i64 = 3_600_000_000;

/// A message that is so many hours old.
fn aged(on: &str, hours: i64) -> NewRecord {
    NewRecord {
        inserted_at: clock::unix_us() - hours * HOUR_US,
        ..message(on, "aged")
    }
}

/// A step by `holder` with one rule for every topic but `kept:*`; records go after an hour at the earliest.
fn step(holder: &str, keep_hours: Option<u64>, keep_records: Option<u64>) -> Step {
    let rule = |topics, keep_for, keep_records| Rule {
        topics: Pattern::parse(topics).expect("a pattern"),
        keep_for,
        keep_records,
    };
    let keep_for = keep_hours.map(|hours| Duration::from_secs(hours * 3_600));
    Step {
        holder: holder.to_owned(),
        lease: Duration::from_secs(60),
        rest: Duration::ZERO,
        rows_max: 100,
        now: clock::unix_us(),
        retention: Retention {
            rules: vec![
                rule("kept:*", None, None),
                rule("*", keep_for, keep_records),
            ],
            grace: Duration::from_secs(3_600),
        },
    }
}

fn swept(rows: u64, next: Next) -> Result<Swept, fanfare::store::StoreError> {
    Ok(Swept { rows, next })
}

pub async fn records_go_by_age_up_to_the_first_that_stays(stores: Stores) {
    let batch = [
        aged("a", 9),
        aged("a", 8),
        aged("a", 2),
        aged("a", 7),
        aged("a", 0),
        aged("b", 1),
        aged("kept:1", 99),
    ];
    append(&stores.one, &batch).await;
    let step = step("one", Some(5), None);
    assert_eq!(stores.one.sweep(&step).await, swept(2, Next::Done));
    // The fourth is older than it may be, but it is behind one that stays.
    assert_eq!(ids(&stores.other, "a", ALL).await, [3, 4, 5]);
    assert_eq!(ids(&stores.other, "b", ALL).await, [1]);
    assert_eq!(ids(&stores.other, "kept:1", ALL).await, [1]);
}

pub async fn records_go_by_count_once_they_are_old_enough_for_it(stores: Stores) {
    let ages = [9, 8, 7, 0, 0, 0];
    let mut batch: Vec<NewRecord> = ages.iter().map(|hours| aged("a", *hours)).collect();
    batch.extend([aged("few", 9), aged("few", 8)]);
    append(&stores.one, &batch).await;
    let keep_two = step("one", None, Some(2));
    assert_eq!(stores.one.sweep(&keep_two).await, swept(3, Next::Done));
    // The fourth is one too many, and too young to go: its retry must be recognised.
    assert_eq!(ids(&stores.one, "a", ALL).await, [4, 5, 6]);
    assert_eq!(ids(&stores.one, "few", ALL).await, [1, 2]);
    let impatient = Step {
        retention: Retention {
            grace: Duration::ZERO,
            ..keep_two.retention.clone()
        },
        now: clock::unix_us() + 1,
        ..keep_two
    };
    assert_eq!(stores.one.sweep(&impatient).await, swept(1, Next::Done));
    assert_eq!(ids(&stores.one, "a", ALL).await, [5, 6]);
}

pub async fn places_and_epoch_stay_when_everything_is_swept(stores: Stores) {
    append(&stores.one, &[aged("a", 9), aged("a", 8)]).await;
    let before = stores.one.read(&topic("a"), ALL).await.expect("read").head;
    let step = step("one", Some(5), None);
    assert_eq!(stores.one.sweep(&step).await, swept(2, Next::Done));
    let after = stores.other.read(&topic("a"), ALL).await.expect("read");
    assert_eq!((after.head, after.records.len()), (before, 0));
    assert_eq!(
        append(&stores.other, &[message("a", "3")]).await,
        [stored(3)]
    );
    let missed = Range::After { after: 1, count: 9 };
    assert_eq!(ids(&stores.one, "a", missed).await, [3]);
}

pub async fn every_kind_of_record_is_swept(stores: Stores) {
    let old = |record: NewRecord| NewRecord {
        inserted_at: clock::unix_us() - 9 * HOUR_US,
        ..record
    };
    let batch = [
        old(custom("a", "{}")),
        old(message("a", "x")),
        old(keyed("a", "p", "k")),
    ];
    append(&stores.one, &batch).await;
    let step = step("one", Some(5), None);
    assert_eq!(stores.one.sweep(&step).await, swept(3, Next::Done));
    // What is gone is forgotten: its key may be used again.
    assert_eq!(
        append(&stores.one, &[keyed("a", "p", "k")]).await,
        [stored(4)]
    );
}

pub async fn a_step_removes_so_many_and_the_next_goes_on(stores: Stores) {
    let batch: Vec<NewRecord> = (0..25).flat_map(|_| [aged("a", 9), aged("b", 9)]).collect();
    append(&stores.one, &batch).await;
    let step = Step {
        rows_max: 20,
        ..step("one", Some(5), None)
    };
    assert_eq!(stores.one.sweep(&step).await, swept(20, Next::Step));
    assert_eq!(ids(&stores.one, "a", ALL).await, [21, 22, 23, 24, 25]);
    assert_eq!(stores.one.sweep(&step).await, swept(20, Next::Step));
    assert_eq!(stores.one.sweep(&step).await, swept(10, Next::Done));
    assert_eq!(ids(&stores.one, "b", ALL).await, [0u64; 0]);
}

pub async fn a_sweep_goes_through_more_topics_than_a_step_looks_at(stores: Stores) {
    let batch: Vec<NewRecord> = (0..600).map(|n| aged(&format!("t{n:03}"), 9)).collect();
    append(&stores.one, &batch).await;
    let step = Step {
        rows_max: 1_000,
        ..step("one", Some(5), None)
    };
    assert_eq!(stores.one.sweep(&step).await, swept(256, Next::Step));
    assert_eq!(stores.one.sweep(&step).await, swept(256, Next::Step));
    assert_eq!(stores.one.sweep(&step).await, swept(88, Next::Done));
    assert_eq!(stores.one.sweep(&step).await, swept(0, Next::Step));
}

pub async fn one_at_a_time_sweeps_and_another_goes_on_where_it_died(stores: Stores) {
    let batch: Vec<NewRecord> = (0..30).map(|_| aged("a", 9)).collect();
    append(&stores.one, &batch).await;
    let step_of = |holder: &str, lease| Step {
        rows_max: 10,
        lease,
        rest: Duration::from_secs(60),
        ..step(holder, Some(5), None)
    };
    let (long, none) = (Duration::from_secs(60), Duration::ZERO);
    let (one, other) = (&stores.one, &stores.other);
    assert_eq!(
        one.sweep(&step_of("one", long)).await,
        swept(10, Next::Step)
    );
    let not_now = swept(0, Next::NotNow);
    assert_eq!(other.sweep(&step_of("other", long)).await, not_now);
    // The first one's turn ends with this step: it dies, in a way.
    assert_eq!(
        one.sweep(&step_of("one", none)).await,
        swept(10, Next::Step)
    );
    let step = Step {
        rows_max: 11,
        now: clock::unix_us() + 1_000,
        ..step_of("other", long)
    };
    assert_eq!(other.sweep(&step).await, swept(10, Next::Done));
    // Everybody rests after a sweep.
    assert_eq!(one.sweep(&step_of("one", long)).await, not_now);
    assert_eq!(other.sweep(&step_of("other", long)).await, not_now);
}
