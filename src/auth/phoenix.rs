//! The payload of `Phoenix.Token`: whose it is and how long it holds.
//!
//! It looks only at payloads whose signature was verified; it never verifies one itself.

use std::time::Duration;

use super::term::{self, Term};
use super::{Identity, TokenError, identity};

/// The life of a token whose payload names none (Phoenix's older shapes), in seconds.
const MAX_AGE_DEFAULT_S: i64 = 86_400;

/// Reads a verified payload: `{data, signed_at_ms, max_age_s | infinity}`, or an older shape without an age.
///
/// The token ends at its signing time plus its own age or `max_age`, whichever is shorter.
///
/// # Errors
/// [`TokenError::Malformed`], [`TokenError::Expired`] or [`TokenError::Subject`].
pub fn read(payload: &[u8], max_age: Duration, now_s: u64) -> Result<Identity, TokenError> {
    let term = term::decode(payload).map_err(|_| TokenError::Malformed)?;
    let signed = Signed::of(&term).ok_or(TokenError::Malformed)?;
    let cap_s = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let age_s = signed.max_age_s.map_or(cap_s, |own_s| own_s.min(cap_s));
    let expires_at_ms = signed.at_ms.saturating_add(age_s.saturating_mul(1_000));
    let expires_at = u64::try_from(expires_at_ms / 1_000).map_err(|_| TokenError::Expired)?;
    if age_s <= 0 || now_s >= expires_at {
        return Err(TokenError::Expired);
    }
    let (sub, name) = subject(signed.who)?;
    identity(sub, name, Some(expires_at))
}

struct Signed<'a> {
    who: &'a Term<'a>,
    at_ms: i64,
    /// `None`: infinity.
    max_age_s: Option<i64>,
}

impl<'a> Signed<'a> {
    fn of(term: &'a Term<'a>) -> Option<Self> {
        match term {
            Term::Tuple(parts) => match parts.as_slice() {
                [who, Term::Integer(at_ms), Term::Integer(age_s)] => Some(Self {
                    who,
                    at_ms: *at_ms,
                    max_age_s: Some(*age_s),
                }),
                [who, Term::Integer(at_ms), Term::Atom(age)] if age == "infinity" => Some(Self {
                    who,
                    at_ms: *at_ms,
                    max_age_s: None,
                }),
                [who, Term::Integer(at_ms)] => Some(Self {
                    who,
                    at_ms: *at_ms,
                    max_age_s: Some(MAX_AGE_DEFAULT_S),
                }),
                _ => None,
            },
            Term::Map(pairs) => match (lookup(pairs, "data"), lookup(pairs, "signed")) {
                (Some(who), Some(Term::Integer(at_ms))) => Some(Self {
                    who,
                    at_ms: *at_ms,
                    max_age_s: Some(MAX_AGE_DEFAULT_S),
                }),
                _ => None,
            },
            Term::Integer(_)
            | Term::Big(_)
            | Term::Float(_)
            | Term::Atom(_)
            | Term::Binary(_)
            | Term::Charlist(_)
            | Term::List(_) => None,
        }
    }
}

fn lookup<'a>(pairs: &'a [(Term<'a>, Term<'a>)], key: &str) -> Option<&'a Term<'a>> {
    pairs
        .iter()
        .find(|(name, _)| name.as_key() == Some(key))
        .map(|(_, value)| value)
}

/// Finds who the signed term names: an id itself, or a map with an id and maybe a name.
fn subject(who: &Term<'_>) -> Result<(String, Option<String>), TokenError> {
    match who {
        Term::Map(pairs) => {
            let sub = ["sub", "id", "user_id"]
                .into_iter()
                .find_map(|key| lookup(pairs, key));
            let name = ["name", "username"]
                .into_iter()
                .find_map(|key| lookup(pairs, key));
            let name = match name {
                None => None,
                Some(Term::Atom(atom)) if atom == "nil" => None,
                Some(Term::Binary(bytes)) => Some(text(bytes)?),
                Some(_) => return Err(TokenError::Subject),
            };
            Ok((id(sub.ok_or(TokenError::Subject)?)?, name))
        }
        plain => Ok((id(plain)?, None)),
    }
}

fn id(term: &Term<'_>) -> Result<String, TokenError> {
    match term {
        Term::Integer(number) => Ok(number.to_string()),
        Term::Big(number) => Ok(number.clone()),
        Term::Binary(bytes) => text(bytes),
        Term::Float(_)
        | Term::Atom(_)
        | Term::Charlist(_)
        | Term::Tuple(_)
        | Term::List(_)
        | Term::Map(_) => Err(TokenError::Subject),
    }
}

fn text(bytes: &[u8]) -> Result<String, TokenError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| TokenError::Subject)
}
