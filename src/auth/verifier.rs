//! Verifies and signs tokens with the keys of one node.
//!
//! It reads no time, keeps nothing between calls but the newest public keys, and never prints a key or a token.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::config::{Config, KeyError, SECRET_BYTES_MIN};
use super::jwt::{self, Algorithm, Expectation};
use super::keyring::Keyring;
use super::mac::{Hs, Key};
use super::{Identity, TokenError, identity, phoenix};

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The keys and rules by which a node accepts tokens.
pub struct Verifier {
    phoenix: Option<Key>,
    max_age: Duration,
    /// The shared key of JWTs; without one, HS* is not accepted.
    jwt: Option<Key>,
    /// The public keys of JWTs; HS* never gets to see them.
    keyring: Keyring,
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
    /// Derives the keys, which with Phoenix's defaults takes about a millisecond, and reads those in files.
    ///
    /// Keys at a URL are there after [`Verifier::refresh`].
    ///
    /// # Errors
    /// [`KeyError`] without any key, with a short secret, or with a file that has no usable key.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        let base = long_enough("secret_key_base", config.secret_key_base.as_deref())?;
        let own = long_enough("auth.jwt_secret", config.jwt_secret.as_deref())?;
        let jwt = own.or(base).map(Key::of_secret);
        let unusable = |(setting, why)| KeyError::Unusable { setting, why };
        let keyring = Keyring::new(config).map_err(unusable)?;
        if jwt.is_none() && keyring.is_empty() {
            return Err(KeyError::Absent);
        }
        keyring.read_files().map_err(unusable)?;
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
            jwt,
            keyring,
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
                let header = jwt::header(&decoded(parts.protected)?)?;
                let payload = match header.algorithm {
                    Algorithm::Shared(algorithm) => {
                        let key = self.jwt.as_ref().ok_or(TokenError::Unsigned)?;
                        parts.verified(key, algorithm)?
                    }
                    Algorithm::Public(scheme) => {
                        let (text, kid) = (parts.signed.as_bytes(), header.kid.as_deref());
                        self.keyring.verify(scheme, kid, text, &parts.signature)?;
                        decoded(parts.payload)?
                    }
                };
                self.expectation.read(&payload, now_s)
            }
        }
    }

    /// Reads the public keys now, for at most 5 s; how many are known then.
    ///
    /// # Errors
    /// One line. What was read before stays, and [`Verifier::run`] tries again.
    pub async fn refresh(&self) -> Result<usize, String> {
        self.keyring.refresh().await
    }

    /// Waits until the public keys were read again for a token with an unknown key, at most 2 s.
    ///
    /// Then the token is worth another look. It returns at once when the keys were asked for a moment ago:
    /// strangers can't make a node fetch them more than once in 10 s.
    pub async fn renewed(&self) {
        self.keyring.renewed().await;
    }

    /// Keeps the public keys fresh; never ends when there is a place that they come from.
    ///
    /// A file is read when it changed (looked at every 5 s), a URL every `auth.jwks_refresh` (every 10 s
    /// while it fails), and both when a token has a key that is not known.
    pub async fn run(&self) {
        self.keyring.run().await;
    }

    /// Signs a JWT (HS256) that this verifier accepts for `ttl`, in whole seconds, from `now_s` on.
    ///
    /// # Errors
    /// [`TokenError::Subject`] when `sub` or `name` could not be verified again, [`TokenError::Unsigned`]
    /// without a secret.
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
        let key = self.jwt.as_ref().ok_or(TokenError::Unsigned)?;
        let signature = key.sign(Hs::Hs256, token.as_bytes());
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
    fn verified(&self, key: &Key, algorithm: Hs) -> Result<Vec<u8>, TokenError> {
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
fn phoenix_algorithm(protected: &str) -> Option<Hs> {
    match protected {
        "SFMyNTY" => Some(Hs::Hs256),
        "SFMzODQ" => Some(Hs::Hs384),
        "SFM1MTI" => Some(Hs::Hs512),
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
        for algorithm in Hs::ALL {
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
