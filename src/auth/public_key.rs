//! Public keys of JWTs: each has one signature scheme and verifies no other.
//!
//! It never signs and never reads a key's file; see `spki` and `jwk` for how keys are written.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

/// Shortest and longest modulus of an RSA key, in bytes: 2,048 and 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// The algorithms of public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Returns the name in the header (RFC 7518, 3.1; RFC 8037, 3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Finds a scheme by its name, which is case-sensitive.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }
}

/// The numbers of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point: 4, x, y.
    P256([u8; 65]),
    Ed25519([u8; 32]),
}

/// One public key and, where its owner gave one, its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: Option<String>,
    material: Material,
}

impl PublicKey {
    /// Takes an RSA key of 2,048 to 8,192 bits; `None` for any other.
    pub fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let usable = MODULUS_BYTES.contains(&n.len()) && (1..=4).contains(&e.len());
        usable.then(|| {
            Self::of(Material::Rsa {
                n: n.to_vec(),
                e: e.to_vec(),
            })
        })
    }

    /// Takes an uncompressed point of P-256; `None` for what has another shape.
    pub fn p256(point: &[u8]) -> Option<Self> {
        let point: [u8; 65] = point.try_into().ok()?;
        (point[0] == 4).then(|| Self::of(Material::P256(point)))
    }

    /// Takes an Ed25519 key; `None` when it has not 32 bytes.
    pub fn ed25519(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Material::Ed25519).map(Self::of)
    }

    fn of(material: Material) -> Self {
        Self {
            kid: None,
            material,
        }
    }

    /// Gives the key its name.
    pub fn with_kid(self, kid: Option<String>) -> Self {
        Self { kid, ..self }
    }

    /// Returns its name.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the one scheme that it verifies.
    pub fn scheme(&self) -> Scheme {
        match &self.material {
            Material::Rsa { .. } => Scheme::Rs256,
            Material::P256(_) => Scheme::Es256,
            Material::Ed25519(_) => Scheme::EdDsa,
        }
    }

    /// Says whether `signature` is over `text`, by the private half of this key.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let verdict = match &self.material {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, text, signature)
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(text, signature)
            }
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(text, signature),
        };
        verdict.is_ok()
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_another_shape_are_not_taken() {
        assert!(PublicKey::rsa(&[1; 256], &[1, 0, 1]).is_some());
        assert!(PublicKey::rsa(&[1; 255], &[1, 0, 1]).is_none());
        assert!(PublicKey::rsa(&[1; 1_025], &[1, 0, 1]).is_none());
        assert!(PublicKey::rsa(&[0; 300], &[1, 0, 1]).is_none());
        assert!(PublicKey::rsa(&[1; 256], &[0, 0]).is_none());
        assert!(PublicKey::rsa(&[1; 256], &[1; 5]).is_none());
        assert!(PublicKey::p256(&[4; 65]).is_some());
        assert!(PublicKey::p256(&[2; 65]).is_none());
        assert!(PublicKey::p256(&[4; 33]).is_none());
        assert!(PublicKey::ed25519(&[9; 32]).is_some());
        assert!(PublicKey::ed25519(&[9; 31]).is_none());
    }

    #[test]
    fn the_example_of_rfc_8037_verifies() {
        // Appendix A.4: the key of A.2 and its signature.
        let decode = |text: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(text)
                .unwrap()
        };
        let key = PublicKey::ed25519(&decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
        let key = key.unwrap();
        let text = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let mut signature = decode(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        assert!(key.verifies(text, &signature));
        signature[0] ^= 1;
        assert!(!key.verifies(text, &signature));
    }

    #[test]
    fn names_are_exact() {
        assert_eq!(Scheme::named("EdDSA"), Some(Scheme::EdDsa));
        for name in ["none", "HS256", "rs256", "RS512", "PS256", "ES384", ""] {
            assert_eq!(Scheme::named(name), None, "{name}");
        }
    }
}
