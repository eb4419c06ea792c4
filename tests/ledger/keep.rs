//! Where a run's records are: Postgres or SQLite, what troubles them, and what they have in the end.
//!
//! It reads past all proxies and writes only what an act says.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls};

use super::fault::Database;
use super::script::Act;
use super::story::{Room, Row};
use super::wire;
use crate::support::disk::SmallDisk;
use crate::support::postgres::Postgres;
use crate::support::process;

/// Room on a small disk; a run at full size needs a third of it.
const DISK_KIB: usize = 96 * 1024;

const TOPICS: &str = "select topic, last_seq, epoch from topics";

const ROWS: &str = "select topic, seq, cast(uid as text), player_id, client_key, message \
                    from messages order by topic, seq";

/// A database with everything around it.
pub enum Keep {
    /// A server, for all nodes.
    Postgres(Box<OnPostgres>),
    /// A file, for one node.
    Sqlite(OnSqlite),
}

/// A Postgres server.
pub struct OnPostgres {
    runtime: Handle,
    /// Before the server, whose directory it is in and goes with it.
    disk: Option<SmallDisk>,
    server: Postgres,
    database: String,
    /// A session that hangs.
    hung: Option<Client>,
}

/// An SQLite file.
pub struct OnSqlite {
    disk: Option<SmallDisk>,
    dir: TempDir,
}

impl Keep {
    /// Makes it; `None` where a small disk can't be had.
    pub fn start(runtime: &Handle, database: Database) -> Option<Self> {
        Some(match database {
            Database::Postgres => Self::Postgres(Box::new(OnPostgres::start(runtime))),
            Database::PostgresOnSmallDisk => {
                let mut postgres = OnPostgres::start(runtime);
                let disk = SmallDisk::mount(&postgres.server.dir().join("disk"), DISK_KIB)?;
                postgres.move_to(disk);
                Self::Postgres(Box::new(postgres))
            }
            Database::Sqlite | Database::SqliteOnSmallDisk => {
                let dir = TempDir::new().expect("a directory");
                let disk = match database == Database::SqliteOnSmallDisk {
                    true => Some(SmallDisk::mount(&dir.path().join("disk"), DISK_KIB)?),
                    false => None,
                };
                Self::Sqlite(OnSqlite { disk, dir })
            }
        })
    }

    /// Does an act that is about it.
    pub fn perform(&mut self, act: Act) {
        match (act, &mut *self) {
            (Act::FillDisk(true), _) => SmallDisk::fill(self.disk()),
            (Act::FillDisk(false), _) => SmallDisk::relieve(self.disk()),
            (act, Self::Postgres(postgres)) => postgres.perform(act),
            (act, Self::Sqlite(_)) => panic!("SQLite has no {act:?}"),
        }
    }

    fn disk(&self) -> &Path {
        let disk = match self {
            Self::Postgres(postgres) => &postgres.disk,
            Self::Sqlite(sqlite) => &sqlite.disk,
        };
        disk.as_ref().expect("the fault has a small disk").path()
    }

    /// The newest id of each room.
    pub fn heads(&self, rooms: u32) -> Vec<u64> {
        let found = self.topics(rooms);
        found.into_iter().map(|room| room.last_id).collect()
    }

    /// Everything that it has.
    pub fn rooms(&self, rooms: u32) -> Vec<Room> {
        let mut found = self.topics(rooms);
        let rows = match self {
            Self::Postgres(postgres) => postgres.rows(),
            Self::Sqlite(sqlite) => sqlite.rows(),
        };
        for (topic, row) in rows {
            let room = room_of(&topic).expect("only rooms of ours are written to");
            found[room].rows.push(row);
        }
        found
    }

    fn topics(&self, rooms: u32) -> Vec<Room> {
        let topics = match self {
            Self::Postgres(postgres) => postgres.topics(),
            Self::Sqlite(sqlite) => sqlite.topics(),
        };
        let mut found = vec![Room::default(); rooms as usize];
        for (topic, last_seq, epoch) in topics {
            if let Some(room) = room_of(&topic) {
                found[room].last_id = last_seq as u64;
                found[room].epoch = epoch.into();
            }
        }
        found
    }
}

fn room_of(topic: &str) -> Option<usize> {
    topic.strip_prefix("chat_room:")?.parse().ok()
}

/// Makes a row of its columns.
fn row(seq: i64, uid: &str, player: Option<&str>, key: Option<&str>, text: &str) -> Row {
    let name = wire::name(text).expect("only clients of ours write");
    let expected = (format!("p{}", name.author), format!("k{}", name.number));
    Row {
        id: seq as u64,
        uid: uid.parse::<uuid::Uuid>().expect("a uid").as_u128(),
        name,
        consistent: player == Some(&*expected.0) && key == Some(&*expected.1),
    }
}

