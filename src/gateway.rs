//! The composition root: puts the parts of a node together and runs them.
//!
//! It never exits the process; `main` does.

use std::fmt;

use crate::config::{Probe, Settings};

/// Why a command failed, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Runs a node until it is told to go.
///
/// # Errors
/// [`Failure`] when it can't start, or when records were left at the end.
pub fn serve(_settings: Settings) -> Result<(), Failure> {
    Err(Failure(String::from("serve is not built yet")))
}

/// Applies the migrations.
///
/// # Errors
/// [`Failure`] when the database can't be reached or refuses.
pub fn migrate(_settings: Settings) -> Result<(), Failure> {
    Err(Failure(String::from("migrate is not built yet")))
}

/// Tries each dependency and prints a table.
///
/// # Errors
/// [`Failure`] when one is not as it should be.
pub fn check(_settings: Settings) -> Result<(), Failure> {
    Err(Failure(String::from("check is not built yet")))
}

/// Connects to a node as a client does.
///
/// # Errors
/// [`Failure`] with the step that failed.
pub fn probe(_settings: Settings, _probe: &Probe) -> Result<(), Failure> {
    Err(Failure(String::from("probe is not built yet")))
}
