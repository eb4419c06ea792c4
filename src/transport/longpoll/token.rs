//! Session tokens: which session on which node, signed.
//!
//! They are opaque to clients and say nothing about who a client is. Reading is total.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The life of a token, in seconds: 14 days, as Phoenix has it.
pub const MAX_AGE_S: u64 = 14 * 24 * 60 * 60;

/// What the key is derived for, so that no other use of the secret makes such a signature.
const PURPOSE: &[u8] = b"fanfare long-poll session";

/// Version, node, worker, slot, serial, secret, moment of signing.
const SIGNED_BYTES: usize = 1 + 8 + 4 + 4 + 4 + 8 + 8;

const SIGNATURE_BYTES: usize = 32;
const VERSION: u8 = 1;

/// Which session a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The incarnation of the node that has it.
    pub node: u64,
    /// The worker there.
    pub worker: u32,
    /// The slot in the worker's table.
    pub slot: u32,
    /// The number of the connection in its worker.
    pub serial: u32,
    /// A random number of the session.
    pub secret: u64,
}

/// What a text is, as far as sessions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// One of ours; the session may be gone all the same.
    Valid(Session),
    /// One of ours that is older than [`MAX_AGE_S`].
    Expired,
    /// Something else, such as a user's token.
    Foreign,
}

/// Signs and verifies session tokens; the same on every node. It has no `Debug`.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// Derives the key from `secret_key_base`.
    pub fn new(secret: &str) -> Self {
        Self(
            mac(secret.as_bytes(), PURPOSE)
                .finalize()
                .into_bytes()
                .into(),
        )
    }

    /// Signs a session, at a moment in seconds since the Unix epoch.
    pub fn sign(&self, session: &Session, now_s: u64) -> String {
        let mut bytes = Vec::with_capacity(SIGNED_BYTES + SIGNATURE_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&session.node.to_be_bytes());
        bytes.extend_from_slice(&session.worker.to_be_bytes());
        bytes.extend_from_slice(&session.slot.to_be_bytes());
        bytes.extend_from_slice(&session.serial.to_be_bytes());
        bytes.extend_from_slice(&session.secret.to_be_bytes());
        bytes.extend_from_slice(&now_s.to_be_bytes());
        let signature = mac(&self.0, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Says what a text is, at a moment in seconds since the Unix epoch.
    pub fn verify(&self, text: &str, now_s: u64) -> Token {
        let mut bytes = [0u8; SIGNED_BYTES + SIGNATURE_BYTES];
        let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
        if decoded != Ok(bytes.len()) {
            return Token::Foreign;
        }
        let (signed, signature) = bytes.split_at(SIGNED_BYTES);
        if mac(&self.0, signed).verify_slice(signature).is_err() || signed[0] != VERSION {
            return Token::Foreign;
        }
        let mut fields = Fields(&signed[1..]);
        let session = Session {
            node: fields.u64(),
            worker: fields.u32(),
            slot: fields.u32(),
            serial: fields.u32(),
            secret: fields.u64(),
        };
        match now_s.saturating_sub(fields.u64()) < MAX_AGE_S {
            true => Token::Valid(session),
            false => Token::Expired,
        }
    }
}

/// Reads numbers forward; beyond the end it reads zero, which a verified token never needs.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk() else {
            debug_assert!(false, "a token has a fixed length");
            return [0; N];
        };
        self.0 = rest;
        *head
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}

fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key)
        .expect("HMAC takes a key of any length (RFC 2104)");
    mac.update(text);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SESSION: Session = Session {
        node: 1,
        worker: 2,
        slot: 3,
        serial: 4,
        secret: 5,
    };

    fn key() -> TokenKey {
        TokenKey::new("a secret")
    }

    #[test]
    fn a_token_holds_for_14_days_on_every_node_with_the_secret() {
        let token = key().sign(&SESSION, 1_000);
        let at = |now_s| key().verify(&token, now_s);
        assert_eq!(at(1_000), Token::Valid(SESSION));
        // The clock of another node may be behind.
        assert_eq!(at(0), Token::Valid(SESSION));
        assert_eq!(at(1_000 + MAX_AGE_S - 1), Token::Valid(SESSION));
        assert_eq!(at(1_000 + MAX_AGE_S), Token::Expired);
        assert_eq!(TokenKey::new("other").verify(&token, 1_000), Token::Foreign);
    }

    #[test]
    fn what_is_not_exactly_a_token_is_foreign() {
        let token = key().sign(&SESSION, 0);
        for other in [
            "",
            "garbage",
            "SFMyNTY.AAAA.BBBB",
            "é",
            &token[1..],
            &format!("{token}A"),
            &format!("{token}=="),
            &"A".repeat(token.len()),
            &"A".repeat(100_000),
        ] {
            assert_eq!(key().verify(other, 0), Token::Foreign, "{other}");
        }
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let token = key().sign(&SESSION, 0);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let other = URL_SAFE_NO_PAD.encode(other);
            assert_eq!(key().verify(&other, 0), Token::Foreign, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".*") {
            prop_assert_eq!(key().verify(&text, 0), Token::Foreign);
        }
    }
}
