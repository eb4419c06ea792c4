//! The fields of a client's payload: read once, strictly, every fault told by name.
//!
//! It never guesses: `1.0` and `1e3` are no integers, and a field that comes twice is refused.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::Payload;

/// The largest integer that every client can hold: 2^53 - 1.
pub(super) const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Longest message and annotation, in bytes of UTF-8.
pub(super) const TEXT_BYTES_MAX: usize = 4_096;

/// Longest guest name and client key, in bytes of UTF-8.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// A field as it was sent; absent and `null` are the same.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// Reads a payload, whose fields are all [`Raw`]; unknown fields are dropped.
///
/// # Errors
/// The refusal of a payload that is no JSON object, or has a known field twice.
pub(super) fn object<'a, T: Deserialize<'a>>(payload: &'a Payload) -> Result<T, Payload> {
    let Some(text) = payload.as_json().filter(|_| payload.is_object()) else {
        return Err(invalid("payload", "must be an object"));
    };
    serde_json::from_slice(text)
        .map_err(|_| invalid("payload", "must be an object with each field once"))
}

/// Refuses with a reason.
pub(super) fn refusal(reason: &str) -> Payload {
    Payload::from_value(&serde_json::json!({ "reason": reason }))
}

/// Refuses one field as `invalid`.
pub(super) fn invalid(field: &'static str, rule: &str) -> Payload {
    let mut faults = Faults::default();
    faults.note(field, rule);
    faults.refusal()
}

/// Says whether every store can keep a text: Postgres has no NUL character.
pub(super) fn storable(text: &str) -> bool {
    !text.contains('\0')
}

/// The rules that a payload's fields broke.
///
/// A reader of a field gives its value, or notes a fault and gives a stand-in that
/// [`Faults::settle`] never lets out.
#[derive(Default)]
pub(super) struct Faults(serde_json::Map<String, serde_json::Value>);

impl Faults {
    /// Gives a value out when no field was at fault.
    ///
    /// # Errors
    /// `{"reason":"invalid","errors":{field: rule}}`.
    pub(super) fn settle<T>(self, value: T) -> Result<T, Payload> {
        match self.0.is_empty() {
            true => Ok(value),
            false => Err(self.refusal()),
        }
    }

    /// Notes that a field broke a rule.
    pub(super) fn note(&mut self, field: &'static str, rule: &str) {
        self.0.insert(field.to_owned(), rule.into());
    }

    /// Reads an integer from 0 to 2^53 - 1 that must be there.
    pub(super) fn integer(&mut self, field: &'static str, raw: Raw<'_>) -> i64 {
        raw.and_then(whole).unwrap_or_else(|| {
            self.note(field, "must be an integer from 0 to 9007199254740991");
            0
        })
    }

    /// Reads an integer from 0 to 2^53 - 1 that may be left out.
    pub(super) fn optional_integer(&mut self, field: &'static str, raw: Raw<'_>) -> Option<u64> {
        raw?;
        u64::try_from(self.integer(field, raw)).ok()
    }

    /// Reads a string that may be left out.
    pub(super) fn optional_string(&mut self, field: &'static str, raw: Raw<'_>) -> Option<String> {
        let found = string(raw?);
        if found.is_none() {
            self.note(field, "must be a string");
        }
        found.map(Cow::into_owned)
    }

    /// Reads a hyphenated UUID that may be left out.
    pub(super) fn optional_uuid(
        &mut self,
        field: &'static str,
        raw: Raw<'_>,
    ) -> Option<uuid::Uuid> {
        let text = string(raw?).filter(|text| text.len() == uuid::fmt::Hyphenated::LENGTH);
        let found = text.and_then(|text| uuid::Uuid::try_parse(&text).ok());
        if found.is_none() {
            self.note(field, "must be a UUID");
        }
        found
    }

    /// Reads a text of 1 to `bytes_max` bytes, not blank, that must be there.
    pub(super) fn text(&mut self, field: &'static str, raw: Raw<'_>, bytes_max: usize) -> String {
        let found = raw
            .and_then(string)
            .filter(|text| text.len() <= bytes_max && !text.trim().is_empty() && storable(text));
        found.map(Cow::into_owned).unwrap_or_else(|| {
            let rule =
                format!("must be a string of 1 to {bytes_max} bytes, not blank, without NUL");
            self.note(field, &rule);
            String::new()
        })
    }

    /// Reads a player's key of 1 to 64 bytes for a record, which may be left out.
    pub(super) fn client_key(&mut self, raw: Raw<'_>, from_player: bool) -> Option<String> {
        let raw = raw?;
        if !from_player {
            self.note("client_key", "may only be sent by players");
            return None;
        }
        let found =
            string(raw).filter(|key| (1..=NAME_BYTES_MAX).contains(&key.len()) && storable(key));
        if found.is_none() {
            self.note(
                "client_key",
                "must be a string of 1 to 64 bytes, without NUL",
            );
        }
        found.map(Cow::into_owned)
    }

    fn refusal(self) -> Payload {
        Payload::from_value(&serde_json::json!({ "reason": "invalid", "errors": self.0 }))
    }
}

/// Reads digits alone: no sign, fraction or exponent.
fn whole(raw: &RawValue) -> Option<i64> {
    let text = raw.get();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number <= INTEGER_MAX);
    number.filter(|_| digits)
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Text(text) = serde_json::from_str(raw.get()).ok()?;
    Some(text)
}
