//! A node of Fanfare, or its floor, started for a scenario.
//!
//! The limits that the benchmark raises are in [`CONFIG`] and nowhere else.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{ANY_CORE, Pin, Process, SERVER_CORE, command, free_address};
use super::settings::Settings;

/// What the benchmark raises, and its topics. Rooms have no presence: 15,000 members of one would tell each other.
pub const CONFIG: &str = r#"[limits]
connects_per_second = 100000
messages_per_second = 0
channels_per_socket = 200

[[channels]]
topic = "bench:*"
kind = "relay"
events = ["m"]

[[channels]]
topic = "chat_room:*"
kind = "chat_room"
presence = false
"#;

/// The secret of nodes that need one.
const SECRET: &str =
    "a secret of the benchmark, long enough to sign with: 0123456789abcdef0123456789";

/// How long a node may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How a node is started.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Its core.
    pub pin: Pin,
    /// `--workers`; 0: one a core.
    pub workers: usize,
    /// `--database-url`.
    pub database_url: String,
    /// `--redis-url`.
    pub redis_url: Option<String>,
    /// Whether it has a secret, and so takes tokens.
    pub secret: bool,
}

impl Default for NodePlan {
    /// Pinned to the server's core with one worker, storing in memory.
    fn default() -> Self {
        Self {
            pin: SERVER_CORE,
            workers: 1,
            database_url: String::from("sqlite::memory:"),
            redis_url: None,
            secret: false,
        }
    }
}

/// A running node.
pub struct Node {
    process: Process,
    /// Where clients connect.
    pub clients: SocketAddr,
    admin: SocketAddr,
    _dir: TempDir,
}

impl Node {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(settings: &Settings, plan: &NodePlan) -> io::Result<Self> {
        let dir = TempDir::new()?;
        let file = dir.path().join("bench.toml");
        fs::write(&file, CONFIG)?;
        let (clients, admin) = (free_address()?, free_address()?);
        let mut command = command(&settings.fanfare, plan.pin);
        command.arg("--config").arg(&file).current_dir(dir.path());
        command.args(["--log-level", "error", "--database-url", &plan.database_url]);
        command.args([
            "--listen",
            &clients.to_string(),
            "--admin-listen",
            &admin.to_string(),
        ]);
        if plan.workers > 0 {
            command.args(["--workers", &plan.workers.to_string()]);
        }
        if let Some(url) = &plan.redis_url {
            command.args(["--redis-url", url]);
        }
        if plan.secret || plan.redis_url.is_some() {
            command.env("FANFARE_SECRET_KEY_BASE", SECRET);
        }
        let mut node = Self {
            process: Process::start(command)?,
            clients,
            admin,
            _dir: dir,
        };
        node.process.await_listening(admin)?;
        let deadline = Instant::now() + READY_WITHIN;
        while !node.asked("/readyz")?.starts_with("HTTP/1.1 200") {
            if Instant::now() > deadline {
                return Err(io::Error::other("the node is not ready"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(node)
    }

    /// Returns its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns the arguments that point a generator at it.
    pub fn target(&self) -> String {
        format!("--addr {} --pid {}", self.clients, self.pid())
    }

    /// Reads a counter of its metrics, with its labels; 0 while there is none.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn metric(&self, name: &str) -> io::Result<f64> {
        let page = self.asked("/metrics")?;
        let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(left, _)| *left == name);
        Ok(found
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(0.0))
    }

    fn asked(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Signs a token for a player, as nodes with a secret take it.
///
/// # Errors
/// When the program does not run.
pub fn token(settings: &Settings) -> io::Result<String> {
    let mut signer = Command::new(&settings.fanfare);
    signer.args(["token", "--sub", "42", "--name", "ada"]);
    let said = signer.env("FANFARE_SECRET_KEY_BASE", SECRET).output()?;
    let token = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    match said.status.success() && !token.is_empty() {
        true => Ok(token),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&said.stderr).into_owned(),
        )),
    }
}

/// A running floor.
pub struct Floor {
    process: Process,
    address: SocketAddr,
}

impl Floor {
    /// Starts a floor on the server's core.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let address = free_address()?;
        let mut command = command(&settings.floor, SERVER_CORE);
        command.arg(address.to_string());
        let mut process = Process::start(command)?;
        process.await_listening(address)?;
        Ok(Self { process, address })
    }

    /// Returns the arguments that point a generator at it.
    pub fn target(&self) -> String {
        format!(
            "--dialect raw --addr {} --pid {}",
            self.address,
            self.process.pid()
        )
    }
}

/// A running Redis that keeps nothing.
pub struct Redis {
    process: Process,
    /// Its address as nodes take it.
    pub url: String,
    _dir: TempDir,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Errors
    /// When there is no `redis-server`, or it does not start.
    pub fn start() -> io::Result<Self> {
        let (dir, address) = (TempDir::new()?, free_address()?);
        let mut command = command("redis-server".as_ref(), ANY_CORE);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command
            .args(["--port", &address.port().to_string()])
            .arg("--dir")
            .arg(dir.path());
        let mut process = Process::start(command)?;
        process.await_listening(address)?;
        Ok(Self {
            process,
            url: format!("redis://{address}/"),
            _dir: dir,
        })
    }

    /// Returns its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
