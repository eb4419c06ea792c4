//! A process of the benchmark: pinned where asked, and gone with the benchmark.
//!
//! It needs `setpriv` and `taskset` of util-linux, which every Linux distribution has.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked at while waiting.
const LOOK_EACH: Duration = Duration::from_millis(20);

/// The lowest port of a server.
const LOWEST_PORT: u16 = 10_240;
/// The first port of outgoing connections, by the kernel's default.
const FIRST_OUTGOING: u16 = 32_768;

/// The core of a server that is measured.
pub const SERVER_CORE: Pin = Pin(Some(0));
/// The core of the generator.
pub const GENERATOR_CORE: Pin = Pin(Some(1));
/// Any core.
pub const ANY_CORE: Pin = Pin(None);

/// The core that a process is kept on, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(Option<usize>);

/// A running process; it is killed when it is dropped.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    /// Starts a prepared command, without input or output.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map(Self)
    }

    /// Returns its process id: all that stands before the program replaces itself.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub fn await_listening(&mut self, address: SocketAddr) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!(
                    "ended before it listened: {status}"
                )));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("does not listen on {address}")));
            }
            std::thread::sleep(LOOK_EACH);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prepares a program on a core; it dies with the benchmark.
pub fn command(program: &Path, pin: Pin) -> Command {
    command_as(program, pin, &[])
}

/// Prepares a program with more options for `setpriv`, such as another user.
pub fn command_as(program: &Path, pin: Pin, privileges: &[String]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .args(privileges)
        .arg("--");
    if let Pin(Some(core)) = pin {
        command.args(["taskset", "-c"]).arg(core.to_string());
    }
    command.arg(program);
    command
}

/// Returns an address of loopback that nothing uses and that this process has not returned before.
///
/// Its port lies below those of outgoing connections (`net.ipv4.ip_local_port_range`, 32,768 by default), of which the
/// kernel would give it to the next one before the server starts.
///
/// # Errors
/// When there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let count = FIRST_OUTGOING - LOWEST_PORT;
    // Processes begin apart.
    let apart = std::process::id() % u32::from(count);
    for _ in 0..count {
        let turn = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = LOWEST_PORT
            + u16::try_from((apart * 97 + turn) % u32::from(count)).expect("it is below");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
