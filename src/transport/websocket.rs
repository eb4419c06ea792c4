//! How a WebSocket is read: bytes to messages, by the rules of RFC 6455 for a server.
//!
//! It does no I/O, and holds no memory unless a frame or a message has come in part.

use bytes::Bytes;

use crate::limits::Limits;
use crate::protocol::CloseReason;

/// The largest header of a client's frame: 2 bytes, a 64-bit length and the mask.
const HEADER_BYTES_MAX: usize = 14;

/// The most payload bytes of a ping, a pong or a close.
const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message of text.
    Text(Bytes),
    /// A whole message of bytes.
    Binary(Bytes),
    /// A ping, with the frame that answers it.
    Ping(Bytes),
    /// A pong, which asks for nothing.
    Pong,
    /// A close with its code, if it had one, and the frame that answers it. Nothing follows.
    Close(Option<u16>, Bytes),
}

/// The opcodes of RFC 6455, 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(first: u8) -> Option<Self> {
        Some(match first & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// The header of a frame that keeps the rules.
#[derive(Debug, Clone, Copy)]
struct Header {
    opcode: Opcode,
    fin: bool,
    mask: [u8; 4],
    bytes: usize,
    payload_bytes: usize,
}

/// A message of which some fragments have come.
#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: Vec<u8>,
    /// Up to where the text is known to be UTF-8.
    checked: usize,
}

/// What has come in part.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a frame.
    frame: Vec<u8>,
    message: Option<Fragments>,
}

/// Reads the frames of one client.
///
/// # Examples
/// ```
/// use fanfare::limits::Limits;
/// use fanfare::transport::{Incoming, WebSocketReader};
///
/// let mut reader = WebSocketReader::default();
/// let mut bytes = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
/// let mut input = &mut bytes[..];
/// let message = reader.next(&mut input, &Limits::default()).unwrap();
/// assert_eq!(message, Some(Incoming::Text("hi".into())));
/// assert_eq!(reader.next(&mut input, &Limits::default()), Ok(None));
/// ```
#[derive(Debug, Default)]
pub struct WebSocketReader(Option<Box<Partial>>);

impl WebSocketReader {
    /// Takes bytes off the front of `input` up to the end of a message; `None` when none has ended.
    ///
    /// What has come in part is kept, so that `input` is empty then. Bytes are unmasked in place.
    ///
    /// # Errors
    /// Why the connection is to be closed: 1002, 1007, or 1009 above `limits.frame_bytes` or
    /// `limits.message_bytes`. Nothing is to be read after that.
    pub fn next(
        &mut self,
        input: &mut &mut [u8],
        limits: &Limits,
    ) -> Result<Option<Incoming>, CloseReason> {
        loop {
            let said = match self.0.as_deref_mut() {
                Some(partial) if !partial.frame.is_empty() => {
                    let Some((header, mut frame)) = complete(partial, input, limits)? else {
                        return Ok(None);
                    };
                    if partial.message.is_none() {
                        self.0 = None;
                    }
                    self.take(header, &mut frame[header.bytes..], limits)?
                }
                _ => {
                    let header = Header::parse(input, limits)?;
                    let whole =
                        header.filter(|header| header.bytes + header.payload_bytes <= input.len());
                    let Some(header) = whole else {
                        let begun: &mut [u8] = std::mem::take(input);
                        self.keep(begun);
                        return Ok(None);
                    };
                    let (frame, rest) =
                        std::mem::take(input).split_at_mut(header.bytes + header.payload_bytes);
                    *input = rest;
                    self.take(header, &mut frame[header.bytes..], limits)?
                }
            };
            if said.is_some() {
                return Ok(said);
            }
        }
    }

    /// Keeps the beginning of a frame.
    fn keep(&mut self, input: &[u8]) {
        if !input.is_empty() {
            let partial = self.0.get_or_insert_default();
            partial.frame.extend_from_slice(input);
        }
    }

