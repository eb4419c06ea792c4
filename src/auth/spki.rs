//! Public keys as PEM: blocks of `PUBLIC KEY` (SubjectPublicKeyInfo, RFC 5280, 4.1).
//!
//! A private key is refused, never read. Blocks of other kinds are errors, text between blocks is not.

use rustls::pki_types::pem::{PemObject, SectionKind};

use super::public_key::PublicKey;

/// AlgorithmIdentifier of RSA: rsaEncryption, NULL (RFC 3279, 2.3.1).
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// AlgorithmIdentifier of P-256: ecPublicKey, prime256v1 (RFC 5480, 2.1.1).
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// AlgorithmIdentifier of Ed25519 (RFC 8410, 3).
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Reads every key of a PEM text, in order.
///
/// # Errors
/// One line: no key at all, a block that is no public key, or a key of a kind that is not accepted.
pub fn read(pem: &[u8]) -> Result<Vec<PublicKey>, String> {
    let mut keys = Vec::new();
    for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = block.map_err(|error| format!("is not PEM: {error}"))?;
        match kind {
            SectionKind::PublicKey => keys.push(key(&der)?),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(String::from(
                    "holds a private key; give the public one (openssl pkey -pubout)",
                ));
            }
            // The set of kinds is not closed; whatever comes is none of ours.
            _ => return Err(String::from("holds a block that is not PUBLIC KEY")),
        }
    }
    match keys.is_empty() {
        true => Err(String::from("holds no PUBLIC KEY")),
        false => Ok(keys),
    }
}

fn key(der: &[u8]) -> Result<PublicKey, String> {
    let (algorithm, bits) = split(der).ok_or("holds a broken PUBLIC KEY")?;
    let found = match algorithm {
        RSA => rsa(bits),
        P256 => PublicKey::p256(bits),
        ED25519 => PublicKey::ed25519(bits),
        _ => None,
    };
    found.ok_or_else(|| {
        String::from("holds a key that is neither RSA of 2048 to 8192 bits, P-256 nor Ed25519")
    })
}

/// Splits a SubjectPublicKeyInfo into its algorithm and the bits of its key.
fn split(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, rest) = take(SEQUENCE, der)?;
    let (algorithm, key) = take(SEQUENCE, info)?;
    let (bits, end) = take(BIT_STRING, key)?;
    let (unused, bits) = bits.split_first()?;
    (rest.is_empty() && end.is_empty() && *unused == 0).then_some((algorithm, bits))
}

/// Reads an RSAPublicKey (RFC 8017, A.1.1).
fn rsa(bits: &[u8]) -> Option<PublicKey> {
    let (numbers, rest) = take(SEQUENCE, bits)?;
    let (n, numbers) = take(INTEGER, numbers)?;
    let (e, end) = take(INTEGER, numbers)?;
    match rest.is_empty() && end.is_empty() {
        true => PublicKey::rsa(n, e),
        false => None,
    }
}

/// Takes one value with this tag from DER; lengths of up to two bytes are enough for any key here.
fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match (first, rest) {
        (0..=0x7f, rest) => (usize::from(*first), rest),
        (0x81, [length, rest @ ..]) => (usize::from(*length), rest),
        (0x82, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        (0x80..=0xff, _) => return None,
    };
    let value = rest.split_at_checked(length)?;
    (*found == tag).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::public_key::Scheme;

    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_of_rfc_8410_is_read() {
        let keys = read(format!("a note\n{ED25519_PEM}{ED25519_PEM}").as_bytes()).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!((keys[0].scheme(), keys[0].kid()), (Scheme::EdDsa, None));
    }

    #[test]
    fn what_is_no_public_key_is_refused_in_words() {
        let check = |pem: &str, expected: &str| {
            let error = read(pem.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{pem}: {error}");
        };
        check("", "no PUBLIC KEY");
        check("not a key", "no PUBLIC KEY");
        let renamed = |name: &str| ED25519_PEM.replace("PUBLIC KEY", name);
        check(&renamed("PRIVATE KEY"), "private key");
        check(&renamed("RSA PRIVATE KEY"), "private key");
        check(&renamed("EC PRIVATE KEY"), "private key");
        check(&renamed("CERTIFICATE"), "not PUBLIC KEY");
        check(&ED25519_PEM.replace("MCow", "MCsw"), "broken");
        check(&ED25519_PEM.replace("MCow", "MC0w"), "broken");
        check(&ED25519_PEM.replace("VwAyEA", "XwAyEA"), "neither RSA");
        check(&ED25519_PEM.replace("MCow", "M*ow"), "not PEM");
    }

    #[test]
    fn cut_off_der_is_no_key() {
        let whole: Vec<u8> = [
            &[SEQUENCE, 42, SEQUENCE, 5],
            ED25519,
            &[BIT_STRING, 33, 0],
            &[7; 32],
        ]
        .concat();
        assert!(key(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(key(&whole[..end]).is_err(), "{end}");
        }
    }
}
