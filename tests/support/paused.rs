//! A Postgres that stands still: connections stay, answers stop.
//!
//! It never stays paused: the end of its scope lets it go on.

use std::fs;

use super::postgres::Postgres;
use super::process;

/// A server whose processes are stopped, all of them.
pub struct Paused(Vec<String>);

impl Paused {
    /// Stops the server (SIGSTOP): the postmaster first, so that no new process comes, then its children.
    pub fn postgres(server: &Postgres) -> Self {
        let pid = server.pid().expect("the server runs").to_string();
        process::signal("STOP", &pid);
        let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = listed.expect("a list of its processes");
        let mut all = vec![pid];
        for child in children.split_whitespace() {
            process::signal("STOP", child);
            all.push(child.to_owned());
        }
        Self(all)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        for pid in &self.0 {
            process::signal("CONT", pid);
        }
    }
}
