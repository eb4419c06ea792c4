//! The node's listeners and its file descriptors.
//!
//! It binds; the workers and the admin server accept.

use std::net::{SocketAddr, TcpListener};

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

/// Raises the soft limit of file descriptors to the hard one; returns how many connections that allows.
pub(super) fn connections_by_descriptors() -> usize {
    let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted) {
        tracing::warn!(%error, "the soft limit of file descriptors cannot be raised");
    }
    let after = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    tracing::info!(soft = ?before.current, hard = ?before.maximum, now = ?after.current, "file descriptors");
    let usable = after
        .current
        .unwrap_or(u64::from(u32::MAX))
        .saturating_sub(DESCRIPTORS_KEPT);
    usize::try_from(usable.max(1)).unwrap_or(usize::MAX)
}
