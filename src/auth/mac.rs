//! The signatures of tokens: which algorithms there are, and how each signs and verifies.
//!
//! It never compares signatures other than in constant time, and never decodes what is signed.

use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};

use super::config::Digest;

/// The algorithms of shared keys; those of public keys are in another type, so that neither is taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hs {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl Hs {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// Returns the name in the header (RFC 7518, 3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Finds an algorithm by its name, which is case-sensitive.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A shared key; it has no `Debug`, so that it can't be printed.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl Key {
    /// Takes the bytes of a secret as they are.
    pub fn of_secret(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// Derives a key from a secret as Plug does (PBKDF2, RFC 8018, 5.2).
    pub fn derived(
        secret: &str,
        salt: &str,
        iterations: u32,
        length: usize,
        digest: Digest,
    ) -> Self {
        let mut key = vec![0; length];
        let (secret, salt) = (secret.as_bytes(), salt.as_bytes());
        match digest {
            Digest::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, iterations, &mut key),
            Digest::Sha384 => pbkdf2::pbkdf2_hmac::<Sha384>(secret, salt, iterations, &mut key),
            Digest::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(secret, salt, iterations, &mut key),
        }
        Self(key)
    }

    /// Says whether `signature` is this key's over `text`, in constant time.
    pub fn verifies(&self, algorithm: Hs, text: &[u8], signature: &[u8]) -> bool {
        match algorithm {
            Hs::Hs256 => started::<Hmac<Sha256>>(&self.0, text)
                .verify_slice(signature)
                .is_ok(),
            Hs::Hs384 => started::<Hmac<Sha384>>(&self.0, text)
                .verify_slice(signature)
                .is_ok(),
            Hs::Hs512 => started::<Hmac<Sha512>>(&self.0, text)
                .verify_slice(signature)
                .is_ok(),
        }
    }

    /// Signs `text`.
    pub fn sign(&self, algorithm: Hs, text: &[u8]) -> Vec<u8> {
        match algorithm {
            Hs::Hs256 => started::<Hmac<Sha256>>(&self.0, text)
                .finalize()
                .into_bytes()
                .to_vec(),
            Hs::Hs384 => started::<Hmac<Sha384>>(&self.0, text)
                .finalize()
                .into_bytes()
                .to_vec(),
            Hs::Hs512 => started::<Hmac<Sha512>>(&self.0, text)
                .finalize()
                .into_bytes()
                .to_vec(),
        }
    }
}

fn started<M: Mac + hmac::digest::KeyInit>(key: &[u8], text: &[u8]) -> M {
    let mut mac =
        <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104)");
    mac.update(text);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_signatures_of_the_same_key_and_algorithm_verify() {
        let key = Key::of_secret("a secret");
        for algorithm in Hs::ALL {
            let signature = key.sign(algorithm, b"text");
            assert!(key.verifies(algorithm, b"text", &signature));
            assert!(!key.verifies(algorithm, b"texts", &signature));
            assert!(!key.verifies(algorithm, b"text", &signature[1..]));
            assert!(!key.verifies(algorithm, b"text", b""));
            assert!(!Key::of_secret("another").verifies(algorithm, b"text", &signature));
        }
        let signature = key.sign(Hs::Hs256, b"text");
        assert!(!key.verifies(Hs::Hs512, b"text", &signature));
    }

    #[test]
    fn names_are_exact() {
        assert_eq!(Hs::named("HS384"), Some(Hs::Hs384));
        for name in ["none", "None", "hs256", "RS256", "ES256", "EdDSA", ""] {
            assert_eq!(Hs::named(name), None, "{name}");
        }
    }
}
