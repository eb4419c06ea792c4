//! JSON Web Tokens: the header, the claims, and a signed token of our own.
//!
//! It never verifies a signature; it reads headers before and claims only after that was done.
//! Rules: RFC 7515 (JWS), RFC 7519 (JWT).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mac::Hs;
use super::public_key::Scheme;
use super::{Identity, TokenError, identity};

/// Which family of keys a token asks for; a key of one never verifies the other's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A secret that signer and node share.
    Shared(Hs),
    /// A public key of the signer.
    Public(Scheme),
}

/// What the protected header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Which key, in the signer's words.
    pub kid: Option<String>,
}

/// The protected header as it is written. Repeated names are refused (RFC 7515, 4).
#[derive(Deserialize)]
struct Written {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11); none is.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Says that a name is there, whatever its value, `null` included.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(|_| true)
}

/// Reads a protected header.
///
/// # Errors
/// [`TokenError::Malformed`]; [`TokenError::Unsigned`] for `none` and every other unknown `alg`.
pub fn header(protected: &[u8]) -> Result<Header, TokenError> {
    let written: Written = serde_json::from_slice(protected).map_err(|_| TokenError::Malformed)?;
    if written.crit {
        return Err(TokenError::Malformed);
    }
    let shared = Hs::named(&written.alg).map(Algorithm::Shared);
    let algorithm = shared.or_else(|| Scheme::named(&written.alg).map(Algorithm::Public));
    Ok(Header {
        algorithm: algorithm.ok_or(TokenError::Unsigned)?,
        kid: written.kid,
    })
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    name: Option<Value>,
    username: Option<Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
}

/// `aud`: one text or several (RFC 7519, 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What the claims of a token must say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Tolerance on `exp` and `nbf`, in seconds.
    pub leeway_s: u64,
    /// The issuer, when it is checked.
    pub issuer: Option<String>,
    /// The audience, when it is checked.
    pub audience: Option<String>,
}

impl Expectation {
    /// Reads verified claims. The identity ends at `exp` plus the leeway.
    ///
    /// # Errors
    /// [`TokenError`], except `Missing`, `Unsigned` and `Forged`.
    pub fn read(&self, payload: &[u8], now_s: u64) -> Result<Identity, TokenError> {
        let claims: Claims = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
        let expires_at = claims
            .exp
            .map(|exp| whole_s(exp).saturating_add(self.leeway_s));
        if expires_at.is_some_and(|end| now_s >= end) {
            return Err(TokenError::Expired);
        }
        let starts_at = claims.nbf.map_or(0, |nbf| whole_s(nbf.ceil()));
        if now_s.saturating_add(self.leeway_s) < starts_at {
            return Err(TokenError::NotYetValid);
        }
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(TokenError::Audience);
        }
        if self
            .audience
            .as_ref()
            .is_some_and(|ours| !claims.is_for(ours))
        {
            return Err(TokenError::Audience);
        }
        let name = match claims.name.or(claims.username) {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(TokenError::Subject),
        };
        identity(id(claims.sub)?, name, expires_at)
    }

    /// Writes the signing input (`header.claims`) of an HS256 token that this expectation accepts.
    pub fn unsigned(&self, who: &Identity, now_s: u64) -> String {
        let claims = OwnClaims {
            sub: &who.sub,
            name: who.name.as_deref(),
            iat: now_s,
            exp: who.expires_at,
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
        };
        let claims = serde_json::to_vec(&claims).expect("texts and numbers are always JSON");
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims))
    }
}

impl Claims {
    fn is_for(&self, ours: &str) -> bool {
        match &self.aud {
            None => false,
            Some(Audience::One(one)) => one == ours,
            Some(Audience::Many(many)) => many.iter().any(|one| one == ours),
        }
    }
}

#[derive(Serialize)]
struct OwnClaims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// A NumericDate (RFC 7519, 2) in whole seconds; before the epoch is 0.
fn whole_s(date: f64) -> u64 {
    // The cast saturates: negative numbers become 0, huge ones the largest number.
    date as u64
}

fn id(sub: Option<Value>) -> Result<String, TokenError> {
    match sub {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        Some(
            Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_),
        )
        | None => Err(TokenError::Subject),
    }
}
