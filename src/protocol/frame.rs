//! A WebSocket frame ready to be written: header and payload in shared bytes.
//!
//! Only what a server sends: unmasked, unfragmented (RFC 6455, section 5.2).

use bytes::Bytes;

use super::close::CloseReason;

/// The largest header of a server's frame: 2 bytes and a 64-bit length.
const HEADER_BYTES_MAX: usize = 10;

/// The bit of the first byte that says that a message ends here.
const FIN: u8 = 0x80;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// UTF-8 text, opcode 1.
    Text,
    /// Bytes, opcode 2.
    Binary,
    /// The end of the connection, opcode 8.
    Close,
}

impl FrameKind {
    fn first_byte(self) -> u8 {
        FIN | match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
        }
    }

    fn of_first_byte(byte: u8) -> Option<Self> {
        [Self::Text, Self::Binary, Self::Close]
            .into_iter()
            .find(|kind| kind.first_byte() == byte)
    }
}

/// One complete frame, shared and cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    header_bytes: u8,
    kind: FrameKind,
}

impl Frame {
    /// Makes the close frame of a reason.
    pub fn close(reason: CloseReason) -> Self {
        let mut draft = FrameDraft::new(32);
        draft
            .buffer()
            .extend_from_slice(&reason.code().to_be_bytes());
        draft.buffer().extend_from_slice(reason.text().as_bytes());
        draft.finish(FrameKind::Close)
    }

    /// Returns the bytes to write, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the payload without the header, for transports that frame otherwise.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(usize::from(self.header_bytes)..)
    }

    /// Reads a frame of this server's own back: its kind, and the payload without the header.
    ///
    /// For transports that frame otherwise; `None` for bytes that are no whole frame of ours.
    pub fn split(bytes: &Bytes) -> Option<(FrameKind, Bytes)> {
        let kind = FrameKind::of_first_byte(*bytes.first()?)?;
        let header_bytes = match bytes.get(1)? {
            0..=125 => 2,
            126 => 4,
            _ => HEADER_BYTES_MAX,
        };
        (header_bytes <= bytes.len()).then(|| (kind, bytes.slice(header_bytes..)))
    }

    /// Returns what the frame carries.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Returns the number of bytes, header included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Says whether there are no bytes; a frame always has some.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A frame being written: the payload grows behind room for the header.
#[derive(Debug)]
pub struct FrameDraft(Vec<u8>);

impl FrameDraft {
    /// Starts a payload of about `payload_bytes`.
    pub fn new(payload_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MAX + payload_bytes);
        buffer.resize(HEADER_BYTES_MAX, 0);
        Self(buffer)
    }

    /// Returns the buffer; only append to it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Writes the header in front of the payload.
    pub fn finish(mut self, kind: FrameKind) -> Frame {
        let payload_bytes = self.0.len() - HEADER_BYTES_MAX;
        let header_bytes = match payload_bytes {
            0..=125 => 2,
            126..=65_535 => 4,
            _ => HEADER_BYTES_MAX,
        };
        let start = HEADER_BYTES_MAX - header_bytes;
        self.0[start] = kind.first_byte();
        // Each arm's range proves that the length fits the field.
        match header_bytes {
            2 => self.0[start + 1] = payload_bytes as u8,
            4 => {
                self.0[start + 1] = 126;
                self.0[start + 2..start + 4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            }
            _ => {
                self.0[start + 1] = 127;
                self.0[start + 2..start + 10]
                    .copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            }
        }
        Frame {
            bytes: Bytes::from(self.0).slice(start..),
            header_bytes: header_bytes as u8,
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload_bytes: usize, header: &[u8]) {
        let mut draft = FrameDraft::new(payload_bytes);
        draft.buffer().extend(std::iter::repeat_n(7, payload_bytes));
        let frame = draft.finish(FrameKind::Text);
        assert_eq!(&frame.bytes()[..header.len()], header);
        assert_eq!(frame.len(), header.len() + payload_bytes);
        assert!(frame.payload().iter().all(|byte| *byte == 7));
        let read_back = Frame::split(frame.bytes());
        assert_eq!(read_back, Some((FrameKind::Text, frame.payload())));
    }

    #[test]
    fn lengths_take_the_shortest_header() {
        check(0, &[0x81, 0]);
        check(125, &[0x81, 125]);
        check(126, &[0x81, 126, 0, 126]);
        check(65_535, &[0x81, 126, 0xff, 0xff]);
        check(65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn only_frames_of_ours_are_read_back() {
        for bytes in [&b""[..], b"\x81", b"\x01\x00", b"\x81\x7e\x00"] {
            assert_eq!(Frame::split(&Bytes::from_static(bytes)), None, "{bytes:?}");
        }
        let kind = |first| Frame::split(&Bytes::from(vec![first, 0])).map(|(kind, _)| kind);
        assert_eq!(kind(0x82), Some(FrameKind::Binary));
        assert_eq!(kind(0x88), Some(FrameKind::Close));
    }

    #[test]
    fn a_close_frame_has_code_and_text() {
        let frame = Frame::close(CloseReason::Restart);
        assert_eq!(&frame.payload()[..2], &1012u16.to_be_bytes());
        assert_eq!(frame.kind(), FrameKind::Close);
    }
}
