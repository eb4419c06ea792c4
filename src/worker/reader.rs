//! The life of one WebSocket after its handshake: reads messages until the end.
//!
//! It writes nothing; replies and pongs go through the outbox.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::admission::{Entered, Seat};
use super::connection::{Connection, Duplex, Link};
use super::lifetime::{self, Opened};
use super::{Served, Worker};
use crate::channel::Client;
use crate::clock;
use crate::protocol::Serializer;
use crate::transport::{ReadEnd, limits_of, read_end};

/// The close code of a peer that vanished (RFC 6455, 7.1.5).
const VANISHED: u16 = 1006;

/// A connection whose handshake is done.
pub(super) struct Upgraded {
    pub(super) stream: TcpStream,
    /// Bytes that came behind the handshake.
    pub(super) leftover: Vec<u8>,
    pub(super) serializer: Serializer,
    pub(super) client: Client,
    pub(super) served: std::sync::Arc<Served>,
    pub(super) place: (Seat, Option<Rc<Entered>>),
}

/// Makes the connection, and a task of its own that serves it until it ends.
///
/// The task holds nothing of the handshake: an idle socket is to be small.
pub(super) async fn start(worker: Rc<Worker>, mut upgraded: Upgraded) {
    let leftover = std::mem::take(&mut upgraded.leftover);
    let config = limits_of(&upgraded.served.mount);
    let opened = Opened {
        idle: upgraded.served.mount.idle,
        link: Link::WebSocket(upgraded.stream),
        serializer: upgraded.serializer,
        client: upgraded.client,
        around: upgraded.served.around.clone(),
        renews: upgraded.served.mount.renew,
        place: upgraded.place,
    };
    let connection = lifetime::open(&worker, opened);
    let duplex = Duplex {
        connection: connection.clone(),
        worker: worker.clone(),
    };
    let mut stream =
        WebSocketStream::from_partially_read(duplex, leftover, Role::Server, Some(config)).await;
    tokio::task::spawn_local(async move {
        let code = read(&worker, &connection, &mut stream).await;
        lifetime::finish(&worker, &connection, code);
    });
}

/// Reads until the connection ends; returns the close code that it ended with.
async fn read(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    stream: &mut WebSocketStream<Duplex>,
) -> u16 {
    let mut code = VANISHED;
    loop {
        match stream.next().await {
            Some(Ok(_)) if !connection.is_open() => {}
            Some(Ok(Message::Text(text))) => {
                let text = Bytes::from(text);
                worker.drive(connection, |socket, out| {
                    socket.receive_text(&text, clock::now(), out)
                });
            }
            Some(Ok(Message::Binary(bytes))) => {
                worker.drive(connection, |socket, out| {
                    socket.receive_binary(&bytes, clock::now(), out)
                });
            }
            Some(Ok(Message::Close(frame))) => {
                // 1005 stands for a close frame without a code.
                code = frame.map_or(1005, |frame| frame.code.into());
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => match read_end(&error) {
                ReadEnd::Gone => return code,
                ReadEnd::Close(reason) => {
                    worker.close(connection, reason);
                    discard(stream.get_mut()).await;
                    return code;
                }
            },
            None => return code,
        }
    }
}

/// Reads what the peer still sends, so that the kernel does not reset the close frame away.
async fn discard(duplex: &mut Duplex) {
    // On the heap: it is rare, and every connection's task would be that much larger.
    let mut scratch = vec![0u8; 4096];
    while matches!(duplex.read(&mut scratch).await, Ok(1..)) {}
}
