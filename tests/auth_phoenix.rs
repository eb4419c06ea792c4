//! `Phoenix.Token`: those that Phoenix signed, what they may hold, and what is refused.
//!
//! It never asks for the time: every check names its moment.

mod tokens;

use std::time::Duration;

use fanfare::auth::{Config, Digest, Identity, TokenError, Verifier};
use serde_json::Value;
use sha2::Sha256;
use tokens::{NOW, SECRET, Sign, config, hmac256, hmac384, hmac512, signed, verify, who};

/// Signs a term as Phoenix does, with an HMAC of our choice.
fn phoenix(name: &str, term: &[u8], sign: Sign) -> String {
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(SECRET.as_bytes(), b"user socket", 1_000, &mut key);
    signed(name.as_bytes(), term, &key, sign)
}

struct Vectors {
    salt: String,
    secret: String,
    signed_at_s: u64,
    tokens: Vec<(String, String)>,
}

fn vectors() -> Vectors {
    let file: Value =
        serde_json::from_str(include_str!("phoenix_token_vectors.json")).expect("the vectors");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    Vectors {
        salt: text(&file["salt"]),
        secret: text(&file["secret_key_base"]),
        signed_at_s: file["signed_at_s"].as_u64().expect("a time"),
        tokens: file["vectors"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|vector| (text(&vector["label"]), text(&vector["token"])))
            .collect(),
    }
}

/// The configuration and the identity of one of Phoenix's vectors.
fn expected(vectors: &Vectors, label: &str) -> (Config, Identity) {
    let plain = Config {
        secret_key_base: Some(vectors.secret.clone()),
        salt: vectors.salt.clone(),
        ..Config::default()
    };
    let at = vectors.signed_at_s;
    let day = Some(at + 86_400);
    let (config, identity) = match label {
        "integer" | "string" => (plain, who("42", None, day)),
        "map" | "atom-key map" => (plain, who("42", Some("ada"), day)),
        "large integer" => (plain, who("12345678901234567890", None, day)),
        "max_age 3600" => (plain, who("42", None, Some(at + 3_600))),
        "max_age infinity" => {
            let max_age = Duration::from_secs(10 * 86_400);
            (
                Config { max_age, ..plain },
                who("42", None, Some(at + 864_000)),
            )
        }
        "sha512, 2000 iterations, 64 bytes" => {
            let config = Config {
                key_digest: Digest::Sha512,
                key_iterations: 2_000,
                key_length: 64,
                ..plain
            };
            (config, who("42", None, day))
        }
        other => panic!("a vector without an expectation: {other}"),
    };
    (config, identity.expect("an identity"))
}

#[test]
fn tokens_of_phoenix_are_accepted_and_end_when_they_say() {
    let vectors = vectors();
    assert_eq!(vectors.tokens.len(), 8);
    for (label, token) in &vectors.tokens {
        let (config, identity) = expected(&vectors, label);
        let end = identity.expires_at.expect("an end");
        assert_eq!(
            verify(&config, token, vectors.signed_at_s),
            Ok(identity.clone()),
            "{label}"
        );
        assert_eq!(verify(&config, token, end - 1), Ok(identity), "{label}");
        assert_eq!(
            verify(&config, token, end),
            Err(TokenError::Expired),
            "{label}"
        );
    }
}

#[test]
fn tokens_of_phoenix_need_the_same_secret_salt_and_derivation() {
    let vectors = vectors();
    let (label, token) = &vectors.tokens[0];
    let (right, _) = expected(&vectors, label);
    let mut wrong = vec![right.clone(); 5];
    wrong[0].secret_key_base = Some(SECRET.to_uppercase());
    wrong[1].salt = String::from("user");
    wrong[2].key_iterations = 999;
    wrong[3].key_length = 31;
    wrong[4].key_digest = Digest::Sha384;
    for config in wrong {
        assert_eq!(
            verify(&config, token, NOW),
            Err(TokenError::Forged),
            "{config:?}"
        );
    }
}

