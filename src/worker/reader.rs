//! The life of one WebSocket after its handshake: reads messages until the end.
//!
//! It writes nothing; replies and pongs go through the outbox.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::admission::{Entered, Seat};
use super::connection::{Connection, Duplex, Parts};
use super::member::Members;
use super::{Served, Worker};
use crate::channel::Client;
use crate::clock;
use crate::protocol::{CloseReason, Serializer};
use crate::pubsub::SocketId;
use crate::socket::{Outbox, Socket};
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
    pub(super) place: (Seat, Rc<Entered>),
}

/// Serves a connection until it ends.
pub(super) async fn serve(worker: Rc<Worker>, upgraded: Upgraded) {
    let leftover = upgraded.leftover.clone();
    let config = limits_of(&upgraded.served.mount);
    let connection = open(&worker, upgraded);
    let duplex = Duplex {
        connection: connection.clone(),
        worker: worker.clone(),
    };
    let mut stream =
        WebSocketStream::from_partially_read(duplex, leftover, Role::Server, Some(config)).await;
    let code = read(&worker, &connection, &mut stream).await;
    finish(&worker, &connection, code);
}

fn open(worker: &Rc<Worker>, upgraded: Upgraded) -> Rc<Connection> {
    let members = Rc::new(Members {
        worker: worker.clone(),
        connection: Cell::new(None),
    });
    let around = upgraded.served.around.clone();
    let outbox = Outbox::new(around.limits.outbox_bytes);
    let socket = Socket::new(
        upgraded.serializer,
        Rc::new(upgraded.client),
        around,
        members.clone(),
    );
    let mut connections = worker.connections.borrow_mut();
    let slot = connections.vacant_entry();
    let serial = worker.serials.get();
    worker.serials.set(serial.wrapping_add(1));
    let connection = Rc::new(Connection::new(Parts {
        id: SocketId {
            slot: slot.key() as u32,
            serial,
        },
        socket,
        outbox,
        stream: upgraded.stream,
        idle: upgraded.served.mount.idle,
        started: worker.started,
        place: upgraded.place,
    }));
    members.connection.set(Some(Rc::downgrade(&connection)));
    slot.insert(connection.clone());
    let metrics = &worker.node.metrics;
    metrics.opened.with_label_values(&["websocket"]).inc();
    metrics.connections.with_label_values(&["websocket"]).inc();
    metrics
        .sockets
        .with_label_values(&[&worker.index.to_string()])
        .inc();
    connection
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
    let mut scratch = [0u8; 4096];
    while matches!(duplex.read(&mut scratch).await, Ok(1..)) {}
}

fn finish(worker: &Rc<Worker>, connection: &Rc<Connection>, code: u16) {
    let code = connection.closing.get().map_or(code, CloseReason::code);
    worker.drive(connection, Socket::end_all);
    connection.write();
    connection.cut();
    connection.shut_down();
    worker
        .connections
        .borrow_mut()
        .try_remove(connection.id.slot as usize);
    let metrics = &worker.node.metrics;
    metrics.closed.with_label_values(&[&code.to_string()]).inc();
    metrics.connections.with_label_values(&["websocket"]).dec();
    metrics
        .sockets
        .with_label_values(&[&worker.index.to_string()])
        .dec();
}
