//! Tells the process that started the node, such as systemd, when it is ready and when it goes.
//!
//! It never fails a start: a supervisor that can't be told is logged. The protocol is that of `sd_notify(3)`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Who is told; nobody by default.
#[derive(Debug, Default)]
pub(super) struct Supervisor(Option<UnixDatagram>);

impl Supervisor {
    /// Tells whoever listens at a path; one that begins with `@` is in Linux's abstract namespace.
    pub(super) fn at(path: Option<OsString>) -> Self {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Self(None);
        };
        match connect(&path) {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                tracing::warn!(%error, "the supervisor can't be told");
                Self(None)
            }
        }
    }

    /// The node listens.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The node drains, with so many connections.
    pub(super) fn stopping(&self, connections: usize) {
        self.tell(&format!(
            "STOPPING=1\nSTATUS=draining {connections} connections"
        ));
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, "the supervisor can't be told");
        }
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read never holds up a drain.
    socket.set_nonblocking(true)?;
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => of_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn of_name(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn of_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listener: UnixDatagram, path: OsString) {
        let supervisor = Supervisor::at(Some(path));
        supervisor.ready();
        supervisor.stopping(3);
        let mut buffer = [0; 256];
        let mut heard = || {
            let len = listener.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        assert!(heard().starts_with("READY=1\n"));
        assert_eq!(heard(), "STOPPING=1\nSTATUS=draining 3 connections");
    }

    #[test]
    fn a_supervisor_at_a_path_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        check(UnixDatagram::bind(&path).unwrap(), path.into_os_string());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_supervisor_with_an_abstract_name_is_told() {
        let name = format!("fanfare-test-{}", std::process::id());
        let address = of_name(name.as_bytes()).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        check(listener, OsString::from(format!("@{name}")));
    }

    #[test]
    fn a_supervisor_that_is_away_changes_nothing() {
        for path in [None, Some(""), Some("/nowhere/notify")] {
            let supervisor = Supervisor::at(path.map(OsString::from));
            supervisor.ready();
            supervisor.stopping(0);
        }
    }
}
