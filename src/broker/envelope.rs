//! The envelope: a letter between nodes in a versioned binary form.
//!
//! Reading is total: it never panics and never allocates by a length that somebody claims.
//! Payloads are slices of what was received.
//!
//! ```text
//! magic 0xFA · version 1 · kind · incarnation u64 · sequence u64 · previous u64 · nth u64 · accepted_at i64 · topic text
//! kind 1 broadcast:  event text · payload
//! kind 2 record:     id u64 · epoch text · event text · payload
//! kind 3 disconnect: socket_id text
//! kind 4 presence:   blob
//! kind 5 ask:        from u64 · request u64 · worker u32 · question blob
//! kind 6 answer:     request u64 · answer blob
//! kind 128 and above: what brokers tell each other, see `repair::message`
//! text, blob: length u32 · bytes      payload: 0 JSON or 1 binary · blob      integers: big-endian
//! ```

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::Letter;
use crate::clock::UnixMicros;
use crate::protocol::{Payload, Topic};

pub(super) const MAGIC: u8 = 0xFA;
pub(super) const VERSION: u8 = 1;
/// Bytes before the topic.
const HEADER_BYTES: usize = 3 + 5 * 8;
/// Where the incarnation starts.
const INCARNATION_AT: usize = 3;

const BROADCAST: u8 = 1;
const RECORD: u8 = 2;
const DISCONNECT: u8 = 3;
const PRESENCE: u8 = 4;
const ASK: u8 = 5;
const ANSWER: u8 = 6;

const JSON: u8 = 0;
const BINARY: u8 = 1;

/// A letter with its origin and its place among what the origin published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Random number of the process that published it.
    pub incarnation: u64,
    /// The origin's count of everything it published, from 1.
    pub sequence: u64,
    /// The sequence of what the origin published on this topic before; 0 when it knows of nothing.
    pub previous: u64,
    /// The origin's count of what it published on this topic, from 1; it starts anew where `previous` is 0.
    pub nth: u64,
    /// When the origin accepted it, by its clock.
    pub accepted_at: UnixMicros,
    /// The topic it was published on.
    pub topic: Topic,
    /// What is said.
    pub letter: Letter,
}

/// Why bytes are not an envelope, or a letter does not fit in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The first byte is not the envelope's.
    Magic,
    /// The version is not one this node reads.
    Version(u8),
    /// The kind is not one this version has.
    Kind(u8),
    /// The payload is neither JSON nor binary.
    Encoding(u8),
    /// The bytes end before the envelope does.
    Short,
    /// The bytes go on after the envelope's end.
    Long,
    /// A text is not UTF-8.
    Text,
    /// The topic is empty.
    Topic,
    /// A field is longer than 4 GiB.
    TooLarge,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not an envelope"),
            Self::Version(version) => write!(f, "unknown envelope version {version}"),
            Self::Kind(kind) => write!(f, "unknown envelope kind {kind}"),
            Self::Encoding(encoding) => write!(f, "unknown payload encoding {encoding}"),
            Self::Short => f.write_str("the envelope is cut off"),
            Self::Long => f.write_str("bytes follow the envelope"),
            Self::Text => f.write_str("a text of the envelope is not utf-8"),
            Self::Topic => f.write_str("the envelope has no topic"),
            Self::TooLarge => f.write_str("a field does not fit in an envelope"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

impl Envelope {
    /// Writes the envelope.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLarge`] when a field is longer than 4 GiB.
    pub fn encode(&self) -> Result<Bytes, EnvelopeError> {
        self.encode_in(BytesMut::with_capacity(self.size()))
            .map(|(bytes, _)| bytes)
    }

    /// Returns about how many bytes the envelope has when it is written.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.topic.as_str().len() + 32 + self.letter.len()
    }

    /// Writes the envelope at an empty buffer's start; also returns the room that is left.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLarge`] when a field is longer than 4 GiB.
    pub fn encode_in(&self, mut out: BytesMut) -> Result<(Bytes, BytesMut), EnvelopeError> {
        out.put_u8(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(kind(&self.letter));
        out.put_u64(self.incarnation);
        out.put_u64(self.sequence);
        out.put_u64(self.previous);
        out.put_u64(self.nth);
        out.put_i64(self.accepted_at);
        put(&mut out, self.topic.as_str().as_bytes())?;
        match &self.letter {
            Letter::Broadcast { event, payload } => {
                put(&mut out, event.as_bytes())?;
                put_payload(&mut out, payload)?;
            }
            Letter::Record {
                id,
                epoch,
                event,
                payload,
            } => {
                out.put_u64(*id);
                put(&mut out, epoch.as_bytes())?;
                put(&mut out, event.as_bytes())?;
                put_payload(&mut out, payload)?;
            }
            Letter::Disconnect { socket_id } => put(&mut out, socket_id.as_bytes())?,
            Letter::Presence(change) => put(&mut out, change)?,
            Letter::Ask {
                from,
                request,
                worker,
                question,
            } => {
                out.put_u64(*from);
                out.put_u64(*request);
                out.put_u32(*worker);
                put(&mut out, question)?;
            }
            Letter::Answer { request, answer } => {
                out.put_u64(*request);
                put(&mut out, answer)?;
            }
        }
        Ok((out.split().freeze(), out))
    }

    /// Reads an envelope; its payload shares the bytes.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the bytes are not exactly one envelope of a known version and kind.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            MAGIC => {}
            _ => return Err(EnvelopeError::Magic),
        }
        match reader.u8()? {
            VERSION => {}
            version => return Err(EnvelopeError::Version(version)),
        }
        let kind = reader.u8()?;
        let incarnation = reader.u64()?;
        let sequence = reader.u64()?;
        let previous = reader.u64()?;
        let nth = reader.u64()?;
        let accepted_at = reader.i64()?;
        let topic = reader.topic()?;
        let letter = match kind {
            BROADCAST => Letter::Broadcast {
                event: reader.text()?,
                payload: reader.payload()?,
            },
            RECORD => Letter::Record {
                id: reader.u64()?,
                epoch: reader.text()?,
                event: reader.text()?,
                payload: reader.payload()?,
            },
            DISCONNECT => Letter::Disconnect {
                socket_id: reader.text()?,
            },
            PRESENCE => Letter::Presence(reader.blob()?),
            ASK => Letter::Ask {
                from: reader.u64()?,
                request: reader.u64()?,
                worker: u32::from_be_bytes(reader.array()?),
                question: reader.blob()?,
            },
            ANSWER => Letter::Answer {
                request: reader.u64()?,
                answer: reader.blob()?,
            },
            unknown => return Err(EnvelopeError::Kind(unknown)),
        };
        reader.end()?;
        Ok(Self {
            incarnation,
            sequence,
            previous,
            nth,
            accepted_at,
            topic,
            letter,
        })
    }

    /// Reads only who sent an envelope, so that a node can drop its own without reading on.
    pub fn incarnation(bytes: &[u8]) -> Option<u64> {
        let (head, rest) = bytes.split_at_checked(INCARNATION_AT)?;
        match head {
            [MAGIC, VERSION, _] => rest.first_chunk().map(|raw| u64::from_be_bytes(*raw)),
            _ => None,
        }
    }
}

