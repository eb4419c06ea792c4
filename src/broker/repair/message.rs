//! What brokers tell each other to find and fill holes, in a versioned binary form.
//!
//! Reading is total, as with envelopes. None of it is ever handed to the node.
//!
//! ```text
//! magic 0xFA · version 1 · kind · incarnation u64
//! kind 128 announcement: number u64 · count u32 · (topic · position)*
//! kind 129 inquiry:      round u64 · count u32 · (topic · age_us u64)*
//! kind 130 standing:     round u64 · announced u64 · count u32 · (topic · age_us u64 · baseline position · complete u8 · newest position)*
//! kind 131 request:      count u32 · (topic · after u64 · until u64)*
//! kind 132 outcome:      count u32 · (topic · gone position)*
//! kind 133 probe:        number u64
//! kind 134 leaving
//! topic: length u32 · bytes      position: sequence u64 · nth u64      integers: big-endian
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::broker::envelope::{EnvelopeError, MAGIC, Reader, VERSION, put};
use crate::broker::sequence::Position;
use crate::protocol::Topic;

const ANNOUNCEMENT: u8 = 128;
const INQUIRY: u8 = 129;
const STANDING: u8 = 130;
const REQUEST: u8 = 131;
const OUTCOME: u8 = 132;
const PROBE: u8 = 133;
const LEAVING: u8 = 134;

/// A topic that is asked for in an inquiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The topic.
    pub topic: Topic,
    /// What was published longer ago than this, in microseconds, is not wanted.
    pub age_us: u64,
}

/// Where an origin stands on a topic, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The topic.
    pub topic: Topic,
    /// The age that was asked for, in microseconds.
    pub age_us: u64,
    /// The newest that Redis surely had that long ago.
    pub baseline: Position,
    /// The origin remembers far enough; else older publishes may be wanted and are gone.
    pub complete: bool,
    /// The newest.
    pub newest: Position,
}

/// Letters of a topic that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The topic.
    pub topic: Topic,
    /// The sequence of the last that arrived.
    pub after: u64,
    /// The sequence of the last that is missing.
    pub until: u64,
}

/// What came of a request, sent after the letters themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resent {
    /// The topic.
    pub topic: Topic,
    /// What is missing up to here cannot be sent again; sequence 0: nothing of it is gone.
    pub gone: Position,
}

/// What one broker tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The newest publishes on topics, to all; without any it is a sign of life.
    Announcement {
        /// The origin's count of its announcements, so that a lost one is noticed.
        number: u64,
        /// The topics.
        topics: Vec<(Topic, Position)>,
    },
    /// Where do you stand on these topics?
    Inquiry {
        /// Comes back in the answer.
        round: u64,
        /// The topics.
        topics: Vec<Asked>,
    },
    /// Topics of an inquiry on which the origin has published.
    Standing {
        /// The inquiry's.
        round: u64,
        /// The number of the origin's last announcement, which was said before this; 0: none yet.
        announced: u64,
        /// Only those with a publish.
        topics: Vec<Standing>,
    },
    /// Send these again.
    Request(Vec<Missing>),
    /// They were sent again, or are gone.
    Outcome(Vec<Resent>),
    /// To itself, through Redis: does the link that listens hear the link that publishes?
    Probe(u64),
    /// The origin publishes nothing any more.
    Leaving,
}

impl Message {
    /// Says whether bytes are of this kind, and not a letter.
    pub fn is(bytes: &[u8]) -> bool {
        matches!(bytes, [MAGIC, VERSION, ANNOUNCEMENT..=LEAVING, ..])
    }

    /// Writes the message of a node.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLarge`] when a field is longer than 4 GiB.
    pub fn encode(&self, incarnation: u64) -> Result<Bytes, EnvelopeError> {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.kind());
        out.put_u64(incarnation);
        match self {
            Self::Announcement { number, topics } => {
                out.put_u64(*number);
                list(&mut out, topics, |out, (topic, position)| {
                    put(out, topic.as_str().as_bytes())?;
                    put_position(out, *position);
                    Ok(())
                })?;
            }
            Self::Inquiry { round, topics } => {
                out.put_u64(*round);
                list(&mut out, topics, |out, asked| {
                    put(out, asked.topic.as_str().as_bytes())?;
                    out.put_u64(asked.age_us);
                    Ok(())
                })?;
            }
            Self::Standing {
                round,
                announced,
                topics,
            } => {
                out.put_u64(*round);
                out.put_u64(*announced);
                list(&mut out, topics, |out, standing| {
                    put(out, standing.topic.as_str().as_bytes())?;
                    out.put_u64(standing.age_us);
                    put_position(out, standing.baseline);
                    out.put_u8(u8::from(standing.complete));
                    put_position(out, standing.newest);
                    Ok(())
                })?;
            }
            Self::Request(topics) => list(&mut out, topics, |out, missing| {
                put(out, missing.topic.as_str().as_bytes())?;
                out.put_u64(missing.after);
                out.put_u64(missing.until);
                Ok(())
            })?,
            Self::Outcome(topics) => list(&mut out, topics, |out, resent| {
                put(out, resent.topic.as_str().as_bytes())?;
                put_position(out, resent.gone);
                Ok(())
            })?,
            Self::Probe(number) => out.put_u64(*number),
            Self::Leaving => {}
        }
        Ok(out.freeze())
    }

    /// Reads a message and who sent it.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the bytes are not exactly one message of a known version and kind.
    pub fn decode(bytes: &Bytes) -> Result<(u64, Self), EnvelopeError> {
        let mut reader = Reader::new(bytes);
        match (reader.u8()?, reader.u8()?) {
            (MAGIC, VERSION) => {}
            (MAGIC, version) => return Err(EnvelopeError::Version(version)),
            _ => return Err(EnvelopeError::Magic),
        }
        let kind = reader.u8()?;
        let incarnation = reader.u64()?;
        let message = read(kind, &mut reader)?;
        reader.end()?;
        Ok((incarnation, message))
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Announcement { .. } => ANNOUNCEMENT,
            Self::Inquiry { .. } => INQUIRY,
            Self::Standing { .. } => STANDING,
            Self::Request(_) => REQUEST,
            Self::Outcome(_) => OUTCOME,
            Self::Probe(_) => PROBE,
            Self::Leaving => LEAVING,
        }
    }
}

fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Message, EnvelopeError> {
    Ok(match kind {
        ANNOUNCEMENT => Message::Announcement {
            number: reader.u64()?,
            topics: many(reader, |reader| Ok((reader.topic()?, position(reader)?)))?,
        },
        INQUIRY => Message::Inquiry {
            round: reader.u64()?,
            topics: many(reader, |reader| {
                Ok(Asked {
                    topic: reader.topic()?,
                    age_us: reader.u64()?,
                })
            })?,
        },
        STANDING => Message::Standing {
            round: reader.u64()?,
            announced: reader.u64()?,
            topics: many(reader, |reader| {
                Ok(Standing {
                    topic: reader.topic()?,
                    age_us: reader.u64()?,
                    baseline: position(reader)?,
                    complete: reader.u8()? != 0,
                    newest: position(reader)?,
                })
            })?,
        },
        REQUEST => Message::Request(many(reader, |reader| {
            Ok(Missing {
                topic: reader.topic()?,
                after: reader.u64()?,
                until: reader.u64()?,
            })
        })?),
        OUTCOME => Message::Outcome(many(reader, |reader| {
            Ok(Resent {
                topic: reader.topic()?,
                gone: position(reader)?,
            })
        })?),
        PROBE => Message::Probe(reader.u64()?),
        LEAVING => Message::Leaving,
        unknown => return Err(EnvelopeError::Kind(unknown)),
    })
}

fn list<T>(
    out: &mut BytesMut,
    items: &[T],
    item: impl Fn(&mut BytesMut, &T) -> Result<(), EnvelopeError>,
) -> Result<(), EnvelopeError> {
    out.put_u32(u32::try_from(items.len()).map_err(|_| EnvelopeError::TooLarge)?);
    items.iter().try_for_each(|one| item(out, one))
}

/// Reads as many items as are said to follow; each takes bytes, so that a false count soon ends.
fn many<T>(
    reader: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<T, EnvelopeError>,
) -> Result<Vec<T>, EnvelopeError> {
    let count = u32::from_be_bytes(reader.array()?);
    (0..count).map(|_| item(reader)).collect()
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64(position.sequence);
    out.put_u64(position.nth);
}

fn position(reader: &mut Reader<'_>) -> Result<Position, EnvelopeError> {
    Ok(Position {
        sequence: reader.u64()?,
        nth: reader.u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(number: u64, name: &str) -> Vec<Message> {
        let topic: Topic = name.try_into().unwrap();
        let at = Position {
            sequence: number,
            nth: number ^ 7,
        };
        let standing = Standing {
            topic: topic.clone(),
            age_us: number,
            baseline: at,
            complete: number.is_multiple_of(2),
            newest: at,
        };
        let asked = Asked {
            topic: topic.clone(),
            age_us: number,
        };
        let missing = Missing {
            topic: topic.clone(),
            after: number,
            until: 9,
        };
        let resent = Resent {
            topic: topic.clone(),
            gone: at,
        };
        let (round, n) = (number, usize::try_from(number % 4).unwrap());
        vec![
            Message::Announcement {
                number,
                topics: vec![(topic, at); n],
            },
            Message::Inquiry {
                round,
                topics: vec![asked; n],
            },
            Message::Standing {
                round,
                announced: number ^ 3,
                topics: vec![standing; n],
            },
            Message::Request(vec![missing; n]),
            Message::Outcome(vec![resent; n]),
            Message::Probe(number),
            Message::Leaving,
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64, incarnation: u64, name in ".{1,9}") {
            for message in samples(number, &name) {
                let bytes = message.encode(incarnation).unwrap();
                prop_assert!(Message::is(&bytes));
                prop_assert_eq!(Message::decode(&bytes), Ok((incarnation, message)));
                for end in 0..bytes.len() {
                    prop_assert!(Message::decode(&bytes.slice(..end)).is_err());
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(noise: Vec<u8>, kind in ANNOUNCEMENT..=LEAVING) {
            let bytes = [&[MAGIC, VERSION, kind][..], &noise].concat();
            let _ = Message::decode(&Bytes::from(bytes));
        }
    }
}
