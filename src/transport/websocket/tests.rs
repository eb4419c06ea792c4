//! The reader of WebSockets, given its bytes in pieces of every size.
//!
//! The frames are written here by hand, so that no other implementation is trusted.

use super::*;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        long @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
        huge => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(huge as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ mask[i % 4]),
    );
    bytes
}

/// Reads bytes that come in pieces; returns the messages, and why it was closed.
fn read(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Option<CloseReason>) {
    let limits = Limits {
        frame_bytes: 70_000,
        message_bytes: 100_000,
        ..Limits::default()
    };
    let mut reader = WebSocketReader::default();
    let mut said = Vec::new();
    for piece in bytes.to_vec().chunks_mut(piece) {
        let mut input = piece;
        loop {
            match reader.next(&mut input, &limits) {
                Ok(Some(message)) => said.push(message),
                Ok(None) => break,
                Err(reason) => return (said, Some(reason)),
            }
        }
        assert!(input.is_empty());
    }
    assert!(reader.0.is_none_or(|held| held.frame.is_empty()));
    (said, None)
}

#[track_caller]
fn check(frames: &[Vec<u8>], expected: &[Incoming], reason: Option<CloseReason>) {
    let bytes = frames.concat();
    for piece in [1, 2, 3, 5, 7, 14, 64, 1024, bytes.len()] {
        let (said, why) = read(&bytes, piece);
        assert_eq!(why, reason, "in pieces of {piece}");
        assert!(said == expected, "in pieces of {piece}: {said:?}");
    }
}

fn text(text: &str) -> Incoming {
    Incoming::Text(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn messages_of_every_length_come_whole_however_they_are_cut() {
    for length in [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 70_000] {
        let long = "x".repeat(length);
        let sent = [frame(0x81, long.as_bytes()), frame(0x82, &[7; 3])];
        let bytes = Incoming::Binary(Bytes::from_static(&[7; 3]));
        check(&sent, &[text(&long), bytes], None);
    }
}

#[test]
fn fragments_are_put_together_around_control_frames() {
    let euro = "a€b".as_bytes();
    let sent = [
        frame(0x01, &euro[..2]),
        frame(0x89, b"ping"),
        frame(0x00, &euro[2..3]),
        frame(0x8a, b""),
        frame(0x80, &euro[3..]),
        frame(0x81, b"next"),
    ];
    let pong = Incoming::Ping(Bytes::from_static(b"\x8a\x04ping"));
    check(
        &sent,
        &[pong, Incoming::Pong, text("a€b"), text("next")],
        None,
    );
}

#[test]
fn a_close_is_answered_with_its_own_code() {
    let answered = |code, bytes: &'static [u8]| Incoming::Close(code, Bytes::from_static(bytes));
    check(&[frame(0x88, b"")], &[answered(None, b"\x88\x00")], None);
    let bye = frame(0x88, b"\x03\xe8bye");
    check(&[bye], &[answered(Some(1000), b"\x88\x02\x03\xe8")], None);
    let own = frame(0x88, &4001u16.to_be_bytes());
    check(&[own], &[answered(Some(4001), b"\x88\x02\x0f\xa1")], None);
}

#[test]
fn what_breaks_the_rules_is_closed_with_1002() {
    let unmasked = vec![0x81, 0x02, b'h', b'i'];
    let fragment = || frame(0x01, b"a");
    let cases: Vec<Vec<Vec<u8>>> = vec![
        vec![unmasked],
        vec![frame(0xc1, b"")],
        vec![frame(0x83, b"")],
        vec![frame(0x8b, b"")],
        vec![frame(0x80, b"tail")],
        vec![frame(0x09, b"")],
        vec![frame(0x89, &[0; 126])],
        vec![fragment(), frame(0x81, b"b")],
        vec![fragment(), frame(0x02, b"b")],
        vec![frame(0x88, b"\x03")],
        vec![frame(0x88, &999u16.to_be_bytes())],
        vec![frame(0x88, &1005u16.to_be_bytes())],
        vec![frame(0x88, &2999u16.to_be_bytes())],
        vec![frame(0x88, &5000u16.to_be_bytes())],
    ];
    for case in cases {
        check(&case, &[], Some(CloseReason::Protocol));
    }
}

#[test]
fn text_that_is_not_utf8_is_closed_with_1007_as_soon_as_it_shows() {
    let reason = Some(CloseReason::NotUtf8);
    check(&[frame(0x81, &[0xff, 0xfe])], &[], reason);
    check(&[frame(0x81, &[0xe2, 0x82])], &[], reason);
    check(&[frame(0x01, b"a"), frame(0x00, &[0xff])], &[], reason);
    check(&[frame(0x01, &[0xe2]), frame(0x80, &[0x82])], &[], reason);
    check(&[frame(0x88, b"\x03\xe8\xff")], &[], reason);
}

#[test]
fn what_is_above_a_limit_is_closed_with_1009_before_it_has_come() {
    let reason = Some(CloseReason::TooBig);
    let announced = frame(0x82, &[0; 70_001])[..HEADER_BYTES_MAX].to_vec();
    check(&[announced], &[], reason);
    let huge = [&[0x82, 0xff][..], &[0xff; 8]].concat();
    check(&[huge], &[], reason);
    let part = [b' '; 50_000];
    let parts = [frame(0x01, &part), frame(0x00, &part), frame(0x80, b" ")];
    check(&parts, &[], reason);
}

#[test]
fn nothing_is_held_between_messages() {
    let mut reader = WebSocketReader::default();
    let limits = Limits::default();
    let sent = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x81, b"c")].concat();
    for piece in [1, 4, sent.len()] {
        for part in sent.clone().chunks_mut(piece) {
            let mut input = part;
            while let Ok(Some(_)) = reader.next(&mut input, &limits) {}
        }
        assert!(reader.0.is_none(), "in pieces of {piece}");
    }
}
