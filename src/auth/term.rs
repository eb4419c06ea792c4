//! A bounded reader of Erlang's external term format, as far as tokens need it.
//!
//! It never panics, never recurses deeper than [`DEPTH_MAX`] and never allocates by a claimed length.
//! The format: "External Term Format" in the Erlang/OTP documentation (ERTS).

use std::fmt;

/// Deepest nesting of a term.
pub const DEPTH_MAX: usize = 16;
/// Most terms, nested ones included, in one text.
pub const TERMS_MAX: usize = 4_096;
/// Longest big integer, in bytes.
pub const BIG_BYTES_MAX: usize = 128;

const VERSION: u8 = 131;

/// A decoded term; binaries borrow from the input.
#[derive(Debug, Clone, PartialEq)]
pub enum Term<'a> {
    /// An integer that fits 64 bits.
    Integer(i64),
    /// A larger integer, as its decimal text.
    Big(String),
    /// A float.
    Float(f64),
    /// An atom; the old Latin-1 encodings are turned into UTF-8.
    Atom(String),
    /// A binary: any bytes, an Elixir string when they are UTF-8.
    Binary(&'a [u8]),
    /// A list of bytes, as `STRING_EXT` packs it.
    Charlist(&'a [u8]),
    /// A tuple.
    Tuple(Vec<Term<'a>>),
    /// A proper list; the empty one is `nil`.
    List(Vec<Term<'a>>),
    /// A map, in the order of the input.
    Map(Vec<(Term<'a>, Term<'a>)>),
}

impl Term<'_> {
    /// Returns the text of a UTF-8 binary or of an atom: what may name a key.
    pub fn as_key(&self) -> Option<&str> {
        match self {
            Self::Atom(name) => Some(name),
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Integer(_)
            | Self::Big(_)
            | Self::Float(_)
            | Self::Charlist(_)
            | Self::Tuple(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }
}

/// Why bytes are not a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermError {
    /// The first byte is not 131.
    Version,
    /// The bytes end too early.
    Truncated,
    /// Bytes are left after the term.
    Trailing,
    /// A kind of term that no token has (a process, a function, a compressed term).
    Kind(u8),
    /// A term is malformed: an atom that is not UTF-8, a float that is not a number, an improper list.
    Malformed,
    /// Deeper, longer or larger than the bounds.
    TooLarge,
}

impl fmt::Display for TermError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("not in the external term format"),
            Self::Truncated => f.write_str("the term is cut off"),
            Self::Trailing => f.write_str("bytes follow the term"),
            Self::Kind(tag) => write!(f, "terms with tag {tag} are not read"),
            Self::Malformed => f.write_str("the term is malformed"),
            Self::TooLarge => f.write_str("the term is too large"),
        }
    }
}

impl std::error::Error for TermError {}

