//! The floor: what a delivery costs a server that only writes one prepared frame to each member of a group.
//!
//! One thread, epoll, one `write(2)` a member and message. No protocol, no queue: a full socket loses the frame.
//! The path of the request is the group. It shakes hands, then relays each text message to the group.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 65_535;
const SCRATCH_BYTES: usize = 64 * 1024;

/// The generator does not check the accept key, so any will do.
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Member {
    stream: TcpStream,
    /// Its group, once it has shaken hands.
    group: Option<usize>,
    unread: Vec<u8>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    members: Vec<Option<Member>>,
    free: Vec<usize>,
    names: HashMap<Vec<u8>, usize>,
    groups: Vec<Vec<usize>>,
    relays: Vec<(usize, Vec<u8>)>,
    scratch: Vec<u8>,
}

impl Floor {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let (poll, mut listener) = (Poll::new()?, TcpListener::from_std(socket.into()));
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            members: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            groups: Vec::new(),
            relays: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.members.push(None);
                self.members.len() - 1
            });
            self.poll
                .registry()
                .register(&mut stream, Token(number), Interest::READABLE)?;
            self.members[number] = Some(Member {
                stream,
                group: None,
                unread: Vec::new(),
            });
        }
        Ok(())
    }

    /// Reads what a member sent; it is removed when it is gone.
    fn serve(&mut self, number: usize) {
        let Some(member) = &mut self.members[number] else {
            return;
        };
        let mut gone = loop {
            match member.stream.read(&mut self.scratch) {
                Ok(0) => break true,
                Ok(read) => member.unread.extend_from_slice(&self.scratch[..read]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        if member.group.is_none()
            && let Some(end) = memchr::memmem::find(&member.unread, b"\r\n\r\n")
        {
            gone |= member.stream.write(SWITCH).is_err();
            let name = member
                .unread
                .split(|byte| *byte == b' ')
                .nth(1)
                .unwrap_or(b"/")
                .to_vec();
            let new = self.names.len();
            let group = *self.names.entry(name).or_insert(new);
            if group == self.groups.len() {
                self.groups.push(Vec::new());
            }
            self.groups[group].push(number);
            member.group = Some(group);
            member.unread.drain(..end + 4);
        }
        if let Some(group) = member.group {
            while let Some((frame, used)) = unmask(&member.unread) {
                member.unread.drain(..used);
                self.relays.extend(frame.map(|frame| (group, frame)));
            }
        }
        if member.unread.is_empty() {
            member.unread = Vec::new();
        }
        if gone {
            if let Some(group) = member.group {
                self.groups[group].retain(|other| *other != number);
            }
            self.members[number] = None;
            self.free.push(number);
        }
    }

    fn relay(&mut self) {
        for (group, frame) in self.relays.drain(..) {
            for number in &self.groups[group] {
                if let Some(member) = &mut self.members[*number] {
                    // A full socket loses the frame: this is a floor, not a server.
                    let _ = member.stream.write(&frame);
                }
            }
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4_096);
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(number) => self.serve(number),
                }
            }
            self.relay();
        }
    }
}

/// Reads a client's frame and makes the server's of it; `None` for the frame when it is no text.
fn unmask(bytes: &[u8]) -> Option<(Option<Vec<u8>>, usize)> {
    let (opcode, len) = (bytes.first()? & 0x0f, bytes.get(1)? & 0x7f);
    let (len, header) = match len {
        126 => (
            usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)),
            4,
        ),
        // The generator sends nothing so long.
        127 => return None,
        len => (usize::from(len), 2),
    };
    let mask: &[u8; 4] = bytes.get(header..)?.first_chunk()?;
    let payload = bytes.get(header + 4..header + 4 + len)?;
    let used = header + 4 + len;
    if opcode != 1 {
        return Some((None, used));
    }
    let mut frame = Vec::with_capacity(len + 4);
    frame.push(0x81);
    if len < 126 {
        frame.push(len as u8);
    } else {
        frame.push(126);
        frame.extend_from_slice(&(len as u16).to_be_bytes());
    }
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    Some((Some(frame), used))
}

fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| String::from("127.0.0.1:4100"));
    let address = address
        .parse()
        .map_err(|_| io::Error::other("usage: floor HOST:PORT"))?;
    Floor::new(address)?.run()
}

#[cfg(test)]
mod tests {
    use super::unmask;
    use fanload::wire;

    #[test]
    fn a_clients_frame_becomes_the_servers() {
        for len in [0, 1, 125, 126, 4_000] {
            let text = vec![b'x'; len];
            let mut sent = Vec::new();
            wire::write_text(&text, &mut sent);
            assert_eq!(unmask(&sent[..sent.len() - 1]), None);
            let (frame, used) = unmask(&sent).expect("a whole frame");
            assert_eq!(used, sent.len());
            let frame = frame.expect("text");
            assert_eq!(wire::read(&frame).expect("a frame").payload, text);
        }
    }
}
