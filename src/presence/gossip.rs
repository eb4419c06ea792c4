//! What nodes tell each other about presences, as bytes.
//!
//! Decoding is total: it never panics, and never allocates by a length that was only claimed.

use std::fmt;

use bytes::Bytes;

use super::entry::{Entry, Key, Meta};
use crate::protocol::Topic;

/// Longest message between nodes, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// First byte of every message; another one is not read.
const FORMAT: u8 = 1;

/// Bytes of a message around its changes, at most.
pub(super) const FRAME_BYTES: usize = 40;

/// The end of a snapshot's last range.
pub(super) const END: u64 = u64::MAX;

/// What a node can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gossip {
    /// What changed after version `from`, up to `to`; only the last change of each presence.
    Delta {
        from: u64,
        to: u64,
        changes: Vec<Change>,
    },
    /// At `version`, the presences numbered `first` to before `end` are exactly these.
    Snapshot {
        version: u64,
        first: u64,
        end: u64,
        all: Vec<Own>,
    },
    /// The node lives, and this is its state; `ask` wants the same from everyone.
    Heartbeat {
        version: u64,
        count: u64,
        digest: u64,
        ask: bool,
    },
    /// The node `target` should repeat its changes after `from`; `None`: send a snapshot.
    Request { target: u64, from: Option<u64> },
    /// The node ends; all of its presences leave.
    Goodbye,
}

/// One presence of the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) seq: u64,
    pub(super) topic: Topic,
    pub(super) key: Key,
    pub(super) entry: Entry,
}

/// One change of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Tracked or updated.
    Set(Own),
    /// Gone.
    Gone { seq: u64 },
}

/// A message that is none, or is of a later format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed presence message")
    }
}

impl std::error::Error for Malformed {}

impl Own {
    /// Returns how many bytes it takes in a message.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            self.topic.as_str(),
            self.key.as_str(),
            self.entry.meta.as_str(),
        ];
        1 + 3 * 8 + 2 + 1 + 2 + texts.map(str::len).iter().sum::<usize>()
    }
}

impl Change {
    /// Returns how many bytes it takes in a message.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Set(own) => own.bytes(),
            Self::Gone { .. } => 9,
        }
    }
}

/// Returns a presence's part of the digest of its node's state; parts are joined by XOR.
pub(super) fn digest(seq: u64, version: u64) -> u64 {
    // The finaliser of SplitMix64 spreads every bit; the parts of a state then hardly cancel out.
    let mut x = seq
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(version)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Gossip {
    /// Writes the message of a node.
    pub(super) fn encode(&self, node: u64) -> Bytes {
        let mut out = vec![FORMAT, self.kind()];
        put(&mut out, &[node]);
        match self {
            Self::Delta { from, to, changes } => {
                put(&mut out, &[*from, *to]);
                for change in changes {
                    match change {
                        Change::Set(own) => write_own(own, &mut out),
                        Change::Gone { seq } => {
                            out.push(0);
                            put(&mut out, &[*seq]);
                        }
                    }
                }
            }
            Self::Snapshot {
                version,
                first,
                end,
                all,
            } => {
                put(&mut out, &[*version, *first, *end]);
                for own in all {
                    write_own(own, &mut out);
                }
            }
            Self::Heartbeat {
                version,
                count,
                digest,
                ask,
            } => {
                put(&mut out, &[*version, *count, *digest]);
                out.push(u8::from(*ask));
            }
            // Versions never get near the end, which therefore says "none".
            Self::Request { target, from } => put(&mut out, &[*target, from.unwrap_or(END)]),
            Self::Goodbye => {}
        }
        Bytes::from(out)
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Delta { .. } => 1,
            Self::Snapshot { .. } => 2,
            Self::Heartbeat { .. } => 3,
            Self::Request { .. } => 4,
            Self::Goodbye => 5,
        }
    }

    /// Reads a message: who says what.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not exactly one message of at most [`MESSAGE_BYTES_MAX`].
    pub(super) fn decode(bytes: &[u8]) -> Result<(u64, Self), Malformed> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        let mut rest = Rest(bytes);
        if rest.byte()? != FORMAT {
            return Err(Malformed);
        }
        let kind = rest.byte()?;
        let node = rest.number()?;
        let gossip = match kind {
            1 => Self::Delta {
                from: rest.number()?,
                to: rest.number()?,
                changes: rest.until_empty(Rest::change)?,
            },
            2 => Self::Snapshot {
                version: rest.number()?,
                first: rest.number()?,
                end: rest.number()?,
                all: rest.until_empty(|rest| match rest.change()? {
                    Change::Set(own) => Ok(own),
                    Change::Gone { .. } => Err(Malformed),
                })?,
            },
            3 => Self::Heartbeat {
                version: rest.number()?,
                count: rest.number()?,
                digest: rest.number()?,
                ask: rest.byte()? != 0,
            },
            4 => Self::Request {
                target: rest.number()?,
                from: Some(rest.number()?).filter(|from| *from != END),
            },
            5 => Self::Goodbye,
            _ => return Err(Malformed),
        };
        rest.0.is_empty().then_some((node, gossip)).ok_or(Malformed)
    }
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_own(own: &Own, out: &mut Vec<u8>) {
    out.push(1);
    put(out, &[own.seq, own.entry.version, own.entry.prev]);
    // A key has at most 255 bytes and a meta 4 KiB; a longer topic is refused when it is tracked.
    for text in [own.topic.as_str(), own.entry.meta.as_str()] {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
    }
    out.push(u8::try_from(own.key.as_str().len()).unwrap_or(u8::MAX));
    out.extend_from_slice(own.key.as_str().as_bytes());
}