#[test]
fn one_changed_character_anywhere_is_noticed() {
    let vectors = vectors();
    let (config, _) = expected(&vectors, "map");
    let verifier = Verifier::new(&config).expect("keys");
    let token = &vectors.tokens[2].1;
    for at in 0..token.len() {
        let other = if token.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        let mut changed = token.clone();
        changed.replace_range(at..=at, other);
        let refused = verifier.verify(&changed, NOW).expect_err(&changed);
        assert!(
            matches!(refused, TokenError::Forged | TokenError::Malformed),
            "{changed}: {refused}"
        );
    }
}

#[test]
fn the_configured_age_caps_a_token_of_phoenix() {
    let vectors = vectors();
    let (mut config, _) = expected(&vectors, "integer");
    config.max_age = Duration::from_secs(60);
    for label in ["integer", "max_age 3600", "max_age infinity"] {
        let token = &vectors
            .tokens
            .iter()
            .find(|(name, _)| name == label)
            .expect(label)
            .1;
        assert_eq!(
            verify(&config, token, NOW + 59),
            who("42", None, Some(NOW + 60)),
            "{label}"
        );
        assert_eq!(
            verify(&config, token, NOW + 60),
            Err(TokenError::Expired),
            "{label}"
        );
    }
}

/// `signed_at` 1,700,000,000,000 ms and an age of 86,400 s, as they end a term.
const TAIL: &[u8] = b"\x6e\x06\x00\x00\x68\xe5\xcf\x8b\x01\x62\x00\x01\x51\x80";

fn term(data: &[u8]) -> Vec<u8> {
    [b"\x83\x68\x03", data, TAIL].concat()
}

#[test]
fn signed_terms_name_a_player_or_are_refused() {
    let day = Some(NOW + 86_400);
    let bad = Err(TokenError::Subject);
    let check = |data: &[u8], expected: Result<Identity, TokenError>| {
        let token = phoenix("HS256", &term(data), hmac256);
        assert_eq!(verify(&config(), &token, NOW), expected, "{data:02x?}");
    };
    check(b"\x74\0\0\0\x01\x77\x02id\x61\x07", who("7", None, day));
    check(
        b"\x74\0\0\0\x01\x76\0\x07user_id\x61\x07",
        who("7", None, day),
    );
    check(
        b"\x74\0\0\0\x02\x73\x08username\x6d\0\0\0\x01x\x77\x03sub\x61\x07",
        who("7", Some("x"), day),
    );
    check(
        b"\x74\0\0\0\x02\x77\x04name\x77\x03nil\x77\x02id\x61\x07",
        who("7", None, day),
    );
    check(
        b"\x74\0\0\0\x02\x77\x04name\x61\x01\x77\x02id\x61\x07",
        bad.clone(),
    );
    check(b"\x74\0\0\0\x01\x77\x02no\x61\x07", bad.clone());
    check(b"\x6d\0\0\0\0", bad.clone());
    check(b"\x6d\0\0\0\x01\xff", bad.clone());
    check(b"\x6d\0\0\0\x02a\0", bad.clone());
    check(b"\x6d\0\0\0\x02a\n", bad.clone());
    check(
        &[b"\x6d\0\0\x01\0".as_slice(), &[b'a'; 256]].concat(),
        bad.clone(),
    );
    check(b"\x77\x03nil", bad.clone());
    check(b"\x6a", bad.clone());
    check(b"\x68\x01\x61\x01", bad);
}

