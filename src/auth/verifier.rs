//! Verifies and signs tokens with the keys of one node.
//!
//! It reads no time, keeps nothing between calls, and never prints a key or a token.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::config::{Config, KeyError, SECRET_BYTES_MIN};
use super::jwt::{self, Expectation};
use super::mac::{Algorithm, Key};
use super::{Identity, TokenError, identity, phoenix};

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The keys and rules by which a node accepts tokens.
pub struct Verifier {
    phoenix: Option<Key>,
    max_age: Duration,
    jwt: Key,
    expectation: Expectation,
}

/// A token in its three parts; the payload is not to be decoded before the signature is verified.
struct Parts<'a> {
    protected: &'a str,
    /// `protected.payload`, what is signed.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl Verifier {
    /// Derives the keys; with Phoenix's defaults that takes about a millisecond.
    ///
    /// # Errors
    /// [`KeyError`] without a secret or with a short one.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        let base = long_enough("secret_key_base", config.secret_key_base.as_deref())?;
        let own = long_enough("auth.jwt_secret", config.jwt_secret.as_deref())?;
        Ok(Self {
            phoenix: base.map(|secret| {
                Key::derived(
                    secret,
                    &config.salt,
                    config.key_iterations.max(1),
                    config.key_length,
                    config.key_digest,
                )
            }),
            max_age: config.max_age,
            jwt: Key::of_secret(own.or(base).ok_or(KeyError::Absent)?),
            expectation: Expectation {
                leeway_s: config.leeway.as_secs(),
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
            },
        })
    }

    /// Verifies a `Phoenix.Token` or a JWT; the protected header says which of the two it is.
    ///
    /// A token is expired from the second in which it ends.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Identity, TokenError> {
        let parts = Parts::of(token)?;
        match phoenix_algorithm(parts.protected) {
            Some(algorithm) => {
                let key = self.phoenix.as_ref().ok_or(TokenError::Unsigned)?;
                phoenix::read(&parts.verified(key, algorithm)?, self.max_age, now_s)
            }
            None => {
                let algorithm = jwt::algorithm(&decoded(parts.protected)?)?;
                self.expectation
                    .read(&parts.verified(&self.jwt, algorithm)?, now_s)
            }
        }
    }

    /// Signs a JWT (HS256) that this verifier accepts for `ttl`, in whole seconds, from `now_s` on.
    ///
    /// # Errors
    /// [`TokenError::Subject`] when `sub` or `name` could not be verified again.
    pub fn sign(
        &self,
        sub: &str,
        name: Option<&str>,
        ttl: Duration,
        now_s: u64,
    ) -> Result<String, TokenError> {
        let end = now_s.saturating_add(ttl.as_secs());
        let who = identity(sub.to_owned(), name.map(str::to_owned), Some(end))?;
        let mut token = self.expectation.unsigned(&who, now_s);
        let signature = self.jwt.sign(Algorithm::Hs256, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("max_age", &self.max_age)
            .field("expectation", &self.expectation)
            .finish_non_exhaustive()
    }
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (protected, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let signature = decoded(signature)?;
        Ok(Self {
            protected,
            signed,
            payload,
            signature,
        })
    }

    /// Returns the decoded payload, once the signature was verified.
    fn verified(&self, key: &Key, algorithm: Algorithm) -> Result<Vec<u8>, TokenError> {
        if !key.verifies(algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(TokenError::Forged);
        }
        decoded(self.payload)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

/// Finds the algorithm of a `Phoenix.Token`, whose protected part is the bare name in base64url.
fn phoenix_algorithm(protected: &str) -> Option<Algorithm> {
    match protected {
        "SFMyNTY" => Some(Algorithm::Hs256),
        "SFMzODQ" => Some(Algorithm::Hs384),
        "SFM1MTI" => Some(Algorithm::Hs512),
        _ => None,
    }
}

fn long_enough<'a>(
    key: &'static str,
    secret: Option<&'a str>,
) -> Result<Option<&'a str>, KeyError> {
    match secret {
        Some(text) if text.len() < SECRET_BYTES_MIN => Err(KeyError::TooShort(key)),
        Some(text) => Ok(Some(text)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixes_are_the_names_in_base64url() {
        for algorithm in Algorithm::ALL {
            let prefix = URL_SAFE_NO_PAD.encode(algorithm.name());
            assert_eq!(phoenix_algorithm(&prefix), Some(algorithm), "{prefix}");
        }
    }

    #[test]
    fn a_short_or_absent_secret_is_refused() {
        let short = Some("x".repeat(SECRET_BYTES_MIN - 1));
        let base = Config {
            secret_key_base: short.clone(),
            ..Config::default()
        };
        let jwt = Config {
            jwt_secret: short,
            ..Config::default()
        };
        let error = |config: &Config| Verifier::new(config).err();
        assert_eq!(error(&Config::default()), Some(KeyError::Absent));
        assert_eq!(error(&base), Some(KeyError::TooShort("secret_key_base")));
        assert_eq!(error(&jwt), Some(KeyError::TooShort("auth.jwt_secret")));
    }
}
