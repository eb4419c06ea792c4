//! How much memory a joined idle socket asks the allocator for, counted exactly: it never grows unnoticed.
//!
//! The node runs in the test's process; the clients are bare streams, which own no memory of it.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use fanfare::channels::{Declaration, Kind};
use fanfare::config::{Anonymous, Settings};
use fanfare::gateway::{Gateway, Started};

/// The most bytes of a joined idle socket. The allocator adds about a tenth.
const SOCKET_BYTES_MAX: isize = 1_800;

/// How many sockets are counted; the worker's tables double at the same places in every run.
const SOCKETS: usize = 512;

static ASKED: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, with a count of what is asked for and not given back.
struct Counting;

// SAFETY: every call goes to `System` unchanged; the counter is an atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ASKED.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn start() -> Started {
    let mut relay = Declaration::new("room:*", Kind::Relay);
    relay.events = vec![String::from("new_message")];
    let mut settings = Settings {
        workers: 1,
        anonymous: Anonymous::Allow,
        channels: vec![relay],
        ..Settings::default()
    };
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.store.url = String::from("sqlite::memory:");
    settings.limits.connects_per_second = 100_000;
    settings.make_secret();
    let started = Gateway::declared(settings).start();
    started.unwrap_or_else(|why| panic!("the node does not start: {why}"))
}

/// Reads until the bytes end so.
fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let (mut bytes, mut length) = ([0; 1024], 0);
    while !bytes[..length].ends_with(end) {
        let read = stream.read(&mut bytes[length..]).expect("an answer");
        assert!(read > 0, "the node closed");
        length += read;
    }
}

/// Sends a text under a mask of zeros.
fn say(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).expect("the node listens");
}

fn open(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("the node listens");
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).expect("a timeout");
    let head = format!(
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the node listens");
    read_until(&mut stream, b"\r\n\r\n");
    say(&mut stream, r#"["1","1","room:lobby","phx_join",{}]"#);
    read_until(&mut stream, b"}}]");
    stream
}

/// Has a heartbeat of every socket answered, so that each was read and written since it joined.
fn beat(sockets: &mut [TcpStream]) {
    for socket in &mut *sockets {
        say(socket, r#"[null,"2","phoenix","heartbeat",{}]"#);
        read_until(socket, b"}}]");
    }
}

/// One test, since all threads of a process share the count.
#[test]
fn a_joined_idle_socket_is_small_and_leaves_nothing_behind() {
    let node = start();
    let mut sockets = Vec::with_capacity(2 * SOCKETS);
    sockets.extend((0..SOCKETS).map(|_| open(node.clients())));
    beat(&mut sockets);
    let before = ASKED.load(Ordering::Relaxed);
    sockets.extend((0..SOCKETS).map(|_| open(node.clients())));
    beat(&mut sockets);
    let each = (ASKED.load(Ordering::Relaxed) - before) / SOCKETS as isize;
    println!("{each} bytes a joined idle socket");
    assert!(each <= SOCKET_BYTES_MAX, "{each} bytes a socket");
    assert!(
        each > 500,
        "{each} bytes a socket: the count counts nothing"
    );
    // Half go: what they had is given back, but for the tables, as soon as the worker has seen it.
    sockets.truncate(SOCKETS);
    let tables = each * SOCKETS as isize / 8;
    let given_back = (0..100).any(|_| {
        beat(&mut sockets);
        ASKED.load(Ordering::Relaxed) < before + tables
    });
    assert!(given_back, "sockets that have gone left memory behind");
    drop(sockets);
    node.stop().expect("the node stops");
}
