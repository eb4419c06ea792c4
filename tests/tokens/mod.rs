//! What the tests of tokens share: a configuration, a moment, and signing by hand.
//!
//! It signs without the crate, so that a mistake there can't hide itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::auth::{Config, Identity, TokenError, Verifier};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};

pub const SECRET: &str = "fanfare-test-secret-key-base-0123456789abcdefghijklmnopqrstuvwxyzABCDEF";
pub const NOW: u64 = 1_700_000_000;

pub fn config() -> Config {
    Config {
        secret_key_base: Some(SECRET.to_owned()),
        ..Config::default()
    }
}

pub fn verify(config: &Config, token: &str, now_s: u64) -> Result<Identity, TokenError> {
    Verifier::new(config).expect("keys").verify(token, now_s)
}

pub fn who(sub: &str, name: Option<&str>, expires_at: Option<u64>) -> Result<Identity, TokenError> {
    Ok(Identity {
        sub: sub.to_owned(),
        name: name.map(str::to_owned),
        expires_at,
    })
}

pub fn hmac256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub fn hmac384(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha384>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub fn hmac512(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub type Sign = fn(&[u8], &str) -> Vec<u8>;

pub fn signed(protected: &[u8], payload: &[u8], key: &[u8], sign: Sign) -> String {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(protected),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = URL_SAFE_NO_PAD.encode(sign(key, &text));
    format!("{text}.{signature}")
}
