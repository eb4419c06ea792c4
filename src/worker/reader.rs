//! The life of one WebSocket after its handshake: reads messages until the end.
//!
//! It writes nothing; replies and pongs go through the outbox. It owns no buffer: bytes are read into the
//! worker's, and only what came in part is kept.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::admission::{Entered, Seat};
use super::connection::{Connection, Link};
use super::lifetime::{self, Opened};
use super::{Served, Worker};
use crate::channel::Client;
use crate::clock;
use crate::protocol::Serializer;
use crate::transport::Incoming;

/// The close code of a peer that vanished (RFC 6455, 7.1.5).
const VANISHED: u16 = 1006;

/// The code that stands for a close without one (RFC 6455, 7.1.5).
const NO_CODE: u16 = 1005;

/// The bytes that one read takes at most; each worker has one buffer of that size.
const READ_BYTES: usize = 64 * 1024;

/// A connection whose handshake is done.
pub(super) struct Upgraded {
    pub(super) stream: TcpStream,
    /// Bytes that came behind the handshake.
    pub(super) leftover: Vec<u8>,
    pub(super) serializer: Serializer,
    pub(super) client: Client,
    pub(super) served: Arc<Served>,
    pub(super) place: (Seat, Option<Rc<Entered>>),
}

/// Makes the connection, and a task of its own that serves it until it ends.
///
/// The task holds nothing of the handshake: an idle socket is to be small.
pub(super) fn start(worker: Rc<Worker>, upgraded: Upgraded) {
    let opened = Opened {
        idle: upgraded.served.mount.idle,
        link: Link::websocket(upgraded.stream),
        serializer: upgraded.serializer,
        client: upgraded.client,
        around: upgraded.served.around.clone(),
        renews: upgraded.served.mount.renew,
        place: upgraded.place,
    };
    let connection = lifetime::open(&worker, opened);
    let mut leftover = upgraded.leftover;
    match take(&worker, &connection, &mut leftover) {
        Some(code) => lifetime::finish(&worker, &connection, code),
        None => {
            tokio::task::spawn_local(Reading { worker, connection });
        }
    }
}

/// Reads until the connection ends.
struct Reading {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
}

impl Future for Reading {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let Self { worker, connection } = &*self;
        // Tasks of one thread are polled one at a time, so nobody else misses it meanwhile.
        let mut buffer = worker.read_buffer.take();
        buffer.resize(READ_BYTES, 0);
        let ended = read(worker, connection, task, &mut buffer);
        worker.read_buffer.set(buffer);
        ended.map(|code| lifetime::finish(worker, connection, code))
    }
}

/// Reads what there is; returns the close code when the connection has ended.
fn read(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    task: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<u16> {
    loop {
        let Ok(bytes @ 1..) = std::task::ready!(connection.read(task, buffer)) else {
            return Poll::Ready(VANISHED);
        };
        connection.hear(worker.elapsed_ms());
        if let Some(code) = take(worker, connection, &mut buffer[..bytes]) {
            return Poll::Ready(code);
        }
    }
}

/// Takes what was read; returns the close code when the peer has said goodbye.
fn take(worker: &Rc<Worker>, connection: &Rc<Connection>, mut input: &mut [u8]) -> Option<u16> {
    // After a fault the rest is read and dropped, so that the kernel does not reset the close frame away.
    while !connection.is_faulty() {
        match connection.next(&mut input) {
            Ok(Some(Incoming::Close(code, answer))) => {
                worker.send(connection, answer);
                return Some(code.unwrap_or(NO_CODE));
            }
            Ok(Some(said)) => hear(worker, connection, &said),
            Ok(None) => return None,
            Err(reason) => {
                connection.note_fault();
                worker.close(connection, reason);
            }
        }
    }
    None
}

fn hear(worker: &Rc<Worker>, connection: &Rc<Connection>, said: &Incoming) {
    if !connection.is_open() {
        return;
    }
    match said {
        Incoming::Text(text) => worker.drive(connection, |socket, out| {
            socket.receive_text(text, clock::now(), out)
        }),
        Incoming::Binary(bytes) => worker.drive(connection, |socket, out| {
            socket.receive_binary(bytes, clock::now(), out)
        }),
        Incoming::Ping(pong) => worker.send(connection, pong.clone()),
        Incoming::Pong | Incoming::Close(..) => {}
    }
}
