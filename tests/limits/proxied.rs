//! The PROXY protocol on the clients' port: who is asked for a header, and what it changes.
//!
//! An address that a header names is seen by its share: one connection an address is let in here.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::limited::setup;
use crate::support::metrics::{await_metric, metric};
use crate::support::node::Node;
use crate::support::ws::Handshake;

const REFUSED: &str = "fanfare_connect_refused_total{reason=\"proxy_protocol\"}";
const ADDRESS_FULL: &str = "fanfare_connect_refused_total{reason=\"connections_per_ip\"}";

const REQUEST: &str = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                       connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn node(trusted: &str) -> Node {
    let more = format!(
        "[limits]\nconnections_per_ip = 1\n[transport]\nproxy_protocol = true\ntrusted_proxies = [\"{trusted}\"]\n"
    );
    setup(&more).start()
}

/// Sends pieces, each in a segment of its own, then reads the status line; empty when the node closed.
fn status(node: &Node, pieces: &[&[u8]]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(node.clients).expect("the node listens");
    stream.set_nodelay(true).expect("a connected stream");
    let limit = Some(Duration::from_secs(15));
    stream.set_read_timeout(limit).expect("above zero");
    for piece in pieces {
        // A node that has had enough closes, which the read sees.
        let _ = stream.write_all(piece);
        std::thread::yield_now();
    }
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        line.push(byte[0]);
    }
    (stream, String::from_utf8_lossy(&line).into_owned())
}

/// A header of version 2: command and family, then the block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a short block");
    let fixed = [command, family];
    [
        &b"\r\n\r\n\0\r\nQUIT\n"[..],
        &fixed,
        &length.to_be_bytes(),
        block,
    ]
    .concat()
}

/// Connects with a header in front; says whether the handshake was let in.
fn enters(node: &Node, header: &[u8]) -> (TcpStream, bool) {
    let (stream, line) = status(node, &[&[header, REQUEST.as_bytes()].concat()]);
    assert!(
        line.contains(" 101 ") || line.contains(" 503 "),
        "{line:?} after {}",
        header.escape_ascii()
    );
    let entered = line.contains(" 101 ");
    (stream, entered)
}

