//! Public keys as a JWK Set (RFC 7517): what an issuer publishes.
//!
//! It takes no secret and no private key from a set: such entries are passed over, as are unknown kinds.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::public_key::{PublicKey, Scheme};

/// The most keys of one set; a larger one is refused whole.
pub const KEYS_MAX: usize = 32;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// One entry; the names are those of RFC 7517, 4, and RFC 7518, 6.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Only private keys have it.
    d: Option<Value>,
}

/// Reads the keys of a set that verify signatures here; the rest is passed over (RFC 7517, 5).
///
/// # Errors
/// One line: no JWK Set, too many entries, or no entry that can be used.
pub fn read(json: &[u8]) -> Result<Vec<PublicKey>, String> {
    let set: Set =
        serde_json::from_slice(json).map_err(|_| String::from("is no JWK Set: {\"keys\": […]}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("holds more than {KEYS_MAX} keys"));
    }
    let keys: Vec<PublicKey> = set.keys.into_iter().filter_map(key).collect();
    match keys.is_empty() {
        true => Err(String::from(
            "holds no public key for RS256, ES256 or EdDSA",
        )),
        false => Ok(keys),
    }
}

fn key(entry: Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(entry).ok()?;
    let verifies = jwk.purpose.as_deref().is_none_or(|word| word == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|ops| ops.iter().any(|op| op == "verify"))
        && jwk.d.is_none();
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => PublicKey::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?),
        ("EC", Some("P-256")) => p256(&bytes(&jwk.x)?, &bytes(&jwk.y)?),
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&bytes(&jwk.x)?),
        _ => None,
    }?;
    let meant = jwk
        .alg
        .as_deref()
        .is_none_or(|name| Scheme::named(name) == Some(key.scheme()));
    (verifies && meant).then(|| key.with_kid(jwk.kid))
}

/// Puts a point together from coordinates of full length (RFC 7518, 6.2.1.2).
fn p256(x: &[u8], y: &[u8]) -> Option<PublicKey> {
    let whole = x.len() == 32 && y.len() == 32;
    whole
        .then(|| PublicKey::p256(&[&[4], x, y].concat()))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32]), "kid": "a"})
    }

    fn with(changes: Value) -> Value {
        let mut entry = ed25519();
        for (name, value) in changes.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    }

    #[test]
    fn entries_that_are_not_for_us_are_passed_over() {
        let check = |entry: Value, taken: bool| {
            let set = json!({"keys": [entry.clone(), with(json!({"kid": "last"}))], "more": 1});
            let keys = read(set.to_string().as_bytes()).unwrap();
            assert_eq!(keys.len(), 1 + usize::from(taken), "{entry}");
            assert_eq!(keys.last().unwrap().kid(), Some("last"));
        };
        check(ed25519(), true);
        check(
            with(json!({"kid": null, "use": "sig", "alg": "EdDSA"})),
            true,
        );
        check(with(json!({"key_ops": ["verify"]})), true);
        check(with(json!({"key_ops": ["sign"]})), false);
        check(with(json!({"use": "enc"})), false);
        check(with(json!({"alg": "ES256"})), false);
        check(with(json!({"alg": "HS256"})), false);
        check(with(json!({"d": "secret"})), false);
        check(with(json!({"crv": "X25519"})), false);
        check(with(json!({"x": "AAAA"})), false);
        check(with(json!({"x": "*"})), false);
        check(with(json!({"kid": 7})), false);
        check(json!({"kty": "oct", "k": "c2VjcmV0"}), false);
        check(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), false);
        check(
            json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
            false,
        );
        check(json!("a text"), false);
        let (n, x) = (
            URL_SAFE_NO_PAD.encode([1; 256]),
            URL_SAFE_NO_PAD.encode([1; 32]),
        );
        check(
            json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256"}),
            true,
        );
        check(
            json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "PS256"}),
            false,
        );
        check(json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}), true);
        let (long, short) = (
            URL_SAFE_NO_PAD.encode([1; 33]),
            URL_SAFE_NO_PAD.encode([1; 31]),
        );
        check(
            json!({"kty": "EC", "crv": "P-256", "x": long, "y": short}),
            false,
        );
    }

    #[test]
    fn a_set_without_a_use_is_an_error() {
        let check = |json: &str, expected: &str| {
            let error = read(json.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        };
        check("", "no JWK Set");
        check("[]", "no JWK Set");
        check("{}", "no JWK Set");
        check(r#"{"keys":[]}"#, "no public key");
        check(
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
            "no public key",
        );
        let many = json!({"keys": vec![ed25519(); KEYS_MAX + 1]});
        check(&many.to_string(), "more than 32");
    }
}
