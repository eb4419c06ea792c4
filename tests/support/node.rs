//! A real node: the binary, on free ports, in a directory of its own.
//!
//! It never outlives its test; when the test fails, its log is printed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::process::{self, Finished};

/// How long a node may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How a node is started: command line, environment and file.
#[derive(Debug, Default, Clone)]
pub struct Setup {
    flags: Vec<String>,
    env: BTreeMap<String, String>,
    config: Option<String>,
    files: Vec<(String, String)>,
}

impl Setup {
    /// A node with nothing but defaults: no secret, SQLite in its own directory, free ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the text of its configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    /// Sets one variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a flag and its value.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Puts a file into its directory.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Connects it to Redis.
    pub fn redis(self, url: &str) -> Self {
        self.env("FANFARE_REDIS_URL", url)
    }

    /// Connects it to a database.
    pub fn database(self, url: &str) -> Self {
        self.env("FANFARE_DATABASE_URL", url)
    }

    /// Gives it the secret of its tokens.
    pub fn secret(self, secret: &str) -> Self {
        self.env("FANFARE_SECRET_KEY_BASE", secret)
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it ends or does not listen within 20 s; its log is in the message.
    pub fn start(self) -> Node {
        let dir = TempDir::new().expect("a directory for the node");
        let mut command = self.command(dir.path());
        command.args(["--log", "json"]).stdin(Stdio::null());
        let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the binary under test");
        let log = Log::follow(child.stderr.take().expect("piped"));
        let mut node = Node {
            clients: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
            log,
            dir,
        };
        let listening = node.await_log("listening", START_LIMIT);
        node.clients = address(&listening, "clients");
        node.admin = address(&listening, "admin");
        node
    }

    /// Runs it to its end, for starts that must fail; killed at the limit.
    pub fn run(self, limit: Duration) -> Finished {
        let dir = TempDir::new().expect("a directory for the node");
        process::run(&mut self.command(dir.path()), limit)
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = bare(dir);
        for (name, text) in &self.files {
            fs::write(dir.join(name), text).expect("a file for the node");
        }
        if let Some(text) = &self.config {
            fs::write(dir.join("fanfare.toml"), text).expect("a configuration file");
            command.args(["--config", "fanfare.toml"]);
        }
        for flag in ["--listen", "--admin-listen"] {
            if !self.flags.iter().any(|given| given == flag) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        command.args(&self.flags).envs(&self.env);
        command
    }
}

/// The binary in a directory, without the settings of whoever runs the tests.
fn bare(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let ours = std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.current_dir(dir);
    command
}

/// Runs `fanfare` with these arguments and a secret; its output.
pub fn fanfare(args: &[&str], secret: &str) -> Finished {
    let dir = TempDir::new().expect("a directory for the command");
    let mut command = bare(dir.path());
    command.args(args).env("FANFARE_SECRET_KEY_BASE", secret);
    process::run(&mut command, Duration::from_secs(10))
}

/// What `fanfare token` prints for a player.
pub fn token(secret: &str, sub: &str, name: &str) -> String {
    let printed = fanfare(&["token", "--sub", sub, "--name", name], secret);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    printed.stdout.trim().to_owned()
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    child: Child,
    log: Log,
    dir: TempDir,
}

impl Node {
    /// The address that a stock client is given.
    pub fn socket_url(&self) -> String {
        format!("ws://{}/socket", self.clients)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().expect("no panic holds it").join("\n")
    }

    /// In development: a token and the player's id, for a name.
    pub fn dev_token(&self, name: &str) -> (String, String) {
        let answer = http::get(self.clients, &format!("/dev/token?name={name}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let said = answer.json();
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (text(&said["token"]), text(&said["player"]["id"]))
    }

    /// Waits for a log line with this message; its fields.
    ///
    /// # Panics
    /// At the limit, or when the node ends first.
    pub fn await_log(&self, message: &str, limit: Duration) -> Value {
        let end = Instant::now() + limit;
        let news = self.log.news.lock().expect("no panic holds it");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match news.recv_timeout(left) {
                Ok(line) => {
                    if let Some(fields) = fields(&line, message) {
                        return fields;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no `{message}` within {limit:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without `{message}`"),
            }
        }
    }

    /// Sends a signal by name: `TERM`, `INT`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        process::signal(name, &self.child.id().to_string());
    }

    /// Sends a signal and waits for its end; `None` at the limit.
    pub fn end(&mut self, signal: &str, limit: Duration) -> Option<i32> {
        self.signal(signal);
        self.ended(limit)
    }

    /// Waits for its end, which was asked for already; `None` at the limit.
    ///
    /// Its log is whole then: what it wrote last has been read.
    pub fn ended(&mut self, limit: Duration) -> Option<i32> {
        let code = process::wait(&mut self.child, limit);
        if code.is_some() {
            self.log.finish();
        }
        code
    }

    /// Kills it, as a machine that loses its power would.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- log of the node at {}\n{}\n---",
                self.clients,
                self.log()
            );
        }
    }
}

/// The lines of a node's log, kept, and each told once.
#[derive(Debug)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    news: Mutex<Receiver<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    fn follow(stderr: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, news) = mpsc::channel();
        let kept = Arc::clone(&lines);
        let reader = Some(thread::spawn(move || Self::read(stderr, &kept, &tell)));
        let news = Mutex::new(news);
        Self {
            lines,
            news,
            reader,
        }
    }

    /// Waits until the last line of a process that has ended is read.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }

    fn read(stderr: ChildStderr, kept: &Mutex<Vec<String>>, tell: &Sender<String>) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            kept.lock().expect("no panic holds it").push(line.clone());
            // The node may be gone while its last lines are read.
            let _ = tell.send(line);
        }
    }
}

/// The fields of a JSON log line when it has this message.
fn fields(line: &str, message: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").cloned().unwrap_or(line);
    (fields["message"] == message).then_some(fields)
}

fn address(fields: &Value, name: &str) -> SocketAddr {
    let text = fields[name]
        .as_str()
        .unwrap_or_else(|| panic!("no `{name}`: {fields}"));
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}
