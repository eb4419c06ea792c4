//! Running a program to its end, with a limit.
//!
//! It never leaves the program or its children running.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` when a signal or the limit ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// Runs a program in a process group of its own; the whole group is killed at the limit.
///
/// # Panics
/// When the program can't be started.
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|why| panic!("can't start {name}: {why}"));
    let stdout = reader(child.stdout.take().expect("piped"));
    let stderr = reader(child.stderr.take().expect("piped"));
    let code = wait(&mut child, limit);
    if code.is_none() {
        signal("KILL", &format!("-{}", child.id()));
        child.wait().expect("a child of ours");
    }
    Finished {
        code,
        stdout: stdout.join().expect("a reader"),
        stderr: stderr.join().expect("a reader"),
    }
}

/// Waits for the end of a child; its exit code, or `None` at the limit or after a signal.
pub fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => return status.code(),
            None if Instant::now() >= end => return None,
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Sends a signal by name to a process, or to a group when `target` begins with `-`.
pub fn signal(name: &str, target: &str) {
    let send = format!("kill -s {name} -- {target}");
    let sent = Command::new("sh").args(["-c", &send]).status();
    sent.expect("a shell to send signals with");
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a broken pipe is worth showing.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
