//! What only one of the databases can show: addresses, sessions, locks, restarts.
//!
//! These tests may break a database's own rules through its own client.

use std::sync::Arc;
use std::time::Duration;

use fanfare::store::{self, Config, StoreError};

use crate::support::postgres::Postgres;
use crate::support::records::{message, open, topic};
use crate::{ALL, Stores, append, stored};

/// Four handles migrate an empty database at once.
async fn migrate_from_four_handles(url: &str) {
    let handles = [
        open(url).await,
        open(url).await,
        open(url).await,
        open(url).await,
    ];
    let tasks: Vec<_> = handles
        .iter()
        .map(|store| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("a task"), Ok(()));
    }
    assert_eq!(append(&handles[3], &[message("a", "1")]).await, [stored(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_is_migrated_by_four_handles_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    migrate_from_four_handles(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_is_migrated_by_four_handles_at_once() {
    let postgres = Postgres::shared();
    let url = postgres.create_database();
    migrate_from_four_handles(&url).await;
    let applied = postgres.sql(&url, "select count(*), min(version) from schema_migrations");
    let steps = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let steps = std::fs::read_dir(steps).expect("the migrations").count();
    assert_eq!(applied, format!("{steps}|1"));
}

#[tokio::test]
async fn sqlite_keeps_records_and_epochs_over_a_reopening() {
    let stores = Stores::file().await;
    append(&stores.one, &[message("a", "1")]).await;
    let before = stores.one.read(&topic("a"), ALL).await.expect("read");
    let Stores {
        one,
        other,
        url,
        _dir,
        ..
    } = stores;
    drop((one, other));
    let again = open(&url).await;
    assert_eq!(again.read(&topic("a"), ALL).await, Ok(before));
}

#[tokio::test]
async fn bad_addresses_are_one_clear_line_without_a_password() {
    let cases = [
        (
            "mysql://u:hunter2@h/d",
            "must start with sqlite: or postgres://",
        ),
        ("fanfare.db", "must start with sqlite: or postgres://"),
        ("sqlite:fanfare.db", "sqlite://PATH"),
        ("sqlite://", "sqlite://PATH"),
        ("sqlite:///no/such/folder/x.db", "/no/such/folder/x.db"),
        ("sqlite:///proc", "can't open /proc"),
        ("postgres://u:hunter2@h/d?sslmode=never", "sslmode must be"),
    ];
    for (url, expected) in cases {
        let config = Config {
            url: url.to_owned(),
            ..Config::default()
        };
        let error = store::open(&config).await.err().expect(url).to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(
            !error.contains('\n') && !error.contains("hunter2"),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn an_unmigrated_database_is_unavailable_not_refused() {
    let postgres = Postgres::shared();
    for url in [String::from("sqlite::memory:"), postgres.create_database()] {
        let store = open(&url).await;
        let answer = store.append(&[message("a", "1")]).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{url}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_goes_on_where_a_lost_topic_row_ended() {
    let stores = Stores::postgres().await;
    append(&stores.one, &[message("a", "1"), message("a", "2")]).await;
    let before = stores.one.read(&topic("a"), ALL).await.expect("read").head;
    let postgres = stores.postgres.as_ref().expect("a server");
    postgres.sql(&stores.url, "delete from topics");
    assert_eq!(
        append(&stores.other, &[message("a", "3")]).await,
        [stored(3)]
    );
    let after = stores.one.read(&topic("a"), ALL).await.expect("read").head;
    assert_ne!(after.epoch, before.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_gives_up_on_a_held_lock_and_works_afterwards() {
    let stores = Stores::postgres().await;
    append(&stores.one, &[message("a", "1")]).await;
    let config = Config {
        url: stores.url.clone(),
        lock_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let impatient = store::open(&config).await.expect("opened");
    let (client, connection) = tokio_postgres::connect(&stores.url, tokio_postgres::NoTls)
        .await
        .expect("connected");
    let connection = tokio::spawn(connection);
    client
        .batch_execute("begin; select * from topics for update")
        .await
        .expect("locked");
    let held = impatient.append(&[message("a", "2")]).await;
    let Err(StoreError::Unavailable(why)) = held else {
        panic!("the row is locked: {held:?}");
    };
    assert!(why.contains("lock timeout"), "{why}");
    client.batch_execute("rollback").await.expect("released");
    assert_eq!(append(&impatient, &[message("a", "2")]).await, [stored(2)]);
    drop(client);
    connection.await.expect("a task").expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_sessions_are_set_whatever_the_database_says() {
    let stores = Stores::postgres().await;
    let postgres = stores.postgres.as_ref().expect("a server");
    // A trigger writes down how the session that stores is set.
    postgres.sql(
        &stores.url,
        "create table seen (setting text);
         create function see() returns trigger language plpgsql as $$ begin
           insert into seen select current_setting(s) from unnest(array['synchronous_commit',
             'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout',
             'transaction_isolation']) as s;
           return new;
         end $$;
         create trigger see before insert on messages for each row execute function see()",
    );
    for setting in [
        "synchronous_commit = off",
        "statement_timeout = 0",
        "default_transaction_isolation = 'serializable'",
    ] {
        let name = stores.url.rsplit('/').next().expect("a name");
        postgres.sql(&stores.url, &format!("alter database {name} set {setting}"));
    }
    let fresh = open(&stores.url).await;
    append(&fresh, &[message("a", "1")]).await;
    let seen = postgres.sql(&stores.url, "select string_agg(setting, ' ') from seen");
    assert_eq!(seen, "on 5s 10s 10s read committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_restarts_is_reached_again_without_an_error() {
    let postgres = Postgres::start();
    let url = postgres.create_database();
    let store = open(&url).await;
    store.migrate().await.expect("migrated");
    append(&store, &[message("a", "1")]).await;
    postgres.stop();
    let away = store.append(&[message("a", "2")]).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    postgres.restart();
    assert_eq!(append(&store, &[message("a", "2")]).await, [stored(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_does_not_answer_is_given_up_on() {
    // A listener that accepts and says nothing, as a paused server does.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = silent.local_addr().expect("an address").port();
    let config = Config {
        url: format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable"),
        connect_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let store = store::open(&config).await.expect("opened");
    let answer = store.ping().await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
}

/// Turns TLS on with a certificate for `localhost`, signed by the issuer in `ca.pem`; false without `openssl`.
fn turn_tls_on(postgres: &Postgres, url: &str) -> bool {
    let new_key = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ];
    let issuer = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=issuer"];
    let server = [
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
        "-subj",
        "/CN=localhost",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=CA:FALSE",
    ];
    for arguments in [&issuer[..], &server[..]] {
        match postgres.run("openssl", &[&new_key, arguments].concat()) {
            Ok(made) if made.status.success() => {}
            Ok(_) | Err(_) => return false,
        }
    }
    for (setting, file) in [
        ("ssl_cert_file", "server.pem"),
        ("ssl_key_file", "server.key"),
    ] {
        let path = postgres.dir().join(file);
        postgres.sql(
            url,
            &format!("alter system set {setting} = '{}'", path.display()),
        );
    }
    postgres.sql(url, "alter system set ssl = on");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_certificates_are_verified_as_sslmode_says() {
    let postgres = Postgres::start();
    let url = postgres.create_database();
    if !turn_tls_on(&postgres, &url) {
        eprintln!("skipped: no openssl 3 here to make certificates with");
        return;
    }
    postgres.restart();
    let rooted = format!("sslrootcert={}", postgres.dir().join("ca.pem").display());
    let cases = [
        ("127.0.0.1", "sslmode=disable", Ok("f")),
        ("127.0.0.1", "sslmode=prefer", Ok("t")),
        ("127.0.0.1", "sslmode=require", Ok("t")),
        ("127.0.0.1", "sslmode=verify-ca", Err("UnknownIssuer")),
        ("localhost", "sslmode=verify-full", Err("UnknownIssuer")),
        ("127.0.0.1", &format!("sslmode=verify-ca&{rooted}"), Ok("t")),
        (
            "127.0.0.1",
            &format!("sslmode=verify-full&{rooted}"),
            Err("not valid for name"),
        ),
        (
            "localhost",
            &format!("sslmode=verify-full&{rooted}"),
            Ok("t"),
        ),
    ];
    for (host, settings, expected) in cases {
        let name = settings.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let application = &name[..name.len().min(40)];
        let url = url.replace("127.0.0.1", host);
        let store = open(&format!("{url}?{settings}&application_name={application}")).await;
        match (store.ping().await, expected) {
            (Ok(()), Ok(is_tls)) => {
                let sql = format!(
                    "select ssl from pg_stat_ssl join pg_stat_activity using (pid)
                     where application_name = '{application}'"
                );
                assert_eq!(postgres.sql(&url, &sql), is_tls, "{host} {settings}");
            }
            (Err(StoreError::Unavailable(why)), Err(expected)) => {
                assert!(why.contains(expected), "{host} {settings}: {why}");
            }
            (answer, _) => panic!("{host} {settings}: {answer:?}"),
        }
    }
}

/// A step that sweeps whatever is older than an hour.
fn hourly() -> store::Step {
    store::Step {
        holder: String::from("one"),
        lease: Duration::from_secs(60),
        rest: Duration::ZERO,
        rows_max: 100,
        now: fanfare::clock::unix_us(),
        retention: store::Retention {
            rules: vec![store::Rule {
                topics: fanfare::channel::Pattern::parse("*").expect("a pattern"),
                keep_for: Some(Duration::from_secs(3_600)),
                keep_records: None,
            }],
            grace: Duration::ZERO,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_sweep_and_a_writer_wait_for_nobody() {
    let stores = Stores::postgres().await;
    let old: Vec<_> = (0..4)
        .map(|_| fanfare::channel::NewRecord {
            inserted_at: 0,
            ..message("a", "old")
        })
        .collect();
    append(&stores.one, &old).await;
    let (client, connection) = tokio_postgres::connect(&stores.url, tokio_postgres::NoTls)
        .await
        .expect("connected");
    let connection = tokio::spawn(connection);
    // Somebody holds a record and the topic: the sweep goes around the one and needs not the other.
    client
        .batch_execute("begin; select * from topics for update; select * from messages where seq = 2 for update")
        .await
        .expect("locked");
    let swept = stores.one.sweep(&hourly()).await.expect("swept");
    assert_eq!(swept.rows, 3);
    client.batch_execute("rollback").await.expect("released");
    // A step that has not ended holds up no writer.
    client
        .batch_execute(
            "begin; update sweeps set holder = 'slow'; delete from messages where seq = 2",
        )
        .await
        .expect("a step under way");
    assert_eq!(append(&stores.one, &[message("a", "5")]).await, [stored(5)]);
    client.batch_execute("rollback").await.expect("released");
    let swept = stores.one.sweep(&hourly()).await.expect("swept");
    assert_eq!(swept.rows, 1);
    drop(client);
    connection.await.expect("a task").expect("a clean end");
}
