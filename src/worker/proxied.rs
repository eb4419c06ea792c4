//! The beginning of a stream that a proxy opened: its PROXY protocol header, read off before HTTP.
//!
//! It takes not one byte of what follows the header.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::transport::{ProxyHeader, read_proxy_header};

/// How long a proxy may take to send the header, which stands before all else.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is looked at at once: the longest header without extensions.
const WINDOW_BYTES: usize = 232;

/// Why a stream can't be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproxied {
    /// It ended before its first byte, as a health check does.
    Silent,
    /// It began with something else, broke off, or took too long.
    Malformed,
}

/// Returns where the client connected from: the header's source, or the peer where it names none.
pub(super) async fn client(
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Result<SocketAddr, Unproxied> {
    let read = tokio::time::timeout(TIMEOUT, source(stream)).await;
    let source = read.map_err(|_| Unproxied::Malformed)??;
    Ok(source.unwrap_or(peer))
}

/// Looks at what has come, and takes it as far as it is the header's.
async fn source(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Unproxied> {
    let broken = |_: io::Error| Unproxied::Malformed;
    let (mut window, mut header) = (vec![0; WINDOW_BYTES], Vec::new());
    loop {
        let seen = stream.peek(&mut window).await.map_err(broken)?;
        let taken = header.len();
        match (seen, taken) {
            (0, 0) => return Err(Unproxied::Silent),
            (0, _) => return Err(Unproxied::Malformed),
            (_, _) => header.extend_from_slice(&window[..seen]),
        }
        let read = read_proxy_header(&header).map_err(|_| Unproxied::Malformed)?;
        let (whole, source) = match read {
            ProxyHeader::Partial => (header.len(), None),
            ProxyHeader::Whole { bytes, source } => (bytes, Some(source)),
        };
        let ours = &mut window[..whole - taken];
        stream.read_exact(ours).await.map_err(broken)?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}
