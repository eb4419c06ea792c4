//! Who a socket is: identities and the verification of tokens, given a clock.
//!
//! It reads no time and keeps no session; secrets and tokens never reach a log.

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