/// The bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<usize, Malformed> {
        let raw = self.take(2)?;
        Ok(usize::from(u16::from_be_bytes([raw[0], raw[1]])))
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let raw = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(u64::from_be_bytes(raw))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    /// Reads items to the end; each takes at least 9 bytes, so that memory follows the input.
    fn until_empty<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let mut items = Vec::new();
        while !self.0.is_empty() {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn change(&mut self) -> Result<Change, Malformed> {
        match self.byte()? {
            0 => Ok(Change::Gone {
                seq: self.number()?,
            }),
            1 => {
                let [seq, version, prev] = [self.number()?, self.number()?, self.number()?];
                let length = self.short()?;
                let topic = Topic::parse(self.text(length)?, usize::from(u16::MAX));
                let length = self.short()?;
                let meta = Meta::parse(self.take(length)?).ok_or(Malformed)?;
                let length = usize::from(self.byte()?);
                let key = Key::parse(self.text(length)?).ok_or(Malformed)?;
                Ok(Change::Set(Own {
                    seq,
                    topic: topic.map_err(|_| Malformed)?,
                    key,
                    entry: Entry {
                        version,
                        prev,
                        meta,
                    },
                }))
            }
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn own() -> impl Strategy<Value = Own> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
        (numbers, "[a-zé:]{1,40}", "k[a-z]{0,254}", "[a-zü]{0,90}").prop_map(
            |((seq, version, prev), topic, key, value)| Own {
                seq,
                topic: Topic::try_from(topic.as_str()).unwrap(),
                key: Key::parse(&key).unwrap(),
                entry: Entry {
                    version,
                    prev,
                    meta: Meta::parse(format!("{{\"v\":\"{value}\"}}").as_bytes()).unwrap(),
                },
            },
        )
    }

    fn gossip() -> impl Strategy<Value = Gossip> {
        let change = prop_oneof![
            own().prop_map(Change::Set),
            any::<u64>().prop_map(|seq| Change::Gone { seq }),
        ];
        let n = any::<u64>;
        prop_oneof![
            (n(), n(), vec(change, 0..8)).prop_map(|(from, to, changes)| Gossip::Delta {
                from,
                to,
                changes
            }),
            (n(), n(), n(), vec(own(), 0..8)).prop_map(|(version, first, end, all)| {
                Gossip::Snapshot {
                    version,
                    first,
                    end,
                    all,
                }
            }),
            (n(), n(), n(), any::<bool>()).prop_map(|(version, count, digest, ask)| {
                Gossip::Heartbeat {
                    version,
                    count,
                    digest,
                    ask,
                }
            }),
            (n(), proptest::option::of(0..END))
                .prop_map(|(target, from)| Gossip::Request { target, from }),
            Just(Gossip::Goodbye),
        ]
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(node: u64, gossip in gossip()) {
            let bytes = gossip.encode(node);
            let changes: usize = match &gossip {
                Gossip::Delta { changes, .. } => changes.iter().map(Change::bytes).sum(),
                Gossip::Snapshot { all, .. } => all.iter().map(Own::bytes).sum(),
                Gossip::Heartbeat { .. } | Gossip::Request { .. } | Gossip::Goodbye => 0,
            };
            prop_assert!(bytes.len() <= FRAME_BYTES + changes);
            prop_assert_eq!(Gossip::decode(&bytes), Ok((node, gossip)));
        }

        #[test]
        fn damaged_bytes_never_panic(node: u64, gossip in gossip(), at: usize, byte: u8, cut: usize) {
            let mut bytes = gossip.encode(node).to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Gossip::decode(&bytes);
            let _ = Gossip::decode(&bytes[..cut % bytes.len()]);
        }

        #[test]
        fn noise_never_panics(kind in 0u8..8, noise in vec(any::<u8>(), 0..300)) {
            let bytes = [&[FORMAT, kind][..], &noise].concat();
            let _ = Gossip::decode(&bytes);
            let _ = Gossip::decode(&noise);
        }
    }

    #[test]
    fn every_prefix_and_every_tail_is_malformed() {
        let bytes = Gossip::Request {
            target: 1,
            from: None,
        }
        .encode(7);
        for length in 0..bytes.len() {
            assert_eq!(Gossip::decode(&bytes[..length]), Err(Malformed));
        }
        assert_eq!(Gossip::decode(&[&bytes[..], b"x"].concat()), Err(Malformed));
        assert_eq!(
            Gossip::decode(&vec![1; MESSAGE_BYTES_MAX + 1]),
            Err(Malformed)
        );
        let later = [&[FORMAT + 1][..], &bytes[1..]].concat();
        assert_eq!(Gossip::decode(&later), Err(Malformed));
    }
}
