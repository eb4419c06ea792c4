//! A blocking WebSocket client of our own: every byte as the test wants it.
//!
//! It never answers a ping, masks by itself or reconnects unless it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{self, Response};

/// How long a test waits for a frame.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The example of RFC 6455, 1.3: a key and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Op {
    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn of(code: u8) -> Self {
        let all = [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ];
        let found = all.into_iter().find(|op| op.code() == code);
        found.unwrap_or_else(|| panic!("the server sent opcode {code}"))
    }
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close with its code, if any.
    Close(Option<u16>),
    /// The connection ended without a close.
    Ended,
}

/// How to shake hands.
#[derive(Debug, Clone)]
pub struct Handshake {
    addr: SocketAddr,
    target: String,
    headers: Vec<(String, String)>,
}

impl Handshake {
    /// A handshake for `/socket/websocket?<query>`.
    pub fn new(addr: SocketAddr, query: &str) -> Self {
        Self::at(addr, &format!("/socket/websocket?{query}"))
    }

    /// A handshake for any path.
    pub fn at(addr: SocketAddr, target: &str) -> Self {
        Self {
            addr,
            target: target.to_owned(),
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Shakes hands; the server's answer when it refuses.
    ///
    /// # Errors
    /// Any answer but 101.
    pub fn open(self) -> Result<Wire, Response> {
        let mut stream = TcpStream::connect(self.addr).expect("the server listens");
        stream.set_nodelay(true).expect("a connected stream");
        let mut head = format!("GET {} HTTP/1.1\r\nhost: {}\r\n", self.target, self.addr);
        head.push_str("upgrade: websocket\r\nconnection: Upgrade\r\n");
        head.push_str(&format!(
            "sec-websocket-key: {KEY}\r\nsec-websocket-version: 13\r\n"
        ));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("a request sent");
        let mut wire = Wire {
            stream,
            unread: Vec::new(),
            handshake: None,
        };
        let answer = wire.head();
        if answer.status == 101 {
            assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
            wire.handshake = Some(answer);
            Ok(wire)
        } else {
            Err(answer)
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    handshake: Option<Response>,
}

impl Wire {
    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.handshake.as_ref()?.header("sec-websocket-protocol")
    }

    /// Sends a text frame.
    pub fn text(&mut self, text: &str) {
        self.frame(true, Op::Text, text.as_bytes());
    }

    /// Sends a binary frame.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.frame(true, Op::Binary, bytes);
    }

    /// Sends a close with a code.
    pub fn close(&mut self, code: u16) {
        self.frame(true, Op::Close, &code.to_be_bytes());
    }

    /// Sends a message in fragments.
    pub fn fragments(&mut self, op: Op, parts: &[&[u8]]) {
        for (at, part) in parts.iter().enumerate() {
            let op = if at == 0 { op } else { Op::Continuation };
            self.frame(at + 1 == parts.len(), op, part);
        }
    }

    /// Sends a masked frame.
    pub fn frame(&mut self, fin: bool, op: Op, payload: &[u8]) {
        let mut bytes = head(fin, op, payload.len(), Some(MASK));
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
        self.raw(&bytes);
    }

    /// Sends a frame without a mask, which no client may.
    pub fn unmasked(&mut self, op: Op, payload: &[u8]) {
        let mut bytes = head(true, op, payload.len(), None);
        bytes.extend_from_slice(payload);
        self.raw(&bytes);
    }

    /// Announces a frame of this length and sends nothing of it.
    pub fn announce(&mut self, op: Op, length: usize) {
        self.raw(&head(true, op, length, Some(MASK)));
    }

    /// Sends bytes as they are; a server that has closed is no failure here.
    pub fn raw(&mut self, bytes: &[u8]) {
        // The next read says how the connection ended.
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame, within 10 s.
    ///
    /// # Panics
    /// At the limit.
    pub fn read(&mut self) -> Frame {
        let found = self.read_until(Instant::now() + LIMIT);
        found.unwrap_or_else(|| panic!("no frame within {LIMIT:?}"))
    }

    /// The next frame, or `None` at the deadline; nothing read so far is lost.
    pub fn read_until(&mut self, deadline: Instant) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.unread) {
                self.unread.drain(..length);
                return Some(frame);
            }
            match self.more(deadline) {
                More::Some => {}
                More::End => return Some(Frame::Ended),
                More::Late => return None,
            }
        }
    }

    /// Reads to the end; the close code, if one came.
    ///
    /// # Panics
    /// When the server does not close within 10 s.
    pub fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.read() {
                Frame::Close(code) => return code,
                Frame::Ended => return None,
                Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }

    /// The answer to the handshake; a refusal with its body.
    fn head(&mut self) -> Response {
        let deadline = Instant::now() + LIMIT;
        loop {
            let end = self.unread.windows(4).position(|w| w == b"\r\n\r\n");
            let upgraded = self.unread.starts_with(b"HTTP/1.1 101");
            match (end, upgraded) {
                (Some(end), true) => {
                    let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                    return http::parse(&head);
                }
                (Some(_), false) if complete(&self.unread) => return http::parse(&self.unread),
                (Some(_) | None, _) => {}
            }
            match self.more(deadline) {
                More::Some => {}
                More::End => return http::parse(&self.unread),
                More::Late => panic!("no answer to the handshake within {LIMIT:?}"),
            }
        }
    }

    fn more(&mut self, deadline: Instant) -> More {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return More::Late;
        }
        self.stream
            .set_read_timeout(Some(left))
            .expect("above zero");
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => More::End,
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                More::Some
            }
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                More::Late
            }
            Err(why) if why.kind() == ErrorKind::Interrupted => More::Some,
            Err(_) => More::End,
        }
    }
}

enum More {
    Some,
    End,
    Late,
}

/// Whether a refusal has arrived with the body that its length promises.
fn complete(bytes: &[u8]) -> bool {
    let answer = http::parse(bytes);
    let length = answer
        .header("content-length")
        .and_then(|text| text.parse().ok());
    length.is_some_and(|length: usize| answer.body.len() >= length)
}

fn head(fin: bool, op: Op, length: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![(u8::from(fin) << 7) | op.code()];
    let masked = u8::from(mask.is_some()) << 7;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => bytes.push(masked | short),
        (_, Ok(medium)) => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.into_iter().flatten());
    bytes
}

/// A frame of the server and its length in bytes, once it is whole.
fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0x70, 0, "the server set a reserved bit");
    assert_eq!(first & 0x80, 0x80, "the server sent a fragment");
    assert_eq!(second & 0x80, 0, "the server masked a frame");
    let (length, at) = match second {
        126 => (
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
            4,
        ),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let end = at + usize::try_from(length).expect("a length that fits");
    let payload = bytes.get(at..end)?.to_vec();
    let frame = match Op::of(first & 0x0f) {
        Op::Text => Frame::Text(String::from_utf8(payload).expect("UTF-8 from the server")),
        Op::Binary => Frame::Binary(payload),
        Op::Ping => Frame::Ping(payload),
        Op::Pong => Frame::Pong(payload),
        Op::Close => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        Op::Continuation => panic!("the server sent a continuation"),
    };
    Some((frame, end))
}