/// Decodes one whole term.
///
/// # Errors
/// [`TermError`]: the input is not exactly one term within the bounds.
pub fn decode(bytes: &[u8]) -> Result<Term<'_>, TermError> {
    let mut reader = Reader {
        rest: bytes,
        terms: 0,
    };
    if reader.byte()? != VERSION {
        return Err(TermError::Version);
    }
    let term = reader.term(0)?;
    if reader.rest.is_empty() {
        Ok(term)
    } else {
        Err(TermError::Trailing)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    terms: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], TermError> {
        let (head, tail) = self
            .rest
            .split_at_checked(count)
            .ok_or(TermError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TermError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(TermError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, TermError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Result<usize, TermError> {
        self.array().map(u16::from_be_bytes).map(usize::from)
    }

    fn long(&mut self) -> Result<usize, TermError> {
        let length = u32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| TermError::TooLarge)
    }

    fn term(&mut self, depth: usize) -> Result<Term<'a>, TermError> {
        self.terms += 1;
        if depth > DEPTH_MAX || self.terms > TERMS_MAX {
            return Err(TermError::TooLarge);
        }
        match self.byte()? {
            70 => self.float(),
            97 => Ok(Term::Integer(i64::from(self.byte()?))),
            98 => Ok(Term::Integer(i64::from(i32::from_be_bytes(self.array()?)))),
            99 => self.old_float(),
            100 => {
                let n = self.short()?;
                self.latin1_atom(n)
            }
            104 => {
                let n = usize::from(self.byte()?);
                self.terms(n, depth).map(Term::Tuple)
            }
            105 => {
                let n = self.long()?;
                self.terms(n, depth).map(Term::Tuple)
            }
            106 => Ok(Term::List(Vec::new())),
            107 => {
                let n = self.short()?;
                self.take(n).map(Term::Charlist)
            }
            108 => {
                let n = self.long()?;
                self.list(n, depth)
            }
            109 => {
                let n = self.long()?;
                self.take(n).map(Term::Binary)
            }
            110 => {
                let n = usize::from(self.byte()?);
                self.big(n)
            }
            111 => {
                let n = self.long()?;
                self.big(n)
            }
            115 => {
                let n = usize::from(self.byte()?);
                self.latin1_atom(n)
            }
            116 => {
                let n = self.long()?;
                self.map(n, depth)
            }
            118 => {
                let n = self.short()?;
                self.utf8_atom(n)
            }
            119 => {
                let n = usize::from(self.byte()?);
                self.utf8_atom(n)
            }
            tag => Err(TermError::Kind(tag)),
        }
    }

    fn terms(&mut self, count: usize, depth: usize) -> Result<Vec<Term<'a>>, TermError> {
        // The vector grows with what is really there, never by the claimed count.
        let mut terms = Vec::new();
        for _ in 0..count {
            terms.push(self.term(depth + 1)?);
        }
        Ok(terms)
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<Term<'a>, TermError> {
        let items = self.terms(count, depth)?;
        match self.byte()? {
            106 => Ok(Term::List(items)),
            _ => Err(TermError::Malformed),
        }
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Term<'a>, TermError> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.term(depth + 1)?, self.term(depth + 1)?));
        }
        Ok(Term::Map(pairs))
    }

    fn latin1_atom(&mut self, length: usize) -> Result<Term<'a>, TermError> {
        Ok(Term::Atom(
            self.take(length)?.iter().copied().map(char::from).collect(),
        ))
    }

    fn utf8_atom(&mut self, length: usize) -> Result<Term<'a>, TermError> {
        let name = std::str::from_utf8(self.take(length)?).map_err(|_| TermError::Malformed)?;
        Ok(Term::Atom(name.to_owned()))
    }

    fn float(&mut self) -> Result<Term<'a>, TermError> {
        finite(f64::from_be_bytes(self.array()?))
    }

    /// Reads a float as the 31 bytes of text that releases before R16 wrote.
    fn old_float(&mut self) -> Result<Term<'a>, TermError> {
        let text = self
            .take(31)?
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| TermError::Malformed)?;
        finite(text.parse().map_err(|_| TermError::Malformed)?)
    }

    fn big(&mut self, length: usize) -> Result<Term<'a>, TermError> {
        if length > BIG_BYTES_MAX {
            return Err(TermError::TooLarge);
        }
        let negative = match self.byte()? {
            0 => false,
            1 => true,
            _ => return Err(TermError::Malformed),
        };
        let text = decimal(self.take(length)?, negative);
        Ok(text.parse().map_or(Term::Big(text), Term::Integer))
    }
}

fn finite<'a>(number: f64) -> Result<Term<'a>, TermError> {
    if number.is_finite() {
        Ok(Term::Float(number))
    } else {
        Err(TermError::Malformed)
    }
}

