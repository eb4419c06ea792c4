//! A headless browser, driven by a script of `tests/npm`.
//!
//! It never shows a window, talks to a vendor or keeps a profile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::npm;

const PLACES: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];

/// What keeps the browser quiet, and lets root run it.
const FLAGS: [&str; 8] = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
];

/// The system's browser.
///
/// # Panics
/// When there is none.
pub fn executable() -> PathBuf {
    let found = PLACES.iter().map(Path::new).find(|path| path.exists());
    found.expect("a Chromium: run `make setup`").to_owned()
}

/// Where pictures go: `target/screenshots`.
pub fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let pictures = target.expect("below target").join("screenshots");
    std::fs::create_dir_all(&pictures).expect("a directory for pictures");
    pictures
}

/// Runs a script that drives the browser; 90 s at most.
pub fn drive(script: &str, mut input: Value) -> Value {
    input["browser"] = json!({"executablePath": executable(), "args": FLAGS});
    input["pictures"] = json!(pictures());
    npm::script(script, &input, Duration::from_secs(90))
}
