//! A private redis-server on a loopback port of its own, for one test.
//!
//! It never outlives the test: it is killed on drop, and when the test process dies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::port::free_port;

/// Starts the server, says its pid, and kills it when standard input ends: when the test is gone.
const GUARD: &str =
    r#""$@" </dev/null >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null"#;

/// How long the server may take to start.
const READY_WITHIN: Duration = Duration::from_secs(10);

pub struct Redis {
    port: u16,
    options: Vec<String>,
    tls: bool,
    sentinel: bool,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    guard: Child,
    pid: String,
}

impl Redis {
    /// Starts a server without persistence and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more options, such as `["--requirepass", "sesame"]`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::launch(options, false)
    }

    /// Starts a server that speaks TLS only, with this certificate and key.
    pub fn start_tls(certificate: &str, key: &str) -> Self {
        let options = [
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            certificate,
        ];
        Self::launch(
            &[&options[..], &["--tls-auth-clients", "no"]].concat(),
            true,
        )
    }

    /// Starts a sentinel with these lines of configuration.
    pub fn start_sentinel(lines: &str) -> Self {
        let mut sentinel = Self::prepare(&[], false);
        sentinel.sentinel = true;
        let port = sentinel.port;
        let text = format!("port {port}\nbind 127.0.0.1\n{lines}");
        std::fs::write(sentinel.sentinel_file(), text).unwrap();
        sentinel.restart();
        sentinel
    }

    fn launch(options: &[&str], tls: bool) -> Self {
        let mut redis = Self::prepare(options, tls);
        redis.restart();
        redis
    }

    fn prepare(options: &[&str], tls: bool) -> Self {
        Self {
            port: free_port(),
            options: options.iter().map(|option| option.to_string()).collect(),
            tls,
            sentinel: false,
            dir: tempfile::tempdir().unwrap(),
            running: None,
        }
    }

    fn sentinel_file(&self) -> std::path::PathBuf {
        self.dir.path().join("sentinel.conf")
    }

    fn arguments(&self) -> Vec<String> {
        if self.sentinel {
            return vec![
                self.sentinel_file().display().to_string(),
                "--sentinel".into(),
            ];
        }
        let (port, dir) = (self.port.to_string(), self.dir.path().display().to_string());
        let ports = if self.tls {
            ["--tls-port", &port, "--port", "0"]
        } else {
            ["--port", &port, "--tls-port", "0"]
        };
        let fixed = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            &dir,
        ];
        let all = fixed.iter().chain(&ports).map(ToString::to_string);
        all.chain(self.options.iter().cloned()).collect()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL without user and password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills the server (SIGKILL), if it runs, and starts it on the same port.
    pub fn restart(&mut self) {
        self.kill();
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh", "redis-server"])
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut pid = String::new();
        let said = guard.stdout.take().expect("standard output is piped");
        BufReader::new(said)
            .read_line(&mut pid)
            .expect("the guard says the pid");
        let pid = pid.trim().to_owned();
        self.running = Some(Running { guard, pid });
        self.wait_until_ready();
    }

    /// Kills the server (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = signal("KILL", &running.pid);
            drop(running.guard.stdin.take());
            running.guard.wait().expect("the guard ends with its input");
            // Its port is free as soon as nobody accepts there.
            let deadline = Instant::now() + READY_WITHIN;
            while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                assert!(Instant::now() < deadline, "redis-server is still there");
                std::thread::yield_now();
            }
        }
    }

    /// Stops the server's process (SIGSTOP): connections stay, answers stop.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = &self.running.as_ref().expect("redis-server runs").pid;
        assert!(signal(name, pid), "kill -{name} {pid}");
    }

    /// Sends one command and returns the whole reply, in RESP2; nothing for `+OK`.
    pub fn command(&self, words: &[&str]) -> String {
        self.talk(&[words, &["QUIT"]])
            .expect("redis-server answers")
    }

    /// As `command`, with a password.
    pub fn authorized(&self, password: &str, words: &[&str]) -> String {
        self.authorized_once(password, words)
            .expect("redis-server answers")
    }

    /// As `authorized`, for what may be asked twice: a sentinel that gives a server another role cuts off every
    /// client of it (CLIENT KILL), the one that asks here too.
    pub fn authorized_again(&self, password: &str, words: &[&str]) -> String {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.authorized_once(password, words) {
                Ok(said) if !said.is_empty() => return said,
                cut => assert!(Instant::now() < deadline, "redis-server answers: {cut:?}"),
            }
        }
    }

    fn authorized_once(&self, password: &str, words: &[&str]) -> io::Result<String> {
        let said = self.talk(&[&["AUTH", password], words, &["QUIT"]])?;
        Ok(said.trim_start_matches("+OK\r\n").to_owned())
    }

    fn talk(&self, commands: &[&[&str]]) -> io::Result<String> {
        let mut request = String::new();
        for words in commands {
            request += &format!("*{}\r\n", words.len());
            for word in *words {
                request += &format!("${}\r\n{word}\r\n", word.len());
            }
        }
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).expect("redis-server listens");
        stream.write_all(request.as_bytes())?;
        if self.sentinel {
            // It knows no QUIT.
            stream.shutdown(Shutdown::Write)?;
        }
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply.trim_end_matches("+OK\r\n").to_owned())
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.answers() {
            assert!(
                Instant::now() < deadline,
                "redis-server does not answer on port {}",
                self.port
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        if self.tls {
            return true;
        }
        let mut reply = [0u8; 5];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut reply).is_ok()
            // A server that wants a password is as ready.
            && (&reply == b"+PONG" || &reply == b"-NOAU")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(name: &str, pid: &str) -> bool {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), pid])
        .stderr(Stdio::null())
        .status();
    sent.is_ok_and(|status| status.success())
}
