//! JWTs: which are accepted, which are refused and why, and those that we sign.
//!
//! It never asks for the time: every check names its moment.

mod tokens;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::auth::{Config, Identity, TokenError, Verifier};
use serde_json::{Value, json};
use tokens::{NOW, SECRET, Sign, config, hmac256, hmac384, hmac512, signed, verify, who};

fn jwt(header: Value, claims: Value) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    signed(
        header.as_bytes(),
        claims.as_bytes(),
        SECRET.as_bytes(),
        hmac256,
    )
}

fn hs256(claims: Value) -> String {
    jwt(json!({"alg": "HS256", "typ": "JWT"}), claims)
}

#[test]
fn jwts_name_a_player_and_end_when_they_say() {
    let check = |claims: Value, expected: Result<Identity, TokenError>| {
        let token = hs256(claims.clone());
        assert_eq!(verify(&config(), &token, NOW), expected, "{claims}");
    };
    check(json!({"sub": "42"}), who("42", None, None));
    check(
        json!({"sub": 42, "name": "ada"}),
        who("42", Some("ada"), None),
    );
    check(
        json!({"sub": 42, "username": "ada"}),
        who("42", Some("ada"), None),
    );
    check(
        json!({"sub": "42", "name": null, "exp": NOW + 1}),
        who("42", None, Some(NOW + 1)),
    );
    check(
        json!({"sub": "42", "exp": 1_700_000_009.5}),
        who("42", None, Some(NOW + 9)),
    );
    check(json!({"sub": "42", "exp": NOW}), Err(TokenError::Expired));
    check(json!({"sub": "42", "exp": -1}), Err(TokenError::Expired));
    check(
        json!({"sub": "42", "exp": "tomorrow"}),
        Err(TokenError::Malformed),
    );
    check(json!({"sub": "42", "nbf": NOW}), who("42", None, None));
    check(
        json!({"sub": "42", "nbf": NOW + 1}),
        Err(TokenError::NotYetValid),
    );
    check(
        json!({"sub": "42", "nbf": 1_700_000_000.5}),
        Err(TokenError::NotYetValid),
    );
    check(json!({"name": "ada"}), Err(TokenError::Subject));
    check(json!({"sub": ""}), Err(TokenError::Subject));
    check(json!({"sub": 4.2}), Err(TokenError::Subject));
    check(json!({"sub": true}), Err(TokenError::Subject));
    check(json!({"sub": "x".repeat(256)}), Err(TokenError::Subject));
    check(json!({"sub": "4\u{0}2"}), Err(TokenError::Subject));
    check(json!({"sub": "42", "name": 7}), Err(TokenError::Subject));
    check(json!({"sub": "42", "name": ""}), Err(TokenError::Subject));
    check(json!(["42"]), Err(TokenError::Malformed));
}

#[test]
fn jwts_are_only_accepted_with_a_known_algorithm() {
    let claims = json!({"sub": "42"});
    let check = |header: Value, expected: TokenError| {
        let token = jwt(header.clone(), claims.clone());
        assert_eq!(verify(&config(), &token, NOW), Err(expected), "{header}");
    };
    for alg in [
        "none", "None", "NONE", "", "hs256", "RS256", "ES256", "EdDSA", "HS257",
    ] {
        check(json!({"alg": alg}), TokenError::Unsigned);
    }
    check(json!({}), TokenError::Malformed);
    check(json!({"alg": null}), TokenError::Malformed);
    check(
        json!({"alg": "HS256", "crit": ["exp"]}),
        TokenError::Malformed,
    );
    check(json!({"alg": "HS512"}), TokenError::Forged);
    check(json!("HS256"), TokenError::Malformed);
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode("{}")
    );
    assert_eq!(verify(&config(), &none, NOW), Err(TokenError::Unsigned));
    let twice = signed(
        br#"{"alg":"none","alg":"HS256"}"#,
        br#"{"sub":"42"}"#,
        SECRET.as_bytes(),
        hmac256,
    );
    assert_eq!(verify(&config(), &twice, NOW), Err(TokenError::Malformed));
}

