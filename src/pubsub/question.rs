//! What is asked of a long-poll session, wherever its worker is, and what is answered.
//!
//! Pure: it only has their bytes between nodes. Reading is total.

use bytes::{BufMut, Bytes, BytesMut};

use super::SocketId;

const POLL: u8 = 0;
const FRAME: u8 = 1;
const LINES: u8 = 2;

/// Bytes of a question before the body: kind, slot, serial, secret.
const HEAD_BYTES: usize = 1 + 4 + 4 + 8;

/// Names a session within its worker, for who knows the session's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    /// The socket of the session.
    pub socket: SocketId,
    /// A random number that only the session's token holds.
    pub secret: u64,
}

/// What a request wants of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What is queued, or what comes within the window.
    Poll,
    /// Take one text message: the whole body.
    Frame(Bytes),
    /// Take a batch: a message a line.
    Lines(Bytes),
}

/// A request to the worker that has a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The session.
    pub session: SessionId,
    /// What it is to do.
    pub what: What,
}

impl Question {
    /// Returns the bytes of its body, for the bounds of mailboxes.
    pub fn bytes(&self) -> usize {
        match &self.what {
            What::Poll => 0,
            What::Frame(body) | What::Lines(body) => body.len(),
        }
    }

    /// Writes the question.
    pub fn encode(&self) -> Bytes {
        let (kind, body) = match &self.what {
            What::Poll => (POLL, &Bytes::new()),
            What::Frame(body) => (FRAME, body),
            What::Lines(body) => (LINES, body),
        };
        let mut out = BytesMut::with_capacity(HEAD_BYTES + body.len());
        out.put_u8(kind);
        out.put_u32(self.session.socket.slot);
        out.put_u32(self.session.socket.serial);
        out.put_u64(self.session.secret);
        out.put_slice(body);
        out.freeze()
    }

    /// Reads a question; its body shares the bytes.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| head[at..].first_chunk().map(|raw| u32::from_be_bytes(*raw));
        let session = SessionId {
            socket: SocketId {
                slot: word(1)?,
                serial: word(5)?,
            },
            secret: head.last_chunk().map(|raw| u64::from_be_bytes(*raw))?,
        };
        let body = bytes.slice(HEAD_BYTES..);
        let what = match head[0] {
            POLL if body.is_empty() => What::Poll,
            FRAME => What::Frame(body),
            LINES => What::Lines(body),
            _ => return None,
        };
        Some(Self { session, what })
    }
}

/// What a session answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The session is there and at it; another answer follows.
    Working,
    /// To a poll: a JSON array of frames as strings, not empty.
    Messages(Bytes),
    /// To a poll: nothing came within the window.
    Nothing,
    /// To a post: every message was taken.
    Taken,
    /// To a post: a message was not done within the window; what follows it was not taken.
    TimedOut,
    /// To a post: a message is above its limit; it and what follows it were not taken.
    TooLarge,
    /// There is no such session.
    Gone,
}

impl Answer {
    /// Writes the answer.
    pub fn encode(&self) -> Bytes {
        let (kind, list) = match self {
            Self::Working => (0, &[][..]),
            Self::Messages(list) => (1, &list[..]),
            Self::Nothing => (2, &[][..]),
            Self::Taken => (3, &[][..]),
            Self::TimedOut => (4, &[][..]),
            Self::TooLarge => (5, &[][..]),
            Self::Gone => (6, &[][..]),
        };
        [&[kind], list].concat().into()
    }

    /// Reads an answer; its messages share the bytes.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        match (*bytes.first()?, bytes.len()) {
            (0, 1) => Some(Self::Working),
            (1, 2..) => Some(Self::Messages(bytes.slice(1..))),
            (2, 1) => Some(Self::Nothing),
            (3, 1) => Some(Self::Taken),
            (4, 1) => Some(Self::TimedOut),
            (5, 1) => Some(Self::TooLarge),
            (6, 1) => Some(Self::Gone),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(what: What) -> Question {
        let socket = SocketId { slot: 1, serial: 2 };
        let session = SessionId { socket, secret: 3 };
        Question { session, what }
    }

    #[test]
    fn questions_have_exactly_these_bytes() {
        let head = b"\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03";
        assert_eq!(question(What::Poll).encode(), head[..]);
        let lines = question(What::Lines(Bytes::from_static(b"[]")));
        assert_eq!(lines.encode(), [b"\x02", &head[1..], b"[]"].concat());
    }

    #[test]
    fn answers_are_read_back() {
        for answer in [
            Answer::Working,
            Answer::Messages(Bytes::from_static(b"[\"\"]")),
            Answer::Nothing,
            Answer::Taken,
            Answer::TimedOut,
            Answer::TooLarge,
            Answer::Gone,
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind in 0u8..8) {
            let bytes = Bytes::from([&[kind], &bytes[..]].concat());
            if let Some(read) = Question::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes.clone());
            }
            if let Some(read) = Answer::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
