//! One client: its connection, what it has said, and what it has not read to the end yet.
//!
//! It never blocks; the crowd polls and tells it when its stream is ready.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

use crate::dialect::{Heard, State};
use crate::plan::Plan;
use crate::stamp;
use crate::tally::Tally;
use crate::wire;

/// Capacity that an empty buffer may keep.
const KEPT_BYTES_MAX: usize = 256;

/// A client.
#[derive(Debug)]
pub struct Client {
    stream: Option<TcpStream>,
    number: usize,
    /// How far it has come.
    pub state: State,
    /// The shared topic that it joins.
    pub topic: usize,
    /// Pushes that are not answered yet.
    pub in_flight: u64,
    joins_left: usize,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Client {
    /// Makes the client of a number; nothing is opened.
    pub fn new(number: usize, topic: usize) -> Self {
        Self {
            stream: None,
            number,
            state: State::Connecting,
            topic,
            in_flight: 0,
            joins_left: 0,
            unread: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Takes a stream that is being connected.
    pub fn open(&mut self, stream: TcpStream) {
        *self = Self::new(self.number, self.topic);
        self.stream = Some(stream);
    }

    /// Closes the connection at once, without a word.
    pub fn close(&mut self) {
        self.stream = None;
        self.state = State::Dead;
    }

    /// Breaks the connection off, as a load balancer that goes does: its port is free again at once.
    pub fn break_off(&mut self) {
        if let Some(stream) = &self.stream {
            // What can't be broken off is closed, and its port is free a minute later.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.close();
    }

    /// Says whether there is a connection.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Sends a text message, as far as the stream takes it.
    pub fn say(&mut self, text: &str) {
        wire::write_text(text.as_bytes(), &mut self.unsent);
        self.flush();
    }

    /// Goes on after its stream has become ready.
    pub fn wake(
        &mut self,
        writable: bool,
        readable: bool,
        plan: &Plan,
        tally: &mut Tally,
        scratch: &mut [u8],
    ) {
        if writable && self.state == State::Connecting {
            self.upgrade(plan, tally);
        }
        let stalls = self.number < plan.stalled && self.state == State::Ready;
        if readable && !stalls && self.state != State::Dead {
            self.read(plan, tally, scratch);
        }
        if !self.unsent.is_empty() {
            self.flush();
        }
    }

    fn upgrade(&mut self, plan: &Plan, tally: &mut Tally) {
        let Some(stream) = &self.stream else { return };
        match (stream.take_error(), stream.peer_addr()) {
            (Ok(None), Ok(_)) => {}
            // Writable for another reason than a connection that is made.
            (Ok(None), Err(_)) => return,
            (Ok(Some(error)) | Err(error), _) => {
                tally.error(error.to_string().as_bytes());
                self.state = State::Dead;
                return;
            }
        }
        let path = plan.dialect.path(&plan.topic(self.topic), &plan.query);
        let host = plan.addr[self.number % plan.addr.len()];
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.unsent.extend_from_slice(request.as_bytes());
        self.state = State::Upgrading;
    }

    fn read(&mut self, plan: &Plan, tally: &mut Tally, scratch: &mut [u8]) {
        while let Some(stream) = &mut self.stream {
            let read = match stream.read(scratch) {
                Ok(0) => return self.state = State::Dead,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.state = State::Dead,
            };
            let now_ns = stamp::now_ns();
            if self.unread.is_empty() {
                let used = self.take(&scratch[..read], plan, tally, now_ns);
                self.unread.extend_from_slice(&scratch[used..read]);
            } else {
                let mut bytes = std::mem::take(&mut self.unread);
                bytes.extend_from_slice(&scratch[..read]);
                let used = self.take(&bytes, plan, tally, now_ns);
                self.unread.extend_from_slice(&bytes[used..]);
            }
            // The next bytes make the stream ready again.
            if read < scratch.len() || self.state == State::Dead {
                return;
            }
        }
    }

    /// Takes what is whole at the start of `bytes`; returns how many bytes that was.
    fn take(&mut self, bytes: &[u8], plan: &Plan, tally: &mut Tally, now_ns: u64) -> usize {
        let mut used = 0;
        if self.state == State::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                return 0;
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                tally.error(bytes);
                self.state = State::Dead;
                return bytes.len();
            }
            used = end + 4;
            self.upgraded(plan);
        }
        while let Some(frame) = wire::read(&bytes[used..]) {
            used += frame.len;
            match frame.opcode {
                // Centrifugo puts several messages in a frame, a line each; the others never break a line.
                wire::TEXT => {
                    for line in frame.payload.split(|byte| *byte == b'\n') {
                        self.hear(line, plan, tally, now_ns);
                    }
                }
                wire::PING => wire::write_pong(frame.payload, &mut self.unsent),
                wire::CLOSE => {
                    tally.closed += 1;
                    tally.error(frame.payload.get(2..).unwrap_or_default());
                }
                _ => {}
            }
        }
        used
    }

    fn upgraded(&mut self, plan: &Plan) {
        self.state = plan.dialect.after_upgrade();
        if let Some(greeting) = plan.dialect.greeting() {
            wire::write_text(greeting.as_bytes(), &mut self.unsent);
        }
        if self.state == State::Joining {
            self.join(plan);
        }
    }

    fn join(&mut self, plan: &Plan) {
        self.state = State::Joining;
        let own = (0..plan.own_topics).map(|nth| plan.own_topic(self.number, nth));
        let topics = std::iter::once(plan.topic(self.topic)).chain(own);
        for (nth, topic) in (1..).zip(topics) {
            if let Some(text) = plan.dialect.join(nth, &topic, &plan.join_payload) {
                wire::write_text(text.as_bytes(), &mut self.unsent);
                self.joins_left += 1;
            }
        }
    }

    fn hear(&mut self, text: &[u8], plan: &Plan, tally: &mut Tally, now_ns: u64) {
        match plan.dialect.hear(self.state, text) {
            Heard::Delivery(stamped_ns) => tally.delivery(self.topic, stamped_ns, now_ns),
            Heard::Answer(stamped_ns) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                tally.answer(stamped_ns, now_ns);
            }
            Heard::Joined => {
                self.joins_left = self.joins_left.saturating_sub(1);
                if self.joins_left == 0 {
                    self.state = State::Ready;
                }
            }
            Heard::Greeted => self.join(plan),
            Heard::Alive(answer) => wire::write_text(answer.as_bytes(), &mut self.unsent),
            Heard::Refused => tally.error(text),
            Heard::Nothing => {}
        }
    }

    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut sent = 0;
        // A stream that takes no more becomes writable later; one that failed becomes readable.
        while let Some(rest) = self.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(written) => sent += written,
                Err(_) => break,
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() && self.unsent.capacity() > KEPT_BYTES_MAX {
            self.unsent = Vec::new();
        }
    }
}
