//! A private Postgres with its default, durable settings, and what one commit a row costs it.
//!
//! It never touches a server or a directory that it did not make.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{ANY_CORE, Process, command_as, free_address};

/// Clients of pgbench: as many as a node has connections (`store.pool_size`).
const CLIENTS: usize = 8;

/// How long a server may take to accept statements.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A row at a time: a transaction takes the topic's next number and stores one row of 64 bytes.
const ONE_ROW: &str = "with topic as (update heads set last_seq = last_seq + 1 where topic = :client_id \
    returning topic, last_seq) insert into entries select topic, last_seq, repeat('x', 64) from topic;\n";

const TABLES: &str = "create table heads (topic int primary key, last_seq bigint not null); \
    create table entries (topic int, seq bigint, body text, primary key (topic, seq)); \
    insert into heads select n, 0 from generate_series(0, 99) n; create database bench;";

/// A running server.
pub struct Postgres {
    _server: Process,
    dir: TempDir,
    tools: PathBuf,
    privileges: Vec<String>,
    address: SocketAddr,
}

impl Postgres {
    /// Makes a database directory and starts a server on it.
    ///
    /// # Errors
    /// When Postgres' programs are missing, or fail.
    pub fn start() -> io::Result<Self> {
        let (dir, address, tools) = (TempDir::new()?, free_address()?, tools()?);
        let privileges = privileges(&dir)?;
        let files = dir.path().join("data");
        let prepared = |name: &str| {
            let mut command = command_as(&tools.join(name), ANY_CORE, &privileges);
            command.current_dir(dir.path());
            command
        };
        let mut initdb = prepared("initdb");
        initdb.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "--pgdata",
        ]);
        finished(initdb.arg(&files))?;
        let mut server = prepared("postgres");
        server
            .arg("-D")
            .arg(&files)
            .args(["-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", &format!("port={}", address.port())]);
        server.args([
            "-c",
            &format!("unix_socket_directories={}", dir.path().display()),
        ]);
        server.args(["-c", "log_min_messages=fatal"]);
        let mut server = Process::start(server)?;
        server.await_listening(address)?;
        let postgres = Self {
            _server: server,
            dir,
            tools,
            privileges,
            address,
        };
        postgres.await_ready()?;
        for statement in TABLES.split_inclusive(';') {
            let mut psql = postgres.tool("psql");
            finished(psql.args(["--no-psqlrc", "--quiet", "--command", statement, "postgres"]))?;
        }
        Ok(postgres)
    }

    /// Returns the address of an empty database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/bench", self.address)
    }

    /// Measures how many rows a second it commits one by one.
    ///
    /// # Errors
    /// When pgbench fails.
    pub fn commits_a_second(&self, seconds: f64) -> io::Result<f64> {
        let script = self.dir.path().join("one_row.sql");
        fs::write(&script, ONE_ROW)?;
        let mut pgbench = self.tool("pgbench");
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=1"]);
        pgbench.args([
            format!("--client={CLIENTS}"),
            format!("--time={}", seconds.ceil()),
        ]);
        let said = finished(pgbench.arg("--file").arg(&script).arg("postgres"))?;
        let rate = said.lines().find_map(|line| {
            let (_, rest) = line.split_once("tps = ")?;
            rest.split(' ').next()?.parse().ok()
        });
        rate.ok_or_else(|| io::Error::other("pgbench says no rate"))
    }

    /// Waits until it takes statements: it listens some time before.
    fn await_ready(&self) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let mut psql = self.tool("psql");
            match finished(psql.args(["--no-psqlrc", "--command", "select 1", "postgres"])) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = command_as(&self.tools.join(name), ANY_CORE, &self.privileges);
        command.current_dir(self.dir.path());
        command.args(["--host=127.0.0.1", "--username=postgres"]);
        command.arg(format!("--port={}", self.address.port()));
        command
    }
}

fn finished(command: &mut Command) -> io::Result<String> {
    let done = command.output()?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )),
    }
}

/// Finds the folder of Postgres' programs.
fn tools() -> io::Result<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let asked = asked.map(|said| PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()));
    let packaged = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let packaged = packaged.map(|entry| entry.path().join("bin"));
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "psql", "pgbench"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    let missing =
        "needs Postgres' programs (initdb, postgres, psql, pgbench): `make setup` installs them";
    let mut found = asked.into_iter().chain(packaged).filter(complete);
    found.next().ok_or_else(|| io::Error::other(missing))
}

/// As root: gives the directory to the account `postgres`, and says how to become it; Postgres refuses root.
fn privileges(dir: &TempDir) -> io::Result<Vec<String>> {
    if fs::metadata(dir.path())?.uid() != 0 {
        return Ok(Vec::new());
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let mut numbers = line
        .into_iter()
        .flat_map(|line| line.split(':').skip(2).take(2));
    let (uid, gid) = (numbers.next(), numbers.next());
    let missing =
        || io::Error::other("there is no account `postgres`, and Postgres does not run as root");
    let (uid, gid) = (uid.ok_or_else(missing)?, gid.ok_or_else(missing)?);
    chown(dir.path(), uid.parse().ok(), gid.parse().ok())?;
    Ok(vec![
        format!("--reuid={uid}"),
        format!("--regid={gid}"),
        String::from("--clear-groups"),
    ])
}
