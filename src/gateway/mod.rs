//! The composition root: puts the parts of a node together and runs them.
//!
//! It never exits the process; `main` does.

mod build;
mod builder;
mod check;
mod departure;
mod door;
mod gauges;
mod history;
mod inbox;
mod panics;
mod ports;
mod presence;
mod probe;
mod sockets;
mod supervisor;

use std::fmt;

pub use builder::{Gateway, Started};
pub use panics::log_panics;

use crate::config::{self, Probe, Settings};
use supervisor::Supervisor;

/// Why a command failed, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    fn new(what: &str, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Runs a node with the channels that its settings declare, until it is told to go (SIGTERM, SIGINT).
///
/// The supervisor that `NOTIFY_SOCKET` names is told when the node listens and when it begins to drain.
///
/// # Errors
/// [`Failure`] when it can't start, or when records were left unstored at the end.
pub fn serve(settings: Settings) -> Result<(), Failure> {
    let supervisor = Supervisor::at(config::notify_socket());
    let started = Gateway::declared(settings).start()?;
    supervisor.ready();
    started.supervised(supervisor).until_told()
}

/// Applies the migrations.
///
/// # Errors
/// [`Failure`] when the database can't be reached or refuses.
pub fn migrate(settings: Settings) -> Result<(), Failure> {
    control_runtime()?.block_on(async {
        let store = open_store(&settings).await?;
        tracing::info!(store = store.kind(), "migrations are applied");
        Ok(())
    })
}

/// Tries each dependency and prints a table.
///
/// # Errors
/// [`Failure`] when one is not as it should be.
pub fn check(settings: Settings) -> Result<(), Failure> {
    control_runtime()?.block_on(check::check(&settings))
}

/// Connects to a node as a client does: heartbeat, join, leave; or asks one of its paths.
///
/// # Errors
/// [`Failure`] with the step that failed.
pub fn probe(settings: Settings, probe: &Probe) -> Result<(), Failure> {
    control_runtime()?.block_on(probe::probe(&settings, probe))
}

/// The runtime of everything that is not a socket: Redis, the writer, presence, admin HTTP.
fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("fanfare-control")
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the control runtime cannot start", error))
}

/// Opens the store and applies the migrations where the settings say so.
async fn open_store(
    settings: &Settings,
) -> Result<std::sync::Arc<dyn crate::store::Store>, Failure> {
    let failed = |error| Failure::new("the database", error);
    let store = crate::store::open(&settings.store).await.map_err(failed)?;
    store.ping().await.map_err(failed)?;
    if settings.migrate {
        store.migrate().await.map_err(failed)?;
    }
    Ok(store)
}
