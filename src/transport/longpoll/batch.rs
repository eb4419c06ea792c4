//! The body of a POST: one text message, or a batch with a message a line.
//!
//! It only takes lines apart; what a message says is the serializer's matter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// The largest body of a POST, in bytes; beyond: 400. Plug's default.
pub const BODY_BYTES_MAX: usize = 8_000_000;

/// Lines of a batch that are looked at; the rest is ignored. The clients send no more in one batch.
pub const LINES_MAX: usize = 100;

/// The longest line of base64, in characters; beyond: 400.
pub const BASE64_CHARS_MAX: usize = 10_000_000;

/// Says whether a content type is that of a batch; parameters do not count.
pub fn is_ndjson(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|text| text.split(';').next());
    essence.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/x-ndjson"))
}

/// One message of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// Neither JSON nor base64.
    Malformed,
    /// Base64 of more than [`BASE64_CHARS_MAX`].
    TooLong,
}

/// The messages of a body, in order, taken apart as they are asked for.
#[derive(Debug)]
pub struct Batch {
    rest: Option<Bytes>,
    lines_left: usize,
    whole: bool,
}

impl Batch {
    /// Takes a body that is one text message.
    pub fn whole(body: Bytes) -> Self {
        Self {
            rest: Some(body),
            lines_left: 1,
            whole: true,
        }
    }

    /// Takes a body with a message a line; blank lines are skipped, at most [`LINES_MAX`] are read.
    pub fn lines(body: Bytes) -> Self {
        Self {
            rest: Some(body),
            lines_left: LINES_MAX,
            whole: false,
        }
    }

    fn next_line(&mut self) -> Option<Bytes> {
        let rest = self.rest.take()?;
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.rest = Some(rest.slice(end + 1..));
                Some(rest.slice(..end))
            }
            None => Some(rest),
        }
    }
}

impl Iterator for Batch {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        self.lines_left = self.lines_left.checked_sub(1)?;
        if self.whole {
            return self.rest.take().map(Line::Text);
        }
        loop {
            let line = self.next_line()?;
            let line = line.slice_ref(line.trim_ascii());
            match line.first() {
                None => {}
                Some(b'[' | b'{') => return Some(Line::Text(line)),
                Some(_) if line.len() > BASE64_CHARS_MAX => return Some(Line::TooLong),
                Some(_) => {
                    let decoded = STANDARD.decode(&line);
                    return Some(decoded.map_or(Line::Malformed, |it| Line::Binary(it.into())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &'static str) -> Line {
        Line::Text(Bytes::from_static(line.as_bytes()))
    }

    fn check(body: &'static str, expected: &[Line]) {
        let lines: Vec<_> = Batch::lines(Bytes::from_static(body.as_bytes())).collect();
        assert_eq!(lines, expected, "{body:?}");
    }

    #[test]
    fn a_line_is_text_or_base64() {
        check("[1]", &[text("[1]")]);
        check("[1]\n{\"a\":2}", &[text("[1]"), text("{\"a\":2}")]);
        check("[1]\r\n[2]\r\n", &[text("[1]"), text("[2]")]);
        check("\n\n[1]\n \n\r\n[2]\n", &[text("[1]"), text("[2]")]);
        check("", &[]);
        let captured = b"\x00\x01\x01\x06\x03\x33\x36room:1bin\xff\x00";
        check(
            "AAEBBgMzNnJvb206MWJpbv8A",
            &[Line::Binary(Bytes::from_static(captured))],
        );
        check("!\n[2]", &[Line::Malformed, text("[2]")]);
        // Standard base64 is padded and has no '-'.
        check("AAE\n-_8=", &[Line::Malformed, Line::Malformed]);
    }

    #[test]
    fn a_whole_body_is_one_message_whatever_it_holds() {
        let body = Bytes::from_static(b"[1]\n[2]");
        let lines: Vec<_> = Batch::whole(body.clone()).collect();
        assert_eq!(lines, [Line::Text(body)]);
    }

    #[test]
    fn lines_beyond_the_hundredth_are_ignored() {
        let body = (0..=LINES_MAX).fold(String::new(), |body, n| format!("{body}\n[{n}]\n"));
        let lines: Vec<_> = Batch::lines(body.into()).collect();
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[LINES_MAX - 1], text("[99]"));
    }

    #[test]
    fn base64_is_bounded_and_text_is_not_here() {
        let long = vec![b'A'; BASE64_CHARS_MAX + 1];
        assert_eq!(Batch::lines(long.into()).next(), Some(Line::TooLong));
        let longest = vec![b'A'; BASE64_CHARS_MAX];
        let line = Batch::lines(longest.into()).next();
        assert!(matches!(line, Some(Line::Binary(bytes)) if bytes.len() == 7_500_000));
    }

    #[test]
    fn the_content_type_of_a_batch_may_have_parameters() {
        for yes in [
            "application/x-ndjson",
            "Application/X-NDJSON ; charset=utf-8",
        ] {
            assert!(is_ndjson(Some(yes)), "{yes}");
        }
        for no in [
            None,
            Some(""),
            Some("application/json"),
            Some("text/x-ndjson"),
        ] {
            assert!(!is_ndjson(no), "{no:?}");
        }
    }
}