#[test]
fn older_shapes_and_other_hmacs_of_phoenix_are_accepted() {
    let day = Some(NOW + 86_400);
    let pair = b"\x83\x68\x02\x61\x07\x6e\x06\x00\x00\x68\xe5\xcf\x8b\x01";
    let map =
        b"\x83\x74\0\0\0\x02\x77\x04data\x61\x07\x77\x06signed\x6e\x06\x00\x00\x68\xe5\xcf\x8b\x01";
    let check = |token: String| assert_eq!(verify(&config(), &token, NOW), who("7", None, day));
    check(phoenix("HS256", pair, hmac256));
    check(phoenix("HS256", map, hmac256));
    check(phoenix("HS384", &term(b"\x61\x07"), hmac384));
    check(phoenix("HS512", &term(b"\x61\x07"), hmac512));
}

#[test]
fn signed_nonsense_is_malformed_or_expired() {
    let check = |term: &[u8], expected: TokenError| {
        let token = phoenix("HS256", term, hmac256);
        assert_eq!(verify(&config(), &token, NOW), Err(expected), "{term:02x?}");
    };
    check(b"", TokenError::Malformed);
    check(b"{}", TokenError::Malformed);
    check(b"\x83\x61\x07", TokenError::Malformed);
    check(b"\x83\x68\x01\x61\x07", TokenError::Malformed);
    check(
        b"\x83\x68\x03\x61\x07\x61\x01\x77\x05never",
        TokenError::Malformed,
    );
    check(b"\x83\x68\x03\x61\x07\x61\x01\x61\x01", TokenError::Expired);
    check(
        b"\x83\x68\x03\x61\x07\x62\xff\xff\xff\xff\x62\xff\xff\xff\xff",
        TokenError::Expired,
    );
}

#[test]
fn a_jwt_secret_is_used_instead_and_alone_refuses_tokens_of_phoenix() {
    let own = Config {
        jwt_secret: Some("j".repeat(32)),
        ..config()
    };
    let only = Config {
        secret_key_base: None,
        ..own.clone()
    };
    let old = signed(
        br#"{"alg":"HS256"}"#,
        br#"{"sub":"42"}"#,
        SECRET.as_bytes(),
        hmac256,
    );
    let new = signed(
        br#"{"alg":"HS256"}"#,
        br#"{"sub":"42"}"#,
        "j".repeat(32).as_bytes(),
        hmac256,
    );
    let erlang = phoenix("HS256", &term(b"\x61\x07"), hmac256);
    for config in [&own, &only] {
        assert_eq!(verify(config, &old, NOW), Err(TokenError::Forged));
        assert_eq!(verify(config, &new, NOW), who("42", None, None));
    }
    assert_eq!(
        verify(&own, &erlang, NOW),
        who("7", None, Some(NOW + 86_400))
    );
    assert_eq!(verify(&only, &erlang, NOW), Err(TokenError::Unsigned));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_texts_are_refused_without_a_panic(text in ".{0,200}") {
            prop_assert!(verify(&quick(), &text, NOW).is_err());
        }

        #[test]
        fn random_parts_are_refused_without_a_panic(
            head in prop_oneof![Just("SFMyNTY".to_owned()), Just("eyJhbGciOiJIUzI1NiJ9".to_owned()), "[A-Za-z0-9_-]{0,20}"],
            payload in "[A-Za-z0-9_-]{0,80}",
            signature in "[A-Za-z0-9_-]{0,50}",
        ) {
            let token = format!("{head}.{payload}.{signature}");
            prop_assert!(verify(&quick(), &token, NOW).is_err());
        }

        #[test]
        fn random_signed_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = SECRET.as_bytes();
            let token = signed(br#"{"alg":"HS256"}"#, &payload, key, hmac256);
            let _ = verify(&quick(), &token, NOW);
            let mut derived = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(key, b"user socket", 1, &mut derived);
            let term = [b"\x83".as_slice(), &payload].concat();
            let _ = verify(&quick(), &signed(b"HS256", &term, &derived, hmac256), NOW);
        }
    }

    /// Derives its key at once, for many cases.
    fn quick() -> Config {
        Config {
            key_iterations: 1,
            ..config()
        }
    }
}
