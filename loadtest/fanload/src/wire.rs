//! WebSocket frames as a client writes and reads them (RFC 6455, section 5.2).
//!
//! It never copies a payload while reading, and never checks what a server must not do.

/// The opcode of a text message.
pub const TEXT: u8 = 1;
/// The opcode of the end of a connection.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame is masked with the same key always: a proxy's cache is no concern here, and a random one costs.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A frame from a server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub opcode: u8,
    /// The bytes behind the header.
    pub payload: &'a [u8],
    /// How many bytes the frame takes, header included.
    pub len: usize,
}

/// Appends a masked text frame.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    write(TEXT, text, out);
}

/// Appends the answer to a ping.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write(PONG, payload, out);
}

fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        // Each arm's range proves that the length fits the field.
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    out.extend(masked.map(|(byte, key)| byte ^ key));
}

/// Reads the frame at the start of `bytes`; `None` while it is not all there.
pub fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, header): (usize, usize) = match second & 0x7f {
        126 => (u16::from_be_bytes(*bytes[2..].first_chunk()?).into(), 4),
        127 => {
            let len = u64::from_be_bytes(*bytes[2..].first_chunk()?);
            (usize::try_from(len).ok()?, 10)
        }
        len => (usize::from(len), 2),
    };
    let payload = bytes.get(header..header.checked_add(len)?)?;
    Some(Frame {
        opcode: first & 0x0f,
        payload,
        len: header + len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(len: usize, header: usize) {
        let mut server = vec![0x81];
        match header {
            2 => server.push(len as u8),
            4 => {
                server.push(126);
                server.extend((len as u16).to_be_bytes());
            }
            _ => {
                server.push(127);
                server.extend((len as u64).to_be_bytes());
            }
        }
        server.extend(std::iter::repeat_n(b'x', len));
        for cut in [0, 1, header, server.len() - 1] {
            let is_whole = cut >= server.len();
            assert_eq!(
                read(&server[..cut]).is_some(),
                is_whole,
                "{len} cut at {cut}"
            );
        }
        let frame = read(&server).expect("a whole frame");
        assert_eq!((frame.opcode, frame.payload.len()), (TEXT, len));
        assert_eq!(frame.len, server.len());
        let mut client = Vec::new();
        write_text(frame.payload, &mut client);
        assert_eq!(client.len(), server.len() + MASK.len());
        assert_eq!(client[1], server[1] | 0x80);
        assert_eq!(client[header + 4] ^ MASK[0], b'x');
    }

    #[test]
    fn every_length_is_read_and_written() {
        check(1, 2);
        check(125, 2);
        check(126, 4);
        check(65_535, 4);
        check(65_536, 10);
    }

    #[test]
    fn a_length_beyond_memory_is_no_frame() {
        let claim = [&[0x81, 127][..], &[0xff; 8]].concat();
        assert_eq!(read(&claim), None);
    }
}
