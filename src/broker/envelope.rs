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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(letter: Letter) -> Envelope {
        Envelope {
            incarnation: 0x0102_0304_0506_0708,
            sequence: 9,
            previous: 7,
            nth: 3,
            accepted_at: -2,
            topic: "room:a".try_into().unwrap(),
            letter,
        }
    }

    fn check(bytes: Vec<u8>, expected: EnvelopeError) {
        assert_eq!(Envelope::decode(&Bytes::from(bytes)), Err(expected));
    }

    const HEAD: &[u8] = b"\xFA\x01\x02\
        \x01\x02\x03\x04\x05\x06\x07\x08\
        \x00\x00\x00\x00\x00\x00\x00\x09\
        \x00\x00\x00\x00\x00\x00\x00\x07\
        \x00\x00\x00\x00\x00\x00\x00\x03\
        \xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE\
        \x00\x00\x00\x06room:a";
    const TAIL: &[u8] = b"\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02ep\x00\x00\x00\x03new\x00\x00\x00\x00\x02{}";

    #[test]
    fn version_1_has_exactly_these_bytes() {
        let record = envelope(Letter::Record {
            id: 5,
            epoch: String::from("ep"),
            event: String::from("new"),
            payload: Payload::EMPTY,
        });
        assert_eq!(record.encode().unwrap(), [HEAD, TAIL].concat());
    }

    #[test]
    fn what_is_not_exactly_one_envelope_is_refused() {
        let whole = [HEAD, TAIL].concat();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            bytes
        };
        check(vec![], EnvelopeError::Short);
        check(with(0, b'{'), EnvelopeError::Magic);
        check(with(1, 2), EnvelopeError::Version(2));
        check(with(2, 0), EnvelopeError::Kind(0));
        check(with(2, 9), EnvelopeError::Kind(9));
        check(with(HEAD.len() - 1, 0xFF), EnvelopeError::Text);
        check(with(whole.len() - 1, 0xFF), EnvelopeError::Text);
        check(with(whole.len() - 7, 2), EnvelopeError::Encoding(2));
        check(with(HEADER_BYTES, 0xFF), EnvelopeError::Short);
        check([&whole[..], b"x"].concat(), EnvelopeError::Long);
        for end in 0..whole.len() {
            check(whole[..end].to_vec(), EnvelopeError::Short);
        }
        let no_topic = [&HEAD[..HEADER_BYTES], b"\x00\x00\x00\x00", TAIL].concat();
        check(no_topic, EnvelopeError::Topic);
    }

    #[test]
    fn a_payload_shares_the_received_bytes() {
        let payload = Payload::Binary(Bytes::from(vec![7u8; 4096]));
        let sent = envelope(Letter::Broadcast {
            event: String::from("e"),
            payload,
        });
        let bytes = sent.encode().unwrap();
        let Letter::Broadcast {
            payload: Payload::Binary(read),
            ..
        } = Envelope::decode(&bytes).unwrap().letter
        else {
            panic!("another letter");
        };
        assert!(bytes.as_ptr_range().contains(&read.as_ptr()));
    }

    fn payloads() -> impl Strategy<Value = Payload> {
        prop_oneof![
            ".*".prop_map(|text| Payload::json(text.into_bytes())),
            any::<Vec<u8>>().prop_map(|bytes| Payload::Binary(bytes.into())),
        ]
    }

    fn letters() -> impl Strategy<Value = Letter> {
        prop_oneof![
            (".*", payloads()).prop_map(|(event, payload)| Letter::Broadcast { event, payload }),
            (any::<u64>(), ".*", ".*", payloads()).prop_map(|(id, epoch, event, payload)| {
                Letter::Record {
                    id,
                    epoch,
                    event,
                    payload,
                }
            }),
            ".*".prop_map(|socket_id| Letter::Disconnect { socket_id }),
            any::<Vec<u8>>().prop_map(|bytes| Letter::Presence(bytes.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            (incarnation, sequence, previous, nth, accepted_at) in any::<(u64, u64, u64, u64, i64)>(),
            topic in ".+",
            letter in letters(),
        ) {
            let topic = Topic::parse(&topic, usize::MAX).unwrap();
            let sent = Envelope { incarnation, sequence, previous, nth, accepted_at, topic, letter };
            let bytes = sent.encode().unwrap();
            prop_assert_eq!(Envelope::incarnation(&bytes), Some(incarnation));
            prop_assert_eq!(Envelope::decode(&bytes), Ok(sent));
        }

        #[test]
        fn any_bytes_are_read_or_refused(noise: Vec<u8>, kind in 0u8..6, lead: bool) {
            let bytes = match lead {
                true => [&[MAGIC, VERSION, kind][..], &noise].concat(),
                false => noise,
            };
            let bytes = Bytes::from(bytes);
            // What is accepted is written back to the same bytes: there is one form only.
            if let Ok(read) = Envelope::decode(&bytes) {
                prop_assert_eq!(read.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn a_flipped_byte_never_panics(letter in letters(), at: prop::sample::Index, byte: u8) {
            let mut bytes = envelope(letter).encode().unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Envelope::decode(&Bytes::from(bytes));
        }
    }
}
