//! The envelope's exact bytes, both ways, and noise.
//!
//! The bytes may not change without a new version.

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
const TAIL: &[u8] =
    b"\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02ep\x00\x00\x00\x03new\x00\x00\x00\x00\x02{}";

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
        any::<(u64, u64, u32, Vec<u8>)>().prop_map(|(from, request, worker, bytes)| {
            Letter::Ask {
                from,
                request,
                worker,
                question: bytes.into(),
            }
        }),
        any::<(u64, Vec<u8>)>().prop_map(|(request, bytes)| Letter::Answer {
            request,
            answer: bytes.into(),
        }),
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
    fn any_bytes_are_read_or_refused(noise: Vec<u8>, kind in 0u8..8, lead: bool) {
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