/// Writes a little-endian magnitude in decimal.
fn decimal(magnitude: &[u8], negative: bool) -> String {
    let mut digits: Vec<u8> = vec![0]; // least significant first
    for byte in magnitude.iter().rev() {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    let mut text = String::with_capacity(digits.len() + 1);
    if negative && digits != [0] {
        text.push('-');
    }
    text.extend(digits.iter().rev().map(|digit| char::from(b'0' + digit)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(hex: &str, expected: Result<Term<'_>, TermError>) {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(decode(&bytes), expected, "{hex}");
    }

    fn atom(name: &str) -> Result<Term<'static>, TermError> {
        Ok(Term::Atom(name.to_owned()))
    }

    #[test]
    fn integers_of_every_size_are_read() {
        check("83612a", Ok(Term::Integer(42)));
        check("8362ffffffff", Ok(Term::Integer(-1)));
        check("836e06000068e5cf8b01", Ok(Term::Integer(1_700_000_000_000)));
        check("836e0101ff", Ok(Term::Integer(-255)));
        check(
            "836e0801000000000000 0080".replace(' ', "").as_str(),
            Ok(Term::Integer(i64::MIN)),
        );
        check(
            "836e0800d20a1feb8ca954ab",
            Ok(Term::Big("12345678901234567890".into())),
        );
        check(
            "836f000000090100000000000000000 1"
                .replace(' ', "")
                .as_str(),
            Ok(Term::Big("-18446744073709551616".into())),
        );
        check("836e0000", Ok(Term::Integer(0)));
        check("836e010100", Ok(Term::Integer(0)));
    }

    #[test]
    fn atoms_of_old_and_new_encodings_are_read() {
        check("8364000373 7562".replace(' ', "").as_str(), atom("sub"));
        check("837303737562", atom("sub"));
        check("8376000373 7562".replace(' ', "").as_str(), atom("sub"));
        check("837703737562", atom("sub"));
        check("837301e9", atom("é"));
        check("837702c3a9", atom("é"));
        check("837701e9", Err(TermError::Malformed));
    }

    #[test]
    fn collections_and_floats_are_read() {
        check(
            "8368 02 6101 6a".replace(' ', "").as_str(),
            Ok(Term::Tuple(vec![Term::Integer(1), Term::List(vec![])])),
        );
        check(
            "83690000000161 01".replace(' ', "").as_str(),
            Ok(Term::Tuple(vec![Term::Integer(1)])),
        );
        check("836b00020102", Ok(Term::Charlist(&[1, 2])));
        check("836c0000000161076a", Ok(Term::List(vec![Term::Integer(7)])));
        check(
            "83740000000161016d000000 0161".replace(' ', "").as_str(),
            Ok(Term::Map(vec![(Term::Integer(1), Term::Binary(b"a"))])),
        );
        check("83463ff8000000000000", Ok(Term::Float(1.5)));
        let old = format!("8363{:0<62}", "312e35303030652b3030");
        check(&old, Ok(Term::Float(1.5)));
    }

    #[test]
    fn hostile_terms_are_refused() {
        check("", Err(TermError::Truncated));
        check("00", Err(TermError::Version));
        check("83", Err(TermError::Truncated));
        check("83612a00", Err(TermError::Trailing));
        check("8369ffffffff", Err(TermError::Truncated));
        check("836cffffffff6101", Err(TermError::Truncated));
        check("8374ffffffff", Err(TermError::Truncated));
        check("836dffffffff61", Err(TermError::Truncated));
        check("836fffffffff00", Err(TermError::TooLarge));
        check("836e0102ff", Err(TermError::Malformed));
        check("836c0000000161016102", Err(TermError::Malformed));
        check("83467ff0000000000000", Err(TermError::Malformed));
        check("8350000000ff", Err(TermError::Kind(80)));
        check(
            &format!("83{}6a", "6801".repeat(DEPTH_MAX)),
            decode_nested(),
        );
        check(
            &format!("83{}6a", "6801".repeat(DEPTH_MAX + 1)),
            Err(TermError::TooLarge),
        );
        check(
            &format!("83{}", "6801".repeat(100_000)),
            Err(TermError::TooLarge),
        );
        check(
            &format!("836c00002000{}6a", "6101".repeat(8192)),
            Err(TermError::TooLarge),
        );
    }

    fn decode_nested() -> Result<Term<'static>, TermError> {
        Ok((0..DEPTH_MAX).fold(Term::List(vec![]), |inner, _| Term::Tuple(vec![inner])))
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
            if let Some(first) = bytes.first_mut() { *first = VERSION; }
            let _ = decode(&bytes);
        }

        #[test]
        fn big_integers_print_as_their_value(value in any::<u64>(), negative in any::<bool>()) {
            let sign = if negative && value != 0 { "-" } else { "" };
            prop_assert_eq!(decimal(&value.to_le_bytes(), negative), format!("{sign}{value}"));
        }
    }
}
