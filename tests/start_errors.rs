//! A start that can't succeed: one line that says why, an exit code, and no waiting.
//!
//! Nothing here gets as far as serving anybody.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::cluster::Cluster;
use support::node::{Setup, fanfare};
use support::port::free_port;
use support::redis::Redis;
use support::token::SECRET;

const LIMIT: Duration = Duration::from_secs(10);

/// The start ends within 10 s with this code and one line that has all of `words`.
fn check(setup: Setup, code: i32, words: &[&str]) {
    let done = setup.clone().run(LIMIT);
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(done.code, Some(code), "{setup:?}\n{}", done.stderr);
    assert_eq!(lines.len(), 1, "{setup:?}\n{}", done.stderr);
    assert!(lines[0].starts_with("fanfare: "), "{}", done.stderr);
    for word in words {
        assert!(lines[0].contains(word), "no `{word}` in: {}", lines[0]);
    }
    assert_eq!(done.stdout, "");
    assert!(
        !done.stderr.contains(SECRET),
        "the secret is in: {}",
        done.stderr
    );
}

/// A node that would start, but for one thing.
fn sound() -> Setup {
    Setup::new().secret(SECRET)
}

#[test]
fn a_redis_that_does_not_answer_is_named() {
    let url = format!("redis://127.0.0.1:{}/", free_port());
    // Redis with SQLite is warned about, which is not what this is about.
    let setup = sound().redis(&url).flag("--log-level", "error");
    check(setup, 1, &["redis"]);
}

#[test]
fn a_redis_url_of_another_scheme_is_refused() {
    check(sound().redis("http://127.0.0.1:6379/"), 2, &["redis"]);
}

#[test]
fn a_postgres_that_does_not_answer_is_named_without_its_password() {
    let url = format!("postgres://ada:swordfish@127.0.0.1:{}/scores", free_port());
    check(sound().database(&url), 1, &["database"]);
    let done = sound().database(&url).run(LIMIT);
    assert!(!done.stderr.contains("swordfish"), "{}", done.stderr);
}

#[test]
fn a_database_url_of_another_scheme_is_refused() {
    check(
        sound().database("mysql://127.0.0.1/scores"),
        2,
        &["database"],
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address: SocketAddr = taken.local_addr().expect("a bound port");
    for flag in ["--listen", "--admin-listen"] {
        let setup = sound().flag(flag, &address.to_string());
        check(setup, 1, &[&address.to_string()]);
    }
}

#[test]
fn a_database_file_that_cannot_be_made_is_named() {
    let below_a_file = sound()
        .file("plain.txt", "no directory")
        .database("sqlite://plain.txt/fanfare.db");
    check(below_a_file, 1, &["plain.txt/fanfare.db"]);
    let nowhere = sound().database("sqlite://no/such/place/fanfare.db");
    check(nowhere, 1, &["no/such/place/fanfare.db"]);
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    check(
        sound().config("[limits]\nconections = 5\n"),
        2,
        &["conections", "fanfare.toml"],
    );
    check(
        sound().config("[limit]\nconnections = 5\n"),
        2,
        &["limit", "fanfare.toml"],
    );
    check(
        sound().env("FANFARE_LIMITS__CONECTIONS", "5"),
        2,
        &["FANFARE_LIMITS__CONECTIONS"],
    );
}

#[test]
fn a_bad_value_is_named_with_its_key() {
    check(
        sound().config("[limits]\nconnections = \"many\"\n"),
        2,
        &["connections"],
    );
    check(sound().flag("--workers", "none"), 2, &["workers"]);
    check(sound().flag("--listen", "everywhere"), 2, &["listen"]);
    check(
        sound().config("[[channels]]\ntopic = \"a:*\"\nkind = \"scores\"\n"),
        2,
        &["kind"],
    );
    check(sound().config("not toml"), 2, &["fanfare.toml"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    check(sound().flag("--config", "absent.toml"), 2, &["absent.toml"]);
}

#[test]
fn redis_without_a_secret_is_refused() {
    let url = format!("redis://127.0.0.1:{}/", free_port());
    check(Setup::new().redis(&url), 2, &["secret"]);
}

#[test]
fn a_short_secret_is_refused_without_showing_it() {
    check(Setup::new().secret("swordfish"), 2, &["secret_key_base"]);
    let done = Setup::new().secret("swordfish").run(LIMIT);
    assert!(!done.stderr.contains("swordfish"), "{}", done.stderr);
}

#[test]
fn check_says_what_is_missing_and_fails() {
    let silent = format!("postgres://ada@127.0.0.1:{}/scores", free_port());
    let done = fanfare(&["check", "--database-url", &silent], SECRET);
    assert_eq!(done.code, Some(1), "{done:?}");
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(
        said.contains("database") || said.contains("postgres"),
        "{said}"
    );
    let done = fanfare(&["check", "--database-url", "sqlite::memory:"], SECRET);
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// Takes the one place of a Redis, once whoever had it has gone.
fn only_client(port: u16) -> TcpStream {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("Redis listens");
        let mut answer = [0; 5];
        let asked = stream.write_all(b"PING\r\n");
        if asked.and_then(|()| stream.read_exact(&mut answer)).is_ok() && &answer == b"+PONG" {
            return stream;
        }
        assert!(Instant::now() < end, "its place is never free");
    }
}

#[test]
fn check_says_which_servers_of_redis_it_found() {
    let check = |url: &str| {
        let memory = ["check", "--database-url", "sqlite::memory:", "--redis-url"];
        fanfare(&[&memory[..], &[url]].concat(), SECRET)
    };
    let redis = Redis::start();
    let done = check(&redis.url());
    let found = format!("ok      one server at 127.0.0.1:{}", redis.port());
    assert!(
        done.code == Some(0) && done.stdout.contains(&found),
        "{done:?}"
    );
    let cluster = Cluster::start(3, 0, &[]);
    let done = check(&cluster.url());
    let found = "cluster, masters: 3, replicas: 0, sharded pub/sub in 16 lanes";
    assert!(
        done.code == Some(0) && done.stdout.contains(found),
        "{done:?}"
    );
    let full = Redis::start_with(&["--maxclients", "1"]);
    let _only = only_client(full.port());
    let done = check(&full.url());
    // Its own words, or what it does while it says them.
    let why = ["`maxclients` connected", "max number of clients reached"];
    assert!(
        done.code == Some(1) && why.iter().any(|why| done.stdout.contains(why)),
        "{done:?}"
    );
    let done = check(&format!("redis+sentinel://127.0.0.1:{}/main", redis.port()));
    assert!(
        done.code == Some(1) && done.stdout.contains("FAILED  cannot use redis at"),
        "{done:?}"
    );
}
