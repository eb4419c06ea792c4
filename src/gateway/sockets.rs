//! The node's listeners and its file descriptors.
//!
//! It binds; the workers and the admin server accept.

use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use super::Failure;

/// Connections that the kernel may hold until a worker accepts them.
const BACKLOG: i32 = 4_096;

/// File descriptors kept for everything that is not a client.
const DESCRIPTORS_KEPT: u64 = 512;

/// Binds one listener a worker to the same port.
///
/// The address is bound once without `SO_REUSEPORT` first, so that a port of another process is an error.
pub(super) fn client_listeners(
    address: SocketAddr,
    workers: usize,
) -> Result<Vec<TcpListener>, Failure> {
    let failed = |error| Failure::new(&format!("cannot listen on {address}"), error);
    let probe = bind(address, false).map_err(failed)?;
    let bound = probe.local_addr().map_err(failed)?;
    let bound = bound.as_socket().unwrap_or(address);
    drop(probe);
    let listeners = (0..workers).map(|_| {
        let socket = bind(bound, true)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    });
    listeners.collect::<std::io::Result<_>>().map_err(failed)
}

/// Binds the operators' listener.
pub(super) fn admin_listener(address: SocketAddr) -> Result<TcpListener, Failure> {
    let failed = |error| Failure::new(&format!("cannot listen on {address}"), error);
    let socket = bind(address, false).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    Ok(socket.into())
}

fn bind(address: SocketAddr, shared: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What became of the process's limit on file descriptors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    soft: Option<u64>,
    hard: Option<u64>,
    now: Option<u64>,
}

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub(super) fn raise() -> Self {
        let before = getrlimit(Resource::Nofile);
        let wanted = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        // Where it can't be raised, the soft limit stands, and is logged.
        let _ = setrlimit(Resource::Nofile, wanted);
        Self {
            soft: before.current,
            hard: before.maximum,
            now: getrlimit(Resource::Nofile).current,
        }
    }

    /// Returns how many connections they allow.
    pub(super) fn connections(self) -> usize {
        let usable = self
            .now
            .unwrap_or(u64::from(u32::MAX))
            .saturating_sub(DESCRIPTORS_KEPT);
        usize::try_from(usable.max(1)).unwrap_or(usize::MAX)
    }

    /// Logs the limits, without those that are none; the configured number of connections when it is above them.
    pub(super) fn log(self, connections: usize) {
        let Self { soft, hard, now } = self;
        tracing::info!(soft, hard, now, connections, "file descriptors");
        if connections > self.connections() {
            tracing::warn!("limits.connections is above what file descriptors allow");
        }
    }
}