#[test]
fn longer_hmacs_of_jwts_are_accepted() {
    let payload = br#"{"sub":"42"}"#;
    for (header, sign) in [
        (br#"{"alg":"HS384"}"#, hmac384 as Sign),
        (br#"{"alg":"HS512"}"#, hmac512 as Sign),
    ] {
        let token = signed(header, payload, SECRET.as_bytes(), sign);
        assert_eq!(verify(&config(), &token, NOW), who("42", None, None));
    }
}

#[test]
fn signing_by_hand_agrees_with_the_example_of_rfc_7515() {
    // Appendix A.1: HS256, its key in base64url; the claims have no `sub` and end in 2011.
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(verify(&config(), token, NOW), Err(TokenError::Forged));
    let key = URL_SAFE_NO_PAD
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .expect("the key");
    let text = token.rsplit_once('.').expect("three parts").0;
    assert_eq!(
        URL_SAFE_NO_PAD.encode(hmac256(&key, text)),
        token.rsplit_once('.').expect("three parts").1
    );
}

#[test]
fn leeway_is_added_at_both_ends() {
    let lenient = Config {
        leeway: Duration::from_secs(10),
        ..config()
    };
    let token = hs256(json!({"sub": "42", "nbf": NOW, "exp": NOW + 5}));
    let ok = who("42", None, Some(NOW + 15));
    assert_eq!(
        verify(&lenient, &token, NOW - 11),
        Err(TokenError::NotYetValid)
    );
    assert_eq!(verify(&lenient, &token, NOW - 10), ok);
    assert_eq!(verify(&lenient, &token, NOW + 14), ok);
    assert_eq!(verify(&lenient, &token, NOW + 15), Err(TokenError::Expired));
}

#[test]
fn issuer_and_audience_are_checked_when_configured() {
    let strict = Config {
        issuer: Some(String::from("us")),
        audience: Some(String::from("game")),
        ..config()
    };
    let check = |claims: Value, expected: Result<Identity, TokenError>| {
        assert_eq!(
            verify(&strict, &hs256(claims.clone()), NOW),
            expected,
            "{claims}"
        );
    };
    let ok = who("42", None, None);
    let bad = Err(TokenError::Audience);
    check(json!({"sub": "42", "iss": "us", "aud": "game"}), ok.clone());
    check(
        json!({"sub": "42", "iss": "us", "aud": ["shop", "game"]}),
        ok,
    );
    check(json!({"sub": "42", "iss": "us", "aud": []}), bad.clone());
    check(
        json!({"sub": "42", "iss": "us", "aud": "shop"}),
        bad.clone(),
    );
    check(json!({"sub": "42", "iss": "us"}), bad.clone());
    check(
        json!({"sub": "42", "iss": "them", "aud": "game"}),
        bad.clone(),
    );
    check(json!({"sub": "42", "aud": "game"}), bad);
}

#[test]
fn own_tokens_are_accepted_until_they_end() {
    let strict = Config {
        issuer: Some(String::from("us")),
        audience: Some(String::from("game")),
        ..config()
    };
    for config in [config(), strict] {
        let verifier = Verifier::new(&config).expect("keys");
        let hour = Duration::from_secs(3_600);
        let token = verifier
            .sign("42", Some("ada"), hour, NOW)
            .expect("a token");
        assert_eq!(
            verifier.verify(&token, NOW),
            who("42", Some("ada"), Some(NOW + 3_600))
        );
        assert_eq!(
            verifier.verify(&token, NOW + 3_600),
            Err(TokenError::Expired)
        );
        let bare = verifier.sign("42", None, hour, NOW).expect("a token");
        assert_eq!(
            verifier.verify(&bare, NOW),
            who("42", None, Some(NOW + 3_600))
        );
        assert_eq!(verifier.sign("", None, hour, NOW), Err(TokenError::Subject));
    }
}

#[test]
fn what_is_no_token_is_said_to_be_missing_or_malformed() {
    let check = |token: &str, expected: TokenError| {
        assert_eq!(verify(&config(), token, NOW), Err(expected), "{token}");
    };
    check("", TokenError::Missing);
    for token in [
        ".",
        "..",
        "...",
        "a",
        "SFMyNTY",
        "SFMyNTY.",
        "SFMyNTY.a",
        "SFMyNTY.YQ.YQ.YQ",
        "é.é.é",
        "a.b.==",
    ] {
        check(token, TokenError::Malformed);
    }
    check("SFMyNTY..", TokenError::Forged);
    check("SFMyNTY.YQ.YQ", TokenError::Forged);
    check(&"a.".repeat(5_000), TokenError::Malformed);
    let padded = format!("{}=", hs256(json!({"sub": "42"})));
    check(&padded, TokenError::Malformed);
}