impl Letter {
    /// Returns about how many bytes the letter has on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Broadcast { event, payload } => event.len() + payload.len(),
            Self::Record {
                epoch,
                event,
                payload,
                ..
            } => epoch.len() + event.len() + payload.len(),
            Self::Disconnect { socket_id } => socket_id.len(),
            Self::Presence(change) => change.len(),
            Self::Ask { question, .. } => question.len(),
            Self::Answer { answer, .. } => answer.len(),
        }
    }

    /// Says whether the letter has no bytes besides its kind.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn kind(letter: &Letter) -> u8 {
    match letter {
        Letter::Broadcast { .. } => BROADCAST,
        Letter::Record { .. } => RECORD,
        Letter::Disconnect { .. } => DISCONNECT,
        Letter::Presence(_) => PRESENCE,
        Letter::Ask { .. } => ASK,
        Letter::Answer { .. } => ANSWER,
    }
}

pub(super) fn put(out: &mut BytesMut, bytes: &[u8]) -> Result<(), EnvelopeError> {
    out.put_u32(u32::try_from(bytes.len()).map_err(|_| EnvelopeError::TooLarge)?);
    out.put_slice(bytes);
    Ok(())
}

fn put_payload(out: &mut BytesMut, payload: &Payload) -> Result<(), EnvelopeError> {
    let (encoding, bytes) = match payload {
        Payload::Json(bytes) => (JSON, bytes),
        Payload::Binary(bytes) => (BINARY, bytes),
    };
    out.put_u8(encoding);
    put(out, bytes)
}

/// Reads forward through an envelope; every step checks that the bytes are there.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Checks that everything was read.
    pub(super) fn end(&self) -> Result<(), EnvelopeError> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(EnvelopeError::Long),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EnvelopeError> {
        let rest = self.bytes.get(self.at..).ok_or(EnvelopeError::Short)?;
        let array = rest.first_chunk::<N>().ok_or(EnvelopeError::Short)?;
        self.at += N;
        Ok(*array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, EnvelopeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, EnvelopeError> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, EnvelopeError> {
        self.array().map(i64::from_be_bytes)
    }

    fn blob(&mut self) -> Result<Bytes, EnvelopeError> {
        let claimed = u32::from_be_bytes(self.array()?);
        let length = usize::try_from(claimed).map_err(|_| EnvelopeError::Short)?;
        let end = self.at.checked_add(length).ok_or(EnvelopeError::Short)?;
        if end > self.bytes.len() {
            return Err(EnvelopeError::Short);
        }
        let blob = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(blob)
    }

    fn text(&mut self) -> Result<String, EnvelopeError> {
        let blob = self.blob()?;
        let text = std::str::from_utf8(&blob).map_err(|_| EnvelopeError::Text)?;
        Ok(text.to_owned())
    }

    pub(super) fn topic(&mut self) -> Result<Topic, EnvelopeError> {
        let blob = self.blob()?;
        let text = std::str::from_utf8(&blob).map_err(|_| EnvelopeError::Text)?;
        // The origin checked it against the configured limit; here it must only exist.
        Topic::parse(text, usize::MAX).map_err(|_| EnvelopeError::Topic)
    }

    fn payload(&mut self) -> Result<Payload, EnvelopeError> {
        match self.u8()? {
            JSON => {
                let blob = self.blob()?;
                std::str::from_utf8(&blob).map_err(|_| EnvelopeError::Text)?;
                Ok(Payload::Json(blob))
            }
            BINARY => self.blob().map(Payload::Binary),
            unknown => Err(EnvelopeError::Encoding(unknown)),
        }
    }
}

#[cfg(test)]
mod tests;
