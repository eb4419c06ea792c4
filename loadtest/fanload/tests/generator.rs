//! The generator against the floor, as two real programs on the loopback address.
//!
//! It measures nothing: a shared machine can't fail it, only a wrong count can.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use fanload::bench::process::free_address;
use fanload::report::Report;

/// A floor that ends with its test.
struct Floor(Child, SocketAddr);

impl Floor {
    fn start() -> Self {
        let address = free_address().expect("a free port");
        let mut command = Command::new(env!("CARGO_BIN_EXE_floor"));
        let child = command
            .arg(address.to_string())
            .spawn()
            .expect("the floor starts");
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self(child, address)
    }

    fn generator(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanload"));
        command.args(["run", "--dialect", "raw", "--settle", "0"]);
        command.args([
            "--addr",
            &self.1.to_string(),
            "--pid",
            &self.0.id().to_string(),
        ]);
        command.args(arguments.split(' '));
        command
    }

    fn run(&self, arguments: &str) -> Report {
        let done = self
            .generator(arguments)
            .output()
            .expect("the generator runs");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        serde_json::from_slice(&done.stdout).expect("a report")
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.0.kill().expect("the floor still runs");
        self.0.wait().expect("the floor ends");
    }
}

#[test]
fn everybody_on_a_topic_gets_what_is_published_there() {
    let report =
        Floor::start().run("--sockets 20 --topics 2 --rate 100 --publishes 10 --seconds 20");
    assert_eq!((report.ready, report.dead, report.errors), (20, 0, 0));
    assert_eq!((report.published, report.expected), (10, 100));
    assert_eq!((report.delivered, report.lost()), (100, 0));
    assert!(report.delivery_us.p50 > 0 && report.rss_before_kib > 0);
}

#[test]
fn a_window_keeps_the_topic_busy() {
    let report = Floor::start().run("--sockets 5 --window 4 --seconds 0.2");
    assert!(report.published > 8, "{report:?}");
    assert_eq!(report.lost(), 0);
}

#[test]
fn all_come_back_after_a_rejoin() {
    let report = Floor::start().run("--sockets 50 --publishes 1 --rate 1 --seconds 20 --rejoin");
    assert_eq!(report.rejoined, 50);
    assert!(report.rejoin_us.max > 0);
}

#[test]
fn a_gate_holds_the_first_publish_until_it_is_opened() {
    let floor = Floor::start();
    let mut listens = floor.generator("--sockets 3 --gate --foreign 1 --seconds 20");
    let mut listens = listens
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(listens.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    listens
        .stdin
        .take()
        .expect("piped")
        .write_all(b"go\n")
        .expect("it listens");
    // What arrives while it waits at the gate is read behind it, and counts.
    let says = floor.run("--sockets 1 --publishes 1 --rate 1 --seconds 20");
    let heard: Report =
        serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("a report");
    listens.wait().expect("it ends");
    assert_eq!((says.published, says.expected), (1, 1));
    assert_eq!(
        (heard.published, heard.expected, heard.delivered),
        (0, 3, 3)
    );
}

#[test]
fn nobody_there_is_an_error() {
    let address = Floor::start().1;
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanload"));
    let done = command
        .args(["run", "--sockets", "2", "--addr", &address.to_string()])
        .output();
    let done = done.expect("the generator runs");
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("0 joined, 2 did not"));
}
