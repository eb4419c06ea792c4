//! Who a socket is: identities and the verification of tokens, given a clock.
//!
//! It reads no time and keeps no session; secrets and tokens never reach a log.

mod config;
mod jwt;
mod mac;
mod phoenix;
pub mod term;
mod verifier;

use std::fmt;

pub use config::{Config, Digest, KeyError, Players, SECRET_BYTES_MIN, random_secret};
pub use mac::Algorithm;
pub use verifier::{TOKEN_BYTES_MAX, Verifier};

/// Longest player id and user name of a token, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Who a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The player's id: `sub`, 1 to 255 bytes; integers as their decimal text.
    pub sub: String,
    /// The user name, when the token gives one.
    pub name: Option<String>,
    /// When the token ends, in seconds since the Unix epoch; `None`: never.
    pub expires_at: Option<u64>,
}

/// Why a token was not accepted; the text is for the node's log, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenError {
    /// The token is empty.
    Missing,
    /// It is neither a `Phoenix.Token` nor a JWT, or its content can't be read.
    Malformed,
    /// Its algorithm is `none`, unknown, or one that this node has no key for.
    Unsigned,
    /// Its signature is not by this node's key.
    Forged,
    /// It has ended.
    Expired,
    /// It has not begun (`nbf`).
    NotYetValid,
    /// It comes from another issuer or is meant for another audience than configured.
    Audience,
    /// It names no player, or an id or a name that is no text of 1 to 255 bytes without control characters.
    Subject,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no token",
            Self::Malformed => "the token is malformed",
            Self::Unsigned => "the token's algorithm is not accepted",
            Self::Forged => "the token's signature is wrong",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Audience => "the token is by or for someone else",
            Self::Subject => "the token names no usable player",
        })
    }
}

impl std::error::Error for TokenError {}

/// Checks what a token claims and makes it an identity.
fn identity(
    sub: String,
    name: Option<String>,
    expires_at: Option<u64>,
) -> Result<Identity, TokenError> {
    // A control character would reach logs and terminals, and Postgres has no text with a NUL.
    let usable =
        |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    if usable(&sub) && name.as_deref().is_none_or(usable) {
        Ok(Identity {
            sub,
            name,
            expires_at,
        })
    } else {
        Err(TokenError::Subject)
    }
}
