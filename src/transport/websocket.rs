//! How a WebSocket is read: tungstenite's limits, and what its errors mean for the client.
//!
//! Writing is not its business: frames are ready-made.

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::Mount;
use crate::protocol::CloseReason;

/// Returns tungstenite's settings for the sockets of a mount.
///
/// Its write buffer only ever holds its own pongs and close replies, which pass at once.
pub fn limits_of(mount: &Mount) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(mount.read_buffer_bytes)
        .write_buffer_size(0)
        .max_write_buffer_size(8 * 1024)
        .max_frame_size(Some(mount.limits.frame_bytes))
        .max_message_size(Some(mount.limits.message_bytes))
}

/// How reading a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// The peer is gone, or the close handshake is done.
    Gone,
    /// The peer is to be told why.
    Close(CloseReason),
}

/// Says what an error of the reader means.
pub fn read_end(error: &Error) -> ReadEnd {
    match error {
        Error::Capacity(_) => ReadEnd::Close(CloseReason::TooBig),
        Error::Utf8(_) => ReadEnd::Close(CloseReason::NotUtf8),
        // The peer vanished: there is nobody to be told.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => ReadEnd::Gone,
        Error::Protocol(_) => ReadEnd::Close(CloseReason::Protocol),
        // All else is the end of the stream, or belongs to a client's side.
        _ => ReadEnd::Gone,
    }
}
