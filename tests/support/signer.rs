//! Private keys made for one test by the openssl program, and JWTs signed with them.
//!
//! It never signs with the crate or its libraries, so that a mistake there can't hide itself.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::token;

/// The kinds of keys that the node takes, by the names of their algorithms.
pub const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// A private key in a directory of its own.
pub struct Signer {
    algorithm: &'static str,
    dir: TempDir,
}

impl Signer {
    /// Makes a key for `RS256` (2,048 bits), `ES256` or `EdDSA`.
    pub fn new(algorithm: &'static str) -> Self {
        let options: &[&str] = match algorithm {
            "RS256" => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ES256" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "EdDSA" => &["-algorithm", "ED25519"],
            other => panic!("no key for {other}"),
        };
        Self::with(algorithm, options)
    }

    /// Makes a key as `openssl genpkey` is told.
    pub fn with(algorithm: &'static str, options: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory for a key");
        let made = Self { algorithm, dir };
        let key = made.path("key.pem");
        let key = key.to_str().expect("UTF-8");
        openssl(&[&["genpkey", "-quiet", "-out", key], options].concat());
        made
    }

    /// The algorithm that it was made for.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The public key as PEM.
    pub fn public_pem(&self) -> String {
        let key = self.path("key.pem");
        let pem = openssl(&["pkey", "-pubout", "-in", key.to_str().expect("UTF-8")]);
        String::from_utf8(pem).expect("PEM is text")
    }

    /// The private key as PEM.
    pub fn private_pem(&self) -> String {
        std::fs::read_to_string(self.path("key.pem")).expect("the key")
    }

    /// The public key as an entry of a JWK Set.
    pub fn jwk(&self, kid: &str) -> Value {
        let key = self.path("key.pem");
        let key = key.to_str().expect("UTF-8");
        let der = openssl(&["pkey", "-pubout", "-outform", "DER", "-in", key]);
        let tail =
            |from: usize, to: usize| URL_SAFE_NO_PAD.encode(&der[der.len() - from..der.len() - to]);
        let fields = match self.algorithm {
            "RS256" => {
                let said = openssl(&["rsa", "-noout", "-modulus", "-in", key]);
                let said = String::from_utf8(said).expect("text");
                let digits = said.trim().strip_prefix("Modulus=").expect("a modulus");
                json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(unhex(digits)), "e": "AQAB"})
            }
            "ES256" => json!({"kty": "EC", "crv": "P-256", "x": tail(64, 32), "y": tail(32, 0)}),
            _ => json!({"kty": "OKP", "crv": "Ed25519", "x": tail(32, 0)}),
        };
        let mut entry = fields;
        entry["kid"] = json!(kid);
        entry["alg"] = json!(self.algorithm);
        entry["use"] = json!("sig");
        entry
    }

    /// Signs claims, with a `kid` in the header when there is one.
    pub fn jwt(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        self.sign(&header, claims)
    }

    /// Signs any header and claims with this key, whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = token::unsigned(header, claims);
        let signature = self.signature(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The signature of a text as a JWT has it.
    fn signature(&self, text: &[u8]) -> Vec<u8> {
        let raw = self.raw_signature(text);
        match self.algorithm {
            "ES256" => fixed(&raw),
            _ => raw,
        }
    }

    /// The signature of a text as openssl writes it: with ECDSA that is DER.
    pub fn raw_signature(&self, text: &[u8]) -> Vec<u8> {
        let (key, input) = (self.path("key.pem"), self.path("text"));
        std::fs::write(&input, text).expect("a file to sign");
        let (key, input) = (key.to_str().expect("UTF-8"), input.to_str().expect("UTF-8"));
        match self.algorithm {
            "EdDSA" => openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", input]),
            _ => openssl(&["dgst", "-sha256", "-sign", key, input]),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A JWK Set.
pub fn jwks(entries: &[Value]) -> String {
    json!({"keys": entries}).to_string()
}

fn openssl(args: &[&str]) -> Vec<u8> {
    let done = Command::new("openssl").args(args).output();
    let done = done.expect("openssl runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {args:?}: {said}");
    done.stdout
}

/// Two INTEGERs in a SEQUENCE as two numbers of 32 bytes (RFC 7518, 3.4).
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut out = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        out.resize(out.len() + 32 - number.len(), 0);
        out.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    out
}

fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(pair).collect()
}