impl OnPostgres {
    fn start(runtime: &Handle) -> Self {
        let server = Postgres::start();
        let database = server.create_database();
        let name = database.rsplit('/').next().expect("a name");
        // The nodes are no superusers, whom no limit of connections stops.
        let roles = format!(
            "create role app login; alter database {name} owner to app; \
             alter schema public owner to app"
        );
        server.sql(&database, &roles);
        Self {
            runtime: runtime.clone(),
            server,
            database,
            disk: None,
            hung: None,
        }
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The address for nodes, through a proxy.
    pub fn url(&self, port: u16) -> String {
        let own = format!("postgres@127.0.0.1:{}/", self.server.port());
        self.database
            .replace(&own, &format!("app@127.0.0.1:{port}/"))
    }

    /// Has tables that are made later go to a small disk.
    fn move_to(&mut self, disk: SmallDisk) {
        let place = disk.path().join("space").display().to_string();
        let made = self.server.run("mkdir", &[&place]);
        assert!(made.is_ok_and(|made| made.status.success()), "mkdir");
        let name = self.database.rsplit('/').next().expect("a name");
        let space = format!("create tablespace small location '{place}'");
        self.server.sql(&self.database, &space);
        let grant = format!(
            "grant create on tablespace small to app; \
             alter database {name} set default_tablespace = small"
        );
        self.server.sql(&self.database, &grant);
        self.disk = Some(disk);
    }

    fn perform(&mut self, act: Act) {
        let sql = |text: &str| self.server.sql(&self.database, text);
        match act {
            Act::StopPostgres => self.server.stop(),
            Act::StartPostgres => self.server.restart(),
            Act::PausePostgres(true) => self.signal("STOP"),
            Act::PausePostgres(false) => self.signal("CONT"),
            Act::RefuseSessions(true) => {
                sql("alter role app connection limit 0");
                sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'");
            }
            Act::RefuseSessions(false) => {
                sql("alter role app connection limit -1");
            }
            Act::HoldTopics => self.hold(),
            Act::Standby(true) => self.server.become_standby(),
            Act::Standby(false) => self.server.promote(&self.database),
            Act::Save => {
                sql(
                    "begin isolation level repeatable read; create table saved_messages as select * from messages; \
                     create table saved_topics as select * from topics; commit",
                );
            }
            Act::Restore => {
                sql("begin; truncate topics, messages; \
                     insert into topics select * from saved_topics; \
                     insert into messages overriding system value select * from saved_messages; \
                     commit");
            }
            Act::Truncate => {
                sql("truncate topics, messages");
            }
            other => panic!("not an act on Postgres: {other:?}"),
        }
    }

    /// Signals the server and its sessions, which are its children.
    fn signal(&self, signal: &str) {
        let pid = self.server.pid().expect("postgres runs");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the kernel lists children");
        process::signal(signal, &format!("{pid} {children}"));
    }

    /// Locks every topic as a node does, with its limit, and says nothing more.
    fn hold(&mut self) {
        self.hung = Some(self.runtime.block_on(async {
            let client = self.connect().await;
            let lock = "set idle_in_transaction_session_timeout = '10s'; \
                        begin; select * from topics order by topic for update";
            client.batch_execute(lock).await.expect("locked");
            client
        }));
    }

    async fn connect(&self) -> Client {
        let connected = tokio_postgres::connect(&self.database, NoTls).await;
        let (client, connection) = connected.expect("Postgres answers");
        tokio::spawn(connection);
        client
    }

    fn topics(&self) -> Vec<(String, i64, String)> {
        self.runtime.block_on(async {
            let rows = self.connect().await.query(TOPICS, &[]).await;
            let topic = |row: &tokio_postgres::Row| (row.get(0), row.get(1), row.get(2));
            rows.expect("topics").iter().map(topic).collect()
        })
    }

    fn rows(&self) -> Vec<(String, Row)> {
        self.runtime.block_on(async {
            let rows = self.connect().await.query(ROWS, &[]).await;
            let of = |line: &tokio_postgres::Row| {
                let row = row(
                    line.get(1),
                    line.get(2),
                    line.get(3),
                    line.get(4),
                    line.get(5),
                );
                (line.get(0), row)
            };
            rows.expect("messages").iter().map(of).collect()
        })
    }
}

impl OnSqlite {
    fn path(&self) -> PathBuf {
        let small = self.disk.as_ref().map(SmallDisk::path);
        small.unwrap_or(self.dir.path()).join("ledger.db")
    }

    /// The address for the node.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    fn open(&self) -> rusqlite::Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        rusqlite::Connection::open_with_flags(self.path(), flags).expect("the node's file")
    }

    fn topics(&self) -> Vec<(String, i64, String)> {
        let connection = self.open();
        let mut statement = connection.prepare(TOPICS).expect("topics");
        let topics = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        topics
            .expect("topics")
            .collect::<Result<_, _>>()
            .expect("topics")
    }

    fn rows(&self) -> Vec<(String, Row)> {
        let connection = self.open();
        let mut statement = connection.prepare(ROWS).expect("messages");
        let rows = statement.query_map([], |line| {
            let (uid, player): (String, Option<String>) = (line.get(2)?, line.get(3)?);
            let (key, text): (Option<String>, String) = (line.get(4)?, line.get(5)?);
            let row = row(line.get(1)?, &uid, player.as_deref(), key.as_deref(), &text);
            Ok((line.get(0)?, row))
        });
        rows.expect("messages")
            .collect::<Result<_, _>>()
            .expect("messages")
    }
}
