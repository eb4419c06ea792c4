//! Tokens signed by hand, good and bad.
//!
//! They are made without the crate, so that a mistake there can't hide itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// A secret for nodes under test; 72 characters.
pub const SECRET: &str = "a-secret-for-tests-only-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789";

/// Another one, that no node has.
pub const OTHER_SECRET: &str =
    "another-secret-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789";

/// When a token that is long expired was valid, and when a good one ends: seconds since 1970.
pub const PAST: u64 = 1_600_000_000;
/// The year 2100.
pub const FUTURE: u64 = 4_102_444_800;

/// A good token of a player.
pub fn player(sub: &str, name: &str) -> String {
    jwt(&claims(sub, name, FUTURE), SECRET)
}

/// The claims of a player.
pub fn claims(sub: &str, name: &str, exp: u64) -> Value {
    json!({"sub": sub, "name": name, "exp": exp})
}

/// A JWT with HS256.
pub fn jwt(claims: &Value, secret: &str) -> String {
    let text = unsigned(&json!({"alg": "HS256", "typ": "JWT"}), claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(text.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{text}.{signature}")
}

/// The first two parts of a JWT.
pub fn unsigned(protected: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(protected), part(claims))
}
