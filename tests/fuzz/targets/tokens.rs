//! Tokens as strangers send them, and what their signers may have put into them.
//!
//! It never asks for the time: every token is looked at in the same second.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fanfare::auth::{Config, Identity, NAME_BYTES_MAX, Verifier, term};
use fanfare::transport::longpoll::{Token, TokenKey};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Verdict;
use crate::corpus;

/// The secret with which the corpus is signed, that of `phoenix_token_vectors.json`.
const SECRET: &str = "fanfare-test-secret-key-base-0123456789abcdefghijklmnopqrstuvwxyzABCDEF";
const NOW_S: u64 = 1_700_000_001;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let config = Config {
        secret_key_base: Some(SECRET.to_owned()),
        ..Config::default()
    };
    Verifier::new(&config).expect("a long enough secret")
});

static PHOENIX_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(SECRET.as_bytes(), b"user socket", 1_000, &mut key);
    key
});

static SESSION_KEY: LazyLock<TokenKey> = LazyLock::new(|| TokenKey::new(SECRET));
static SIGNED_TOKENS: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| corpus::taken("token"));
static SIGNED_SESSIONS: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| corpus::taken("session"));

/// Whatever is done to a token, only those that were signed are taken.
pub fn token(input: &Bytes) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else {
        return Verdict::Refused;
    };
    let taken = VERIFIER.verify(text, NOW_S).map(|who| named(&who)).is_ok();
    assert!(
        !taken || SIGNED_TOKENS.contains(&input[..]),
        "a forged token was taken"
    );
    Verdict::of(taken)
}

/// Whatever is done to a session's token, only those that were signed are taken.
pub fn session(input: &Bytes) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else {
        return Verdict::Refused;
    };
    match SESSION_KEY.verify(text, NOW_S) {
        Token::Valid(session) => {
            assert!(
                SIGNED_SESSIONS.contains(&input[..]),
                "a forged session was taken"
            );
            let again = SESSION_KEY.sign(&session, NOW_S);
            assert_eq!(SESSION_KEY.verify(&again, NOW_S), Token::Valid(session));
            Verdict::Taken
        }
        Token::Expired | Token::Foreign => Verdict::Refused,
    }
}

/// The input as the payload of a well-signed `Phoenix.Token`.
pub fn phoenix(input: &Bytes) -> Verdict {
    let token = signed("SFMyNTY", input, &PHOENIX_KEY[..]);
    let Ok(who) = VERIFIER.verify(&token, NOW_S) else {
        return Verdict::Refused;
    };
    assert!(term::decode(input).is_ok());
    assert!(who.expires_at.is_some(), "such a token always ends");
    named(&who);
    Verdict::Taken
}

/// The input's first line as the header, the rest as the claims, of a JWT signed with HS256.
pub fn jwt(input: &Bytes) -> Verdict {
    let end = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (header, claims) = input.split_at(end);
    let claims = claims.strip_prefix(b"\n").unwrap_or(claims);
    let token = signed(&URL_SAFE_NO_PAD.encode(header), claims, SECRET.as_bytes());
    let Ok(who) = VERIFIER.verify(&token, NOW_S) else {
        return Verdict::Refused;
    };
    named(&who);
    let minute = Duration::from_secs(60);
    let again = VERIFIER.sign(&who.sub, who.name.as_deref(), minute, NOW_S);
    let again = again.and_then(|token| VERIFIER.verify(&token, NOW_S));
    let expires_at = Some(NOW_S + 60);
    assert_eq!(again, Ok(Identity { expires_at, ..who }));
    Verdict::Taken
}

/// Holds what every identity promises.
fn named(who: &Identity) {
    assert!((1..=NAME_BYTES_MAX).contains(&who.sub.len()));
    assert!(
        who.name
            .as_ref()
            .is_none_or(|name| name.len() <= NAME_BYTES_MAX)
    );
    assert!(
        who.expires_at.is_none_or(|end| end > NOW_S),
        "an expired token was taken"
    );
}

fn signed(protected: &str, payload: &[u8], key: &[u8]) -> String {
    let text = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload));
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{text}.{signature}")
}
