//! The writer while its database is in trouble: everything is stored once, in order, when the trouble is over.
//!
//! Each trouble is real: a stopped process, a standby, a full disk.

use std::sync::Arc;
use std::time::Duration;

use fanfare::store::{self, Config, Range, Store};

use crate::support::disk::SmallDisk;
use crate::support::postgres::Postgres;
use crate::support::process;
use crate::support::records::{message, topic};
use crate::{Bench, LANE_RECORDS, id_of};

const TOPICS: [&str; 2] = ["a", "b"];

/// Records of one round, over all topics.
const ROUND: usize = 300;

/// As the defaults, with less patience, so that troubles are short.
fn impatient(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        connect_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_millis(700),
        lock_timeout: Duration::from_millis(300),
        batch_records: 32,
        lanes: 2,
        retry_max: Duration::from_millis(100),
        ..Config::default()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// When the trouble begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// With transactions under way.
    UnderLoad,
    /// With none: a stopped session that holds a topic's lock would keep it.
    Idle,
}

/// Three rounds: before the trouble, during it until it is felt, and after the relief.
async fn check(
    store: Arc<dyn Store>,
    config: &Config,
    begins: Begins,
    trouble: impl FnOnce() + Send + 'static,
    relief: impl FnOnce() + Send + 'static,
) {
    let mut bench = Bench::new(Arc::clone(&store), config, LANE_RECORDS);
    let _lanes = bench.run();
    let round = |bench: &Bench| {
        for number in 0..ROUND {
            let record = message(TOPICS[number % 2], &"x".repeat(200));
            bench.submit(record).expect("room");
        }
    };
    round(&bench);
    bench.outcome().await;
    if begins == Begins::Idle {
        assert_eq!(bench.writer.flush(Duration::from_secs(60)).await, 0);
    }
    blocking(trouble).await;
    round(&bench);
    // It is felt when attempts fail; the limit is only for a test that is broken.
    let felt = async {
        while bench.metric("fanfare_writer_retries_total") < 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), felt)
        .await
        .expect("the trouble is felt");
    blocking(relief).await;
    round(&bench);
    assert_eq!(bench.writer.flush(Duration::from_secs(60)).await, 0);
    let mut stored = 1;
    while let Ok((_, outcome)) = bench.answers.try_recv() {
        id_of(&outcome);
        stored += 1;
    }
    assert_eq!(stored, 3 * ROUND, "everything was answered");
    for on in TOPICS {
        let range = Range::Recent { count: 9 * ROUND };
        let read = store.read(&topic(on), range).await.expect("read");
        let ids: Vec<u64> = read.records.iter().filter_map(|record| record.id).collect();
        let expected: Vec<u64> = (1..=(3 * ROUND / 2) as u64).collect();
        assert_eq!(ids, expected, "once each, without holes");
    }
}

/// The same with a server of its own.
async fn check_postgres(
    role: &str,
    begins: Begins,
    trouble: impl FnOnce(&Postgres, &str) + Send + 'static,
    relief: impl FnOnce(&Postgres, &str) + Send + 'static,
) {
    let postgres = Arc::new(Postgres::start());
    let url = postgres.create_database();
    let config = impatient(&url.replace("postgres@", &format!("{role}@")));
    postgres.sql(&url, "create role app login");
    let owned = store::open(&impatient(&url)).await.expect("opened");
    owned.migrate().await.expect("migrated");
    postgres.sql(&url, "grant all on all tables in schema public to app");
    let store = store::open(&config).await.expect("opened");
    let (first, second) = (Arc::clone(&postgres), Arc::clone(&postgres));
    let (before, after) = (url.clone(), url);
    check(
        store,
        &config,
        begins,
        move || trouble(&first, &before),
        move || relief(&second, &after),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_stands_still_costs_nothing() {
    let all = |postgres: &Postgres, name: &str| {
        postgres.signal_sessions(name);
        process::signal(name, &postgres.pid().expect("it runs").to_string());
    };
    check_postgres(
        "postgres",
        Begins::UnderLoad,
        move |postgres, _| all(postgres, "STOP"),
        move |postgres, _| all(postgres, "CONT"),
    )
    .await;
}

/// As after a failover to another machine: old connections hang for ever, new ones work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_hang_are_left_behind() {
    let (trouble, relief) = (
        |postgres: &Postgres, _: &str| postgres.signal_sessions("STOP"),
        |_: &Postgres, _: &str| {},
    );
    check_postgres("postgres", Begins::Idle, trouble, relief).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_without_a_free_connection_is_waited_for() {
    check_postgres(
        "app",
        Begins::UnderLoad,
        |postgres, url| {
            postgres.sql(
                url,
                "alter role app connection limit 0;
                 select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'",
            );
        },
        |postgres, url| {
            postgres.sql(url, "alter role app connection limit -1");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_waited_for_until_it_is_promoted() {
    check_postgres(
        "postgres",
        Begins::UnderLoad,
        |postgres, _| postgres.become_standby(),
        |postgres, url| postgres.promote(url),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_hangs_with_a_topics_lock_loses_it() {
    let postgres = Arc::new(Postgres::start());
    let url = postgres.create_database();
    let config = impatient(&url);
    let store = store::open(&config).await.expect("opened");
    store.migrate().await.expect("migrated");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("connected");
    tokio::spawn(connection);
    // As a node's own sessions are set: the server ends it, and nobody else does.
    client
        .batch_execute("set idle_in_transaction_session_timeout = '2s'")
        .await
        .expect("set");
    let hang = move || {
        let hung = client.batch_execute("begin; select * from topics for update");
        futures_util::FutureExt::now_or_never(hung);
        std::mem::forget(client);
    };
    check(store, &config, Begins::UnderLoad, hang, || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_sqlite_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, 8 * 1024) else {
        return;
    };
    let config = impatient(&format!("sqlite://{}", at.join("test.db").display()));
    let store = store::open(&config).await.expect("opened");
    store.migrate().await.expect("migrated");
    let (fill, relieve) = (at.clone(), at);
    let trouble = move || SmallDisk::fill(&fill);
    let relief = move || SmallDisk::relieve(&relieve);
    check(store, &config, Begins::UnderLoad, trouble, relief).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_postgres_is_waited_for() {
    let postgres = Arc::new(Postgres::start());
    let at = postgres.dir().join("disk");
    let Some(disk) = SmallDisk::mount(&at, 8 * 1024) else {
        return;
    };
    let url = postgres.create_database();
    let config = impatient(&url);
    let store = store::open(&config).await.expect("opened");
    store.migrate().await.expect("migrated");
    let place = at.join("space");
    let made = postgres.run("mkdir", &[&place.display().to_string()]);
    assert!(made.is_ok_and(|made| made.status.success()), "mkdir");
    let tablespace = format!("create tablespace small location '{}'", place.display());
    postgres.sql(&url, &tablespace);
    postgres.sql(&url, "alter table messages set tablespace small");
    let (fill, relieve) = (at.clone(), at);
    let trouble = move || SmallDisk::fill(&fill);
    let relief = move || SmallDisk::relieve(&relieve);
    check(store, &config, Begins::UnderLoad, trouble, relief).await;
    postgres.stop();
    drop(disk);
}
