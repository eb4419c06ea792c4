//! Erlang terms: read, measured, written in another of their encodings, and read again.
//!
//! The writer is the tests' own; the server never writes terms.

use bytes::Bytes;
use fanfare::auth::term::{BIG_BYTES_MAX, DEPTH_MAX, TERMS_MAX, Term, decode};

use super::{Verdict, is_slice_of};

/// Most decimal digits of a byte of a big integer, rounded up.
const DIGITS_OF_A_BYTE: usize = 3;

pub fn term(input: &Bytes) -> Verdict {
    let Ok(term) = decode(input) else {
        return Verdict::Refused;
    };
    let mut size = Size::default();
    size.measure(&term, 0, input);
    assert!(size.terms <= TERMS_MAX, "{} terms", size.terms);
    assert!(
        size.bytes <= DIGITS_OF_A_BYTE * input.len(),
        "{} bytes",
        size.bytes
    );
    let mut written = vec![131];
    if write(&term, &mut written).is_some() {
        assert_eq!(decode(&written).as_ref(), Ok(&term));
    }
    Verdict::Taken
}

#[derive(Default)]
struct Size {
    terms: usize,
    bytes: usize,
}

impl Size {
    fn measure(&mut self, term: &Term<'_>, depth: usize, input: &[u8]) {
        assert!(depth <= DEPTH_MAX);
        self.terms += 1;
        match term {
            Term::Integer(_) | Term::Float(_) => {}
            Term::Big(text) => {
                assert!(text.len() <= 1 + DIGITS_OF_A_BYTE * BIG_BYTES_MAX);
                self.bytes += text.len();
            }
            Term::Atom(name) => self.bytes += name.len(),
            Term::Binary(bytes) | Term::Charlist(bytes) => {
                assert!(is_slice_of(bytes, input), "bytes were copied");
                self.bytes += bytes.len();
            }
            Term::Tuple(parts) | Term::List(parts) => {
                for part in parts {
                    self.measure(part, depth + 1, input);
                }
            }
            Term::Map(pairs) => {
                for (key, value) in pairs {
                    self.measure(key, depth + 1, input);
                    self.measure(value, depth + 1, input);
                }
            }
        }
    }
}

/// Writes a term with the widest lengths there are; `None` when it holds a big integer.
fn write(term: &Term<'_>, out: &mut Vec<u8>) -> Option<()> {
    match term {
        Term::Integer(number) => {
            out.extend([110, 8, u8::from(*number < 0)]);
            out.extend(number.unsigned_abs().to_le_bytes());
        }
        // Decimal text is not turned back into bytes here.
        Term::Big(_) => return None,
        Term::Float(number) => {
            out.push(70);
            out.extend(number.to_be_bytes());
        }
        Term::Atom(name) => {
            out.push(118);
            out.extend(u16::try_from(name.len()).ok()?.to_be_bytes());
            out.extend(name.bytes());
        }
        Term::Binary(bytes) => {
            length(109, bytes.len(), out)?;
            out.extend_from_slice(bytes);
        }
        Term::Charlist(bytes) => {
            out.push(107);
            out.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Term::Tuple(parts) => {
            length(105, parts.len(), out)?;
            parts.iter().try_for_each(|part| write(part, out))?;
        }
        Term::List(parts) => {
            length(108, parts.len(), out)?;
            parts.iter().try_for_each(|part| write(part, out))?;
            out.push(106);
        }
        Term::Map(pairs) => {
            length(116, pairs.len(), out)?;
            for (key, value) in pairs {
                write(key, out)?;
                write(value, out)?;
            }
        }
    }
    Some(())
}

fn length(tag: u8, count: usize, out: &mut Vec<u8>) -> Option<()> {
    out.push(tag);
    out.extend(u32::try_from(count).ok()?.to_be_bytes());
    Some(())
}