#[test]
fn the_headers_source_is_the_clients_address() {
    let node = node("127.0.0.1");
    let line = |source: &str| format!("PROXY TCP4 {source} 10.0.0.1 4711 443\r\n").into_bytes();
    let block = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
    let extended = [&block[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let mut v6 = [0; 36];
    v6[..8].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2]);
    v6[15] = 9;
    let mut twin = v6;
    twin[15] = 10;
    let mut open = Vec::new();
    let mut check = |header: &[u8], expected: bool| {
        let (stream, entered) = enters(&node, header);
        assert_eq!(entered, expected, "{}", header.escape_ascii());
        open.push(stream);
    };
    check(&line("203.0.113.9"), true);
    check(&line("203.0.113.9"), false);
    check(&line("203.0.113.10"), true);
    check(&v2(0x21, 0x11, &block), true);
    check(&v2(0x21, 0x11, &extended), false);
    check(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", false);
    check(&v2(0x21, 0x21, &v6), true);
    // An IPv6 client is counted by its /64.
    check(&v2(0x21, 0x21, &twin), false);
    check(b"PROXY TCP6 2001:db8:1:3::1 ::1 1 2\r\n", true);
    // Without a source it is the proxy itself, which has its share as well.
    check(&v2(0x20, 0x00, &[]), true);
    check(b"PROXY UNKNOWN\r\n", false);
    check(&v2(0x21, 0x00, &[]), false);
    assert_eq!(metric(&node, ADDRESS_FULL), 6.0);
    assert_eq!(metric(&node, REFUSED), 0.0);
}

#[test]
fn a_header_may_come_in_pieces_with_the_request_behind_it() {
    let node = node("127.0.0.0/8");
    let block = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
    for (header, request) in [
        (
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n".to_vec(),
            REQUEST,
        ),
        (v2(0x21, 0x11, &block), REQUEST),
    ] {
        let whole = [&header, request.as_bytes()].concat();
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        let (_stream, line) = status(&node, &bytes);
        assert!(line.contains(" 101 "), "{line:?}");
    }
}

#[test]
fn a_frame_behind_the_handshake_is_not_swallowed() {
    let node = node("127.0.0.1");
    let heartbeat = b"[null,\"1\",\"phoenix\",\"heartbeat\",{}]";
    let mut frame = vec![0x81, 0x80 | heartbeat.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(heartbeat);
    let all = [b"PROXY UNKNOWN\r\n", REQUEST.as_bytes(), &frame].concat();
    let (mut stream, line) = status(&node, &[&all]);
    assert!(line.contains(" 101 "), "{line:?}");
    let mut rest = Vec::new();
    let mut chunk = [0; 512];
    while !rest.windows(9).any(|found| found == b"phx_reply") {
        let read = stream.read(&mut chunk).expect("within the limit");
        assert!(read > 0, "closed: {}", rest.escape_ascii());
        rest.extend_from_slice(&chunk[..read]);
    }
}

#[test]
fn what_is_no_header_is_closed_and_counted() {
    let node = node("127.0.0.1");
    let bad: [&[u8]; 5] = [
        REQUEST.as_bytes(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &[b'P'; 200],
    ];
    for (at, bytes) in bad.iter().enumerate() {
        let (_stream, line) = status(&node, &[bytes]);
        assert_eq!(line, "", "{}", bytes.escape_ascii());
        await_metric(&node, REFUSED, |count| count == (at + 1) as f64);
    }
    // Half a header and then the end.
    let (stream, _) = (TcpStream::connect(node.clients).expect("it listens"), ());
    (&stream).write_all(b"PROXY TC").expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    await_metric(&node, REFUSED, |count| count == 6.0);
    // A health check that only connects is no offence.
    for _ in 0..5 {
        drop(TcpStream::connect(node.clients).expect("it listens"));
    }
    let (_stream, entered) = enters(&node, b"PROXY UNKNOWN\r\n");
    assert!(entered);
    assert_eq!(metric(&node, REFUSED), 6.0);
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for_long() {
    let node = node("127.0.0.1");
    let since = Instant::now();
    let (_stream, line) = status(&node, &[b"PROXY TCP4 203.0.113.9 "]);
    assert_eq!(line, "");
    let took = since.elapsed().as_secs_f64();
    assert!((4.0..9.0).contains(&took), "{took}");
    await_metric(&node, REFUSED, |count| count == 1.0);
}

#[test]
fn a_stranger_is_asked_for_no_header_and_believed_in_none() {
    let node = node("10.0.0.0/8");
    let wire = Handshake::new(node.clients, "vsn=2.0.0").open();
    let _wire = wire.expect("a direct client");
    let forged = [
        b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n",
        REQUEST.as_bytes(),
    ]
    .concat();
    let (_stream, line) = status(&node, &[&forged]);
    assert!(!line.contains(" 101 "), "{line:?}");
    let second = Handshake::new(node.clients, "vsn=2.0.0").open();
    assert_eq!(second.expect_err("its share is used up").status, 503);
}

#[test]
fn behind_a_trusted_source_forwarded_addresses_count_as_well() {
    let node = node("127.0.0.0/8");
    let forwarded = REQUEST.replace("host:", "x-forwarded-for: 1.1.1.1, 203.0.113.9\r\nhost:");
    let through = |source: &str| {
        let header = format!("PROXY TCP4 {source} 10.0.0.1 1 2\r\n{forwarded}");
        status(&node, &[header.as_bytes()])
    };
    let (_first, line) = through("127.0.0.9");
    assert!(line.contains(" 101 "), "{line:?}");
    let (_second, line) = through("127.0.0.10");
    assert!(line.contains(" 503 "), "the same client: {line:?}");
    // The source is a stranger: it is the client, whatever it says.
    let (_third, line) = through("198.51.100.1");
    assert!(line.contains(" 101 "), "{line:?}");
}

#[test]
fn without_trusted_proxies_the_setting_is_a_mistake() {
    let run = setup("[transport]\nproxy_protocol = true\n").run(Duration::from_secs(10));
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("trusted_proxies"), "{run:?}");
}
