//! A private redis-server on a free loopback port, for one test.
//!
//! It never outlives the test: it is killed on drop, and when the test process dies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts the server, says its pid, and kills it when standard input ends: when the test is gone.
const GUARD: &str =
    r#""$@" </dev/null >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null"#;

/// How long the server may take to start.
const READY_WITHIN: Duration = Duration::from_secs(10);

pub struct Redis {
    port: u16,
    options: Vec<String>,
    tls: bool,
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

    fn launch(options: &[&str], tls: bool) -> Self {
        let mut redis = Self {
            port: free_port(),
            options: options.iter().map(|option| option.to_string()).collect(),
            tls,
            dir: tempfile::tempdir().unwrap(),
            running: None,
        };
        redis.restart();
        redis
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
        let port = self.port.to_string();
        let ports = if self.tls {
            ["--tls-port", &port, "--port", "0"]
        } else {
            ["--port", &port, "--tls-port", "0"]
        };
        let mut guard = Command::new("sh")
            .args([
                "-c",
                GUARD,
                "sh",
                "redis-server",
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.dir.path())
            .args(ports)
            .args(&self.options)
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

    /// Sends one command and returns the whole reply, in RESP2.
    pub fn command(&self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        request += "*1\r\n$4\r\nQUIT\r\n";
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).expect("redis-server listens");
        stream
            .write_all(request.as_bytes())
            .expect("redis-server reads");
        let mut reply = String::new();
        stream
            .read_to_string(&mut reply)
            .expect("redis-server answers");
        reply.trim_end_matches("+OK\r\n").to_owned()
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

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}