    /// Takes a whole frame; `None` when its message goes on.
    fn take(
        &mut self,
        header: Header,
        payload: &mut [u8],
        limits: &Limits,
    ) -> Result<Option<Incoming>, CloseReason> {
        unmask(payload, header.mask);
        let fragmented = self.0.as_ref().is_some_and(|held| held.message.is_some());
        match header.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping(control_frame(0x8a, payload)))),
            Opcode::Pong => Ok(Some(Incoming::Pong)),
            Opcode::Close => closed(payload).map(Some),
            Opcode::Continuation if fragmented => self.go_on(header.fin, payload, limits),
            Opcode::Text | Opcode::Binary if !fragmented => {
                let is_text = header.opcode == Opcode::Text;
                if payload.len() > limits.message_bytes {
                    return Err(CloseReason::TooBig);
                }
                if header.fin {
                    return whole(is_text, payload).map(Some);
                }
                self.0.get_or_insert_default().message = Some(Fragments {
                    is_text,
                    bytes: Vec::new(),
                    checked: 0,
                });
                self.go_on(false, payload, limits)
            }
            // A continuation of nothing, or a message within a message.
            Opcode::Continuation | Opcode::Text | Opcode::Binary => Err(CloseReason::Protocol),
        }
    }

    /// Appends a fragment to the message that has begun.
    fn go_on(
        &mut self,
        fin: bool,
        payload: &[u8],
        limits: &Limits,
    ) -> Result<Option<Incoming>, CloseReason> {
        let Some(message) = self.0.as_deref_mut().and_then(|held| held.message.as_mut()) else {
            return Err(CloseReason::Protocol);
        };
        if message.bytes.len() + payload.len() > limits.message_bytes {
            return Err(CloseReason::TooBig);
        }
        message.bytes.extend_from_slice(payload);
        if message.is_text {
            message.check(fin)?;
        }
        if !fin {
            return Ok(None);
        }
        let message = self.0.take().and_then(|held| held.message);
        Ok(message.map(|message| match message.is_text {
            true => Incoming::Text(message.bytes.into()),
            false => Incoming::Binary(message.bytes.into()),
        }))
    }
}

impl Fragments {
    /// Checks what came; a character may be cut by the end of a fragment, not by that of the message.
    fn check(&mut self, fin: bool) -> Result<(), CloseReason> {
        match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !fin => {
                self.checked += error.valid_up_to();
            }
            Err(_) => return Err(CloseReason::NotUtf8),
        }
        Ok(())
    }
}

impl Header {
    /// Reads a header; `None` when it has not come whole.
    fn parse(input: &[u8], limits: &Limits) -> Result<Option<Self>, CloseReason> {
        let [first, second, rest @ ..] = input else {
            return Ok(None);
        };
        let opcode = Opcode::of(*first).filter(|_| first & RESERVED == 0);
        let opcode = opcode.ok_or(CloseReason::Protocol)?;
        let (fin, short) = (first & FIN != 0, usize::from(second & !MASKED));
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if second & MASKED == 0 || (is_control && (!fin || short > CONTROL_BYTES_MAX)) {
            return Err(CloseReason::Protocol);
        }
        let extended = match short {
            126 => rest
                .first_chunk()
                .map(|bytes| u16::from_be_bytes(*bytes).into()),
            127 => rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
            _ => Some(short as u64),
        };
        let Some(length) = extended else {
            return Ok(None);
        };
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if payload_bytes > limits.frame_bytes && !is_control {
            return Err(CloseReason::TooBig);
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = rest.get(length_bytes..).and_then(|rest| rest.first_chunk());
        Ok(mask.map(|mask| Self {
            opcode,
            fin,
            mask: *mask,
            bytes: 2 + length_bytes + mask.len(),
            payload_bytes,
        }))
    }
}

/// Completes the frame that has begun; `None` when all of `input` did not.
fn complete(
    partial: &mut Partial,
    input: &mut &mut [u8],
    limits: &Limits,
) -> Result<Option<(Header, Vec<u8>)>, CloseReason> {
    let had = partial.frame.len();
    // The header first: it says how much belongs to this frame.
    let ahead = HEADER_BYTES_MAX.saturating_sub(had).min(input.len());
    partial.frame.extend_from_slice(&input[..ahead]);
    let header = Header::parse(&partial.frame, limits);
    partial.frame.truncate(had);
    let header = header?;
    let missing = header.map_or(usize::MAX, |header| {
        header.bytes + header.payload_bytes - had
    });
    let here = missing.min(input.len());
    let (taken, rest) = std::mem::take(input).split_at_mut(here);
    *input = rest;
    partial.frame.extend_from_slice(taken);
    let whole = header.filter(|_| here == missing);
    Ok(whole.map(|header| (header, std::mem::take(&mut partial.frame))))
}

fn whole(is_text: bool, payload: &[u8]) -> Result<Incoming, CloseReason> {
    if !is_text {
        return Ok(Incoming::Binary(Bytes::copy_from_slice(payload)));
    }
    match std::str::from_utf8(payload) {
        Ok(_) => Ok(Incoming::Text(Bytes::copy_from_slice(payload))),
        Err(_) => Err(CloseReason::NotUtf8),
    }
}

/// Reads a close, and answers it with its own code.
fn closed(payload: &[u8]) -> Result<Incoming, CloseReason> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Incoming::Close(None, control_frame(0x88, &[]))),
            _ => Err(CloseReason::Protocol),
        };
    };
    let number = u16::from_be_bytes(*code);
    if !matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseReason::Protocol);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(CloseReason::NotUtf8);
    }
    Ok(Incoming::Close(Some(number), control_frame(0x88, code)))
}

/// Makes a control frame of ours; `payload` is that of a control frame, and so short.
fn control_frame(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.extend_from_slice(&[first, payload.len() as u8]);
    frame.extend_from_slice(payload);
    frame.into()
}

/// Takes the mask off, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
