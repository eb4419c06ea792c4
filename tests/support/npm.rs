//! The stock clients: scripts of `tests/npm`, run by node, that print one line of JSON.
//!
//! It never installs anything; `make setup` does.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process;

/// Where the scripts and their packages are.
pub fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "npm"]
        .iter()
        .collect()
}

/// Runs a script with its input as one argument; the last line that it printed, as JSON.
///
/// # Panics
/// When it fails, takes longer than `limit`, or prints no JSON.
pub fn script(name: &str, input: &Value, limit: Duration) -> Value {
    let directory = directory();
    let installed = directory.join("node_modules").is_dir();
    assert!(installed, "tests/npm has no packages yet: run `make setup`");
    let mut command = Command::new("node");
    command
        .arg(name)
        .arg(input.to_string())
        .current_dir(&directory);
    let done = process::run(&mut command, limit);
    assert_eq!(
        done.code,
        Some(0),
        "{name}\n{}\n{}",
        done.stdout,
        done.stderr
    );
    let last = done.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|why| panic!("{name}: {why}: {last}"))
}
