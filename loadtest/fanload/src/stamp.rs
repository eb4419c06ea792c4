//! Stamps: when something was sent, written into what is sent.
//!
//! They are of the machine's monotonic clock, so that several generators on one machine agree.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use rustix::time::{ClockId, clock_gettime};

/// What stands before a stamp.
const MARK: &[u8] = b"ts=";

/// Decimal digits of a stamp.
const DIGITS: usize = 20;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// Returns nanoseconds of the machine's monotonic clock.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock begins at the machine's start: neither part is negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Writes a text of `size` bytes that carries a stamp; at least the stamp.
pub fn write(now_ns: u64, size: usize) -> String {
    let mut text = format!("ts={now_ns:0DIGITS$};");
    let missing = size.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('x', missing));
    text
}

/// Finds the stamp in a message.
pub fn find(message: &[u8]) -> Option<u64> {
    let at = FINDER.find(message)? + MARK.len();
    number(message.get(at..at + DIGITS)?)
}

/// Reads a decimal number; `None` for anything else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_where_it_was_written() {
        let text = write(1_234, 64);
        assert_eq!(text.len(), 64);
        assert_eq!(find(format!("[null,\"{text}\"]").as_bytes()), Some(1_234));
        assert_eq!(write(1, 0).len(), MARK.len() + DIGITS + 1);
    }

    #[test]
    fn what_is_no_stamp_is_not_found() {
        for message in ["", "ts=", "ts=123;", "ts=0000000000000000000x;"] {
            assert_eq!(find(message.as_bytes()), None, "{message}");
        }
        assert_eq!(number(b"99999999999999999999"), None);
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = now_ns();
        assert!(now_ns() >= before);
    }
}
