//! The settings under `[auth]` and `[players]`.
//!
//! Its `Debug` never prints a secret.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::key_url::KeyUrl;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_BYTES_MIN: usize = 32;

/// The hash of the key derivation of `Phoenix.Token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256, Phoenix's default.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How tokens are verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The secret of `Phoenix.Token`, of JWTs unless `jwt_secret` is given, and of long-poll sessions;
    /// at least 32 bytes (Phoenix makes 64). Default: none.
    pub secret_key_base: Option<String>,
    /// The salt of `Phoenix.Token`, the same as in the app that signs. Default `user socket`.
    pub salt: String,
    /// PBKDF2 iterations of `Phoenix.Token`. Default 1,000.
    pub key_iterations: u32,
    /// Derived key of `Phoenix.Token`, in bytes. Default 32.
    pub key_length: usize,
    /// PBKDF2 digest of `Phoenix.Token`. Default SHA-256.
    pub key_digest: Digest,
    /// Longest life of a `Phoenix.Token`; its own `max_age` may be shorter. Default 86,400 s.
    pub max_age: Duration,
    /// The HMAC key of JWTs; at least 32 bytes. Default: `secret_key_base`.
    pub jwt_secret: Option<String>,
    /// Tolerance on `exp` and `nbf` of JWTs, at most 60 s. Default 0 s.
    pub leeway: Duration,
    /// What `iss` of a JWT must be. Default: not checked.
    pub issuer: Option<String>,
    /// What `aud` of a JWT must be or contain. Default: not checked.
    pub audience: Option<String>,
    /// A PEM file of public keys for JWTs (RS256, ES256, EdDSA). Default: none.
    pub public_key_file: Option<PathBuf>,
    /// A JWK Set file of public keys for JWTs. Default: none.
    pub jwks_file: Option<PathBuf>,
    /// Where a JWK Set of public keys for JWTs is published. Default: none.
    pub jwks_url: Option<KeyUrl>,
    /// A PEM file of the authority that signed the certificate of `jwks_url`; read at the start. Default: those of the public web.
    pub jwks_ca_file: Option<PathBuf>,
    /// How often `jwks_url` is fetched, at least 10 s. Default 300 s.
    pub jwks_refresh: Duration,
}

impl Config {
    /// Says whether JWTs may be signed with private keys elsewhere.
    pub fn has_public_keys(&self) -> bool {
        self.public_key_file.is_some() || self.jwks_file.is_some() || self.jwks_url.is_some()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            secret_key_base: None,
            salt: String::from("user socket"),
            key_iterations: 1_000,
            key_length: 32,
            key_digest: Digest::Sha256,
            max_age: Duration::from_secs(86_400),
            jwt_secret: None,
            leeway: Duration::ZERO,
            issuer: None,
            audience: None,
            public_key_file: None,
            jwks_file: None,
            jwks_url: None,
            jwks_ca_file: None,
            jwks_refresh: Duration::from_secs(300),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "[hidden]");
        f.debug_struct("Config")
            .field("secret_key_base", &hidden(&self.secret_key_base))
            .field("salt", &self.salt)
            .field("key_iterations", &self.key_iterations)
            .field("key_length", &self.key_length)
            .field("key_digest", &self.key_digest)
            .field("max_age", &self.max_age)
            .field("jwt_secret", &hidden(&self.jwt_secret))
            .field("leeway", &self.leeway)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("public_key_file", &self.public_key_file)
            .field("jwks_file", &self.jwks_file)
            .field("jwks_url", &self.jwks_url)
            .field("jwks_ca_file", &self.jwks_ca_file)
            .field("jwks_refresh", &self.jwks_refresh)
            .finish()
    }
}

/// How players come into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Players {
    /// Whether a token's unknown player is created from its claims. Default true.
    pub auto_create: bool,
}

impl Default for Players {
    fn default() -> Self {
        Self { auto_create: true }
    }
}

/// Why tokens can't be verified with these settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Neither `secret_key_base` nor `jwt_secret` nor a place of public keys is given.
    Absent,
    /// The named secret is shorter than [`SECRET_BYTES_MIN`].
    TooShort(&'static str),
    /// A file of public keys, or of the authority of their URL, can't be used.
    Unusable {
        /// The setting that names it.
        setting: &'static str,
        /// The file and what is wrong with it.
        why: String,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no secret: secret_key_base is not set"),
            Self::TooShort(key) => {
                write!(f, "{key} is shorter than {SECRET_BYTES_MIN} bytes")
            }
            Self::Unusable { setting, why } => write!(f, "{setting}: {why}"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Makes a random secret of 64 hexadecimal digits, for development; `None` without entropy.
pub fn random_secret() -> Option<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_secrets() {
        let config = Config {
            secret_key_base: Some("swordfish".repeat(8)),
            jwt_secret: Some("tunafish".repeat(8)),
            ..Config::default()
        };
        let text = format!("{config:?}");
        assert!(text.contains("[hidden]"), "{text}");
        assert!(
            !text.contains("swordfish") && !text.contains("tunafish"),
            "{text}"
        );
    }

    #[test]
    fn random_secrets_are_long_enough_and_differ() {
        let (one, two) = (random_secret().unwrap(), random_secret().unwrap());
        assert!(one.len() >= SECRET_BYTES_MIN);
        assert_ne!(one, two);
    }
}
