//! A private Postgres for one test process, on a loopback port of its own.
//!
//! It never touches a server or a directory that it did not make, and it dies with its test.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::port::free_port;

/// Attempts to start, in case a program of the machine takes the port in between.
const PORT_ATTEMPTS: usize = 8;

/// A running server. It is stopped, and its directory removed, when the last test lets go of it.
///
/// It runs with `fsync=off`: tests kill the server, never the machine, so nothing that was committed is
/// lost and the tests are faster.
pub struct Postgres {
    dir: TempDir,
    tools: PathBuf,
    user: Option<Account>,
    port: u16,
    server: Mutex<Option<Server>>,
    databases: AtomicU32,
}

/// The account that the server runs as when the tests run as root, which Postgres refuses.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// The server process, kept by a thread of its own.
///
/// The kernel ends a child with the *thread* that started it, so a test's thread must not be that one.
struct Server {
    pid: u32,
    keeper: JoinHandle<()>,
}

impl Postgres {
    /// Returns the server that all tests of this process share, starting it if none is running.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts a server of its own, for a test that stops it.
    pub fn start() -> Self {
        let tools = tools();
        let dir = tempfile::Builder::new()
            .prefix("fanfare-pg-")
            .tempdir()
            .expect("a temporary directory");
        let user = account(dir.path());
        let mut postgres = Self {
            dir,
            tools,
            user,
            port: 0,
            server: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        let made = postgres
            .tool("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "--pgdata"])
            .arg(postgres.files())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb failed: {made:?}");

        let mut why = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            match postgres.launch(port) {
                Ok(server) => {
                    postgres.port = port;
                    postgres.server = Mutex::new(Some(server));
                    return postgres;
                }
                Err(log) => why = log,
            }
        }
        panic!("postgres did not start in {PORT_ATTEMPTS} attempts:\n{why}");
    }

    /// Makes an empty database and returns its address.
    pub fn create_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let made = self
            .tool("createdb")
            .args(["--host=127.0.0.1", "--username=postgres"])
            .arg(format!("--port={}", self.port))
            .arg(&name)
            .output()
            .expect("createdb runs");
        assert!(made.status.success(), "createdb failed: {made:?}");
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs one SQL text in a database of this server and returns what it prints, unaligned.
    pub fn sql(&self, url: &str, sql: &str) -> String {
        let ran = self
            .tool("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--command", sql, url])
            .output()
            .expect("psql runs");
        assert!(ran.status.success(), "psql failed: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// The port on 127.0.0.1; it stays the same over [`Self::stop`] and [`Self::restart`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops or continues the processes of its sessions; the server itself goes on and takes new ones.
    pub fn signal_sessions(&self, name: &str) {
        let pid = self.pid().expect("postgres runs");
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children
            .expect("the kernel lists children")
            .split_whitespace()
        {
            let line = std::fs::read_to_string(format!("/proc/{child}/cmdline"));
            // Processes of the server have names such as `postgres: walwriter`; a session's has its address.
            if line.is_ok_and(|line| line.contains("127.0.0.1(")) {
                super::process::signal(name, child);
            }
        }
    }

    /// Makes it a standby of nobody, which takes no writes, until [`Self::promote`].
    pub fn become_standby(&self) {
        let made = self.run("touch", &["data/standby.signal"]);
        assert!(made.is_ok_and(|made| made.status.success()), "touch");
        self.restart();
    }

    /// Ends the standby's time: it takes writes when this returns.
    pub fn promote(&self, url: &str) {
        assert_eq!(self.sql(url, "select pg_promote()"), "t");
    }

    /// The process id of the running server.
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(|server| server.pid)
    }

    /// Stops the server at once, as a crash would: connections break, nothing is flushed first.
    pub fn stop(&self) {
        if let Some(server) = self.lock().take() {
            // SIGQUIT is the "immediate" shutdown; recovery follows at the next start.
            signal("QUIT", server.pid);
            server.keeper.join().expect("the keeper does not panic");
        }
    }

    /// Starts a stopped server again, on the same port and data.
    pub fn restart(&self) {
        self.stop();
        let server = (0..PORT_ATTEMPTS).find_map(|_| self.launch(self.port).ok());
        *self.lock() = Some(server.expect("postgres starts again on its port"));
    }

    /// The server's own directory; the account that it runs as may write there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a program in the server's directory, as the account that the server runs as.
    pub fn run(&self, program: &str, arguments: &[&str]) -> std::io::Result<Output> {
        self.command(Path::new(program)).args(arguments).output()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts the server and returns when it accepts connections, or with its log when it ends instead.
    fn launch(&self, port: u16) -> Result<Server, String> {
        let mut command = self.tool("postgres");
        command
            .arg("-D")
            .arg(self.files())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "lc_messages=C"])
            .args(["-c", &format!("port={port}")])
            .args(["-c", "max_connections=200", "-c", "logging_collector=off"])
            .args(["-c", "fsync=off", "-c", "log_destination=stderr"])
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                self.dir.path().display()
            ));
        let (started, is_started) = mpsc::channel();
        let keeper = thread::spawn(move || keep(command, &started));
        match is_started.recv().expect("the keeper reports") {
            Ok(pid) => Ok(Server { pid, keeper }),
            Err(log) => Err(log),
        }
    }

    fn tool(&self, name: &str) -> Command {
        self.command(&self.tools.join(name))
    }

    /// A command, run as an account that Postgres accepts, that dies with this process.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(Account { uid, gid }) = self.user {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.arg("--clear-groups");
        }
        command.arg("--").arg(program);
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The life of a server: reports once, then reads its log until it ends.
fn keep(mut command: Command, started: &mpsc::Sender<Result<u32, String>>) {
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child: Child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error.to_string()));
            return;
        }
    };
    let stderr = child.stderr.take().expect("stderr is piped");
    let mut log = String::new();
    let mut is_ready = false;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if !is_ready {
            log.push_str(&line);
            log.push('\n');
        }
        // A standby says "read-only connections", before a promotion says it again without.
        let says_so = line.contains("database system is ready to accept ");
        if says_so && !is_ready {
            is_ready = true;
            let _ = started.send(Ok(child.id()));
        }
    }
    let _ = child.wait();
    if !is_ready {
        let _ = started.send(Err(log));
    }
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
}

/// Finds the folder of the Postgres server programs.
fn tools() -> PathBuf {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let asked = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let mut packaged: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    packaged.sort();
    asked
        .into_iter()
        .chain(packaged.into_iter().rev())
        .find(|folder| {
            ["postgres", "initdb"]
                .iter()
                .all(|name| folder.join(name).exists())
        })
        .expect(
            "these tests need the Postgres server programs (postgres, initdb, createdb, psql): \
             install a package such as `postgresql`, or put `pg_config` on the PATH",
        )
}

/// As root: gives the directory to the account `postgres`, and returns that account.
fn account(dir: &Path) -> Option<Account> {
    let owner = std::fs::metadata(dir).expect("the directory exists");
    if owner.uid() != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("a list of accounts");
    let account = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_postgres = fields.next() == Some("postgres");
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        is_postgres.then_some(Account { uid, gid })
    });
    let account = account.expect(
        "Postgres does not run as root and there is no account `postgres` to run it as: \
         make one, or run the tests as a normal user",
    );
    chown(dir, Some(account.uid), Some(account.gid)).expect("root may give a directory away");
    Some(account)
}
