//! The way in for programs that embed Fanfare: mounts and channels of one's own.
//!
//! It only collects what a node is built from, and starts it.

use std::net::SocketAddr;

use super::build::{self, Blueprint};
use super::departure::Running;
use super::supervisor::Supervisor;
use super::{Failure, control_runtime};
use crate::config::Settings;
use crate::drain::Urgency;
use crate::presence::Fetch;
use crate::transport::Mount;

/// A node that is being put together.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use fanfare::channel::{Channel, Context, JoinResult, Outcome, Router};
/// use fanfare::config::Settings;
/// use fanfare::gateway::Gateway;
/// use fanfare::protocol::{Payload, Reply};
/// use fanfare::transport::{Mount, Open};
///
/// struct Echo;
///
/// impl Channel for Echo {
///     async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
///         Ok(Payload::EMPTY)
///     }
///     async fn handle_in(&mut self, _: &mut Context, _: &str, payload: Payload) -> Outcome {
///         Outcome::Reply(Reply::ok(payload))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = Settings::default();
/// settings.listen.set_port(0);
/// settings.admin_listen.set_port(0);
/// settings.store.url = String::from("sqlite::memory:");
/// settings.make_secret();
/// let router = Router::new().channel("echo:*", "echo", || Echo)?;
/// let mount = Mount::new("/live", Arc::new(router), Arc::new(Open), Arc::new(settings.limits.clone()));
/// let started = Gateway::new(settings).mount(mount).start()?;
/// println!("connect to ws://{}/live", started.clients());
/// started.stop()?;
/// # Ok(())
/// # }
/// ```
pub struct Gateway(Blueprint);

impl Gateway {
    /// Starts with no mount; the declared channels and the demo page are not served.
    pub fn new(settings: Settings) -> Self {
        Self(Blueprint {
            settings,
            mounts: Vec::new(),
            declared: false,
            fetch: None,
        })
    }

    /// Starts with the channels that the settings declare, at `/socket`, and the demo page.
    pub fn declared(settings: Settings) -> Self {
        let mut gateway = Self::new(settings);
        gateway.0.declared = true;
        gateway
    }

    /// Adds a mount; the first whose path matches a request serves it.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.0.mounts.push(mount);
        self
    }

    /// Adds fields beside `metas` to every presence entry that is listed or told in a diff.
    pub fn presence_fetch(mut self, fetch: Fetch) -> Self {
        self.0.fetch = Some(fetch);
        self
    }

    /// Starts the node; it listens when this returns, and goes on until it is told to go.
    ///
    /// From now on the process's SIGTERM and SIGINT are the node's.
    ///
    /// # Errors
    /// [`Failure`] when a port, the store or the broker can't be had.
    pub fn start(self) -> Result<Started, Failure> {
        let runtime = control_runtime()?;
        let running = runtime.block_on(build::start(self.0))?;
        Ok(Started { runtime, running })
    }
}

/// A node that listens.
pub struct Started {
    runtime: tokio::runtime::Runtime,
    running: Running,
}

impl Started {
    /// Returns where clients connect.
    pub fn clients(&self) -> SocketAddr {
        self.running.facts.clients
    }

    /// Returns where operators connect.
    pub fn admin(&self) -> SocketAddr {
        self.running.facts.admin
    }

    /// Tells a supervisor when the drain begins.
    pub(super) fn supervised(mut self, supervisor: Supervisor) -> Self {
        self.running.supervisor = supervisor;
        self
    }

    /// Waits for SIGTERM or SIGINT, then drains.
    ///
    /// # Errors
    /// [`Failure`] when records were left unstored at the end.
    pub fn until_told(self) -> Result<(), Failure> {
        self.runtime.block_on(self.running.until_told())
    }

    /// Leaves at once: sockets are closed, records flushed.
    ///
    /// # Errors
    /// [`Failure`] when records were left unstored at the end.
    pub fn stop(self) -> Result<(), Failure> {
        self.running.told.tell(Urgency::Now);
        self.until_told()
    }
}
