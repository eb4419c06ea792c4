//! Who a socket is: identities and the verification of tokens, given a clock.
//!
//! It reads no time and keeps no session; secrets and tokens never reach a log.
//!
//! | token | verified with |
//! | --- | --- |
//! | `Phoenix.Token` | `secret_key_base` and `auth.salt`, as in the Phoenix app that signs |
//! | JWT, HS256, HS384, HS512 | `auth.jwt_secret`, else `secret_key_base` |
//! | JWT, RS256 (2,048 bits at least), ES256, EdDSA (Ed25519) | the keys of `auth.public_key_file`, `auth.jwks_file` and `auth.jwks_url`, by `kid` |
//!
//! A key has one family of algorithms, whatever a token's header says: a public key never serves as the
//! secret of HS*, and `none`, `crit` and every other algorithm are refused. Without any secret HS* is refused.

mod config;
mod jwk;
mod jwt;
mod key_url;
mod keyring;
mod mac;
mod phoenix;
mod public_key;
mod spki;
pub mod term;
mod verifier;

use std::fmt;

pub use config::{Config, Digest, KeyError, Players, SECRET_BYTES_MIN, random_secret};
pub use jwk::KEYS_MAX;
pub use jwt::Algorithm;
pub use key_url::{FETCH_TIMEOUT, KEY_SET_BYTES_MAX, KeyUrl};
pub use mac::Hs;
pub use public_key::Scheme;
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
    /// It is signed with a key that this node has not seen; see [`Verifier::renewed`].
    UnknownKey,
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
            Self::UnknownKey => "the token's key is not known",
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
