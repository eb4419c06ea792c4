//! Public keys: what they verify, that no key passes for another's, and how they are renewed.
//!
//! Keys are made, and tokens signed, by the openssl program; the issuer is a server of the test's own.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::auth::{Config, KeyError, KeyUrl, TokenError, Verifier};
use serde_json::{Value, json};
use support::key_server::KeyServer;
use support::signer::{ALGORITHMS, Signer, jwks};
use support::token::{self, FUTURE, PAST, SECRET};
use tempfile::TempDir;

const NOW: u64 = 1_700_000_000;

fn claims() -> Value {
    token::claims("42", "ada", FUTURE)
}

fn pem_file(dir: &TempDir, pem: &str) -> Config {
    let path = dir.path().join("keys.pem");
    std::fs::write(&path, pem).expect("a key file");
    Config {
        public_key_file: Some(path),
        ..Config::default()
    }
}

fn jwks_file(path: &Path, set: &str) -> Config {
    std::fs::write(path, set).expect("a key file");
    Config {
        jwks_file: Some(path.to_owned()),
        ..Config::default()
    }
}

fn jwks_url(server: &KeyServer) -> Config {
    Config {
        jwks_url: Some(KeyUrl::parse(&server.url()).expect("loopback")),
        ..Config::default()
    }
}

/// Who a token speaks for, or why for nobody.
fn sub(verifier: &Verifier, token: &str) -> Result<String, TokenError> {
    verifier.verify(token, NOW).map(|who| who.sub)
}

fn ok() -> Result<String, TokenError> {
    Ok(String::from("42"))
}

fn runtime() -> tokio::runtime::Runtime {
    let builder = tokio::runtime::Builder::new_current_thread();
    { builder }.enable_all().build().expect("a runtime")
}

#[test]
fn each_kind_of_key_verifies_from_pem_and_from_a_set() {
    let signers = ALGORITHMS.map(Signer::new);
    let dir = TempDir::new().expect("a directory");
    let pem: String = signers.iter().map(Signer::public_pem).collect();
    let set: Vec<Value> = signers
        .iter()
        .zip(ALGORITHMS)
        .map(|(signer, name)| signer.jwk(name))
        .collect();
    let from_pem = Verifier::new(&pem_file(&dir, &pem)).expect("keys");
    let from_set = Verifier::new(&jwks_file(&dir.path().join("set"), &jwks(&set))).expect("keys");
    for (signer, name) in signers.iter().zip(ALGORITHMS) {
        for kid in [None, Some(name)] {
            let token = signer.jwt(kid, &claims());
            assert_eq!(sub(&from_pem, &token), ok(), "{name} {kid:?}");
            assert_eq!(sub(&from_set, &token), ok(), "{name} {kid:?}");
        }
        let token = signer.jwt(None, &token::claims("42", "ada", PAST));
        assert_eq!(sub(&from_pem, &token), Err(TokenError::Expired), "{name}");
        let token = signer.jwt(None, &json!({"sub": "42", "nbf": FUTURE}));
        assert_eq!(sub(&from_pem, &token), Err(TokenError::NotYetValid));
        let stranger = Signer::new(name).jwt(None, &claims());
        assert_eq!(sub(&from_pem, &stranger), Err(TokenError::Forged));
        assert_eq!(sub(&from_set, &stranger), Err(TokenError::Forged));
    }
}

#[test]
fn what_was_changed_after_signing_is_forged() {
    for name in ALGORITHMS {
        let signer = Signer::new(name);
        let dir = TempDir::new().expect("a directory");
        let verifier = Verifier::new(&pem_file(&dir, &signer.public_pem())).expect("keys");
        let token = signer.jwt(None, &claims());
        let parts: Vec<&str> = token.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(token::claims("43", "eve", FUTURE).to_string());
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}"}}"#));
        let check = |forged: String| {
            assert_eq!(sub(&verifier, &forged), Err(TokenError::Forged), "{forged}");
        };
        check(format!("{}.{other}.{}", parts[0], parts[2]));
        check(format!("{header}.{}.{}", parts[1], parts[2]));
        check(format!("{}.{}.", parts[0], parts[1]));
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64url");
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            check(format!("{}.{}.{changed}", parts[0], parts[1]));
        }
        let short = URL_SAFE_NO_PAD.encode(&signature[1..]);
        check(format!("{}.{}.{short}", parts[0], parts[1]));
    }
}

#[test]
fn an_ecdsa_signature_in_der_is_refused() {
    let signer = Signer::new("ES256");
    let dir = TempDir::new().expect("a directory");
    let verifier = Verifier::new(&pem_file(&dir, &signer.public_pem())).expect("keys");
    let text = token::unsigned(&json!({"alg": "ES256"}), &claims());
    let der = URL_SAFE_NO_PAD.encode(signer.raw_signature(text.as_bytes()));
    let token = format!("{text}.{der}");
    assert_eq!(sub(&verifier, &token), Err(TokenError::Forged));
    let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
    let token = format!("{text}.{zeros}");
    assert_eq!(sub(&verifier, &token), Err(TokenError::Forged));
}

/// An HS256 token whose secret is what everybody can read.
fn confused(secret: &str, kid: Option<&str>) -> String {
    let mut header = json!({"alg": "HS256"});
    if let Some(kid) = kid {
        header["kid"] = json!(kid);
    }
    use hmac::{Hmac, Mac};
    let text = token::unsigned(&header, &claims());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(text.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{text}.{signature}")
}

#[test]
fn a_key_of_one_family_never_verifies_for_another() {
    let signers = ALGORITHMS.map(Signer::new);
    let dir = TempDir::new().expect("a directory");
    let pem: String = signers.iter().map(Signer::public_pem).collect();
    let public = pem_file(&dir, &pem);
    let alone = Verifier::new(&public).expect("keys");
    let beside = Verifier::new(&Config {
        secret_key_base: Some(SECRET.to_owned()),
        ..public
    });
    let beside = beside.expect("keys");
    for signer in &signers {
        let pem = signer.public_pem();
        let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
        for secret in [pem.as_str(), pem.trim_end(), body.as_str(), ""] {
            let token = confused(secret, None);
            assert_eq!(sub(&alone, &token), Err(TokenError::Unsigned));
            assert_eq!(sub(&beside, &token), Err(TokenError::Forged));
        }
        for other in ALGORITHMS {
            let claimed = signer.sign(&json!({"alg": other}), &claims());
            let expected = match other == signer.algorithm() {
                true => ok(),
                false => Err(TokenError::Forged),
            };
            assert_eq!(sub(&beside, &claimed), expected, "as {other}");
        }
        let refused = [
            (json!({"alg": "none"}), TokenError::Unsigned),
            (json!({"alg": "RS512"}), TokenError::Unsigned),
            (json!({"alg": "PS256"}), TokenError::Unsigned),
            (json!({"alg": "ES384"}), TokenError::Unsigned),
            (
                json!({"alg": "RS256", "crit": ["x"], "x": 1}),
                TokenError::Malformed,
            ),
            (json!({"alg": "RS256", "crit": null}), TokenError::Malformed),
            (json!({"alg": "RS256", "kid": 7}), TokenError::Malformed),
            (json!({"alg": "HS256"}), TokenError::Forged),
        ];
        for (header, error) in refused {
            let token = signer.sign(&header, &claims());
            assert_eq!(sub(&beside, &token), Err(error), "{header}");
        }
    }
    let shared = token::player("42", "ada");
    assert_eq!(sub(&beside, &shared), ok());
    assert_eq!(sub(&alone, &shared), Err(TokenError::Unsigned));
    let none = format!("{}.", token::unsigned(&json!({"alg": "none"}), &claims()));
    assert_eq!(sub(&beside, &none), Err(TokenError::Unsigned));
    let hour = Duration::from_secs(3_600);
    assert_eq!(alone.sign("42", None, hour, NOW), Err(TokenError::Unsigned));
}

#[test]
fn a_kid_chooses_its_key_and_no_other() {
    let (first, second) = (Signer::new("EdDSA"), Signer::new("EdDSA"));
    let dir = TempDir::new().expect("a directory");
    let set = jwks(&[first.jwk("a"), second.jwk("b")]);
    let config = jwks_file(&dir.path().join("set"), &set);
    let verifier = Verifier::new(&config).expect("keys");
    let check = |signer: &Signer, kid: Option<&str>, expected: Result<String, TokenError>| {
        let token = signer.jwt(kid, &claims());
        assert_eq!(sub(&verifier, &token), expected, "{kid:?}");
    };
    check(&first, Some("a"), ok());
    check(&second, Some("b"), ok());
    check(&second, None, ok());
    check(&first, Some("b"), Err(TokenError::Forged));
    check(&first, Some("c"), Err(TokenError::UnknownKey));
    check(&first, Some(""), Err(TokenError::UnknownKey));
    // Beside a file of nameless keys, those are tried for a name that no set has.
    let config = Config {
        jwks_file: config.jwks_file,
        ..pem_file(&dir, &Signer::new("EdDSA").public_pem())
    };
    let verifier = Verifier::new(&config).expect("keys");
    let token = first.jwt(Some("c"), &claims());
    assert_eq!(sub(&verifier, &token), Err(TokenError::UnknownKey));
}

#[test]
fn a_file_without_a_usable_key_stops_the_start() {
    let dir = TempDir::new().expect("a directory");
    let check = |config: &Config, setting: &str, expected: &str| {
        let error = Verifier::new(config).expect_err(expected);
        assert!(matches!(error, KeyError::Unusable { .. }), "{error:?}");
        let line = error.to_string();
        assert!(
            line.starts_with(setting) && line.contains(expected),
            "{line}"
        );
        assert!(!line.contains('\n') && !line.contains("MII"), "{line}");
    };
    let pem = |text: &str| pem_file(&dir, text);
    let key = "auth.public_key_file: ";
    check(&pem(""), key, "no PUBLIC KEY");
    check(
        &pem(&Signer::new("RS256").private_pem()),
        key,
        "private key",
    );
    let short = Signer::with(
        "RS256",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    );
    check(&pem(&short.public_pem()), key, "2048");
    let curve = Signer::with(
        "ES256",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    );
    check(&pem(&curve.public_pem()), key, "P-256");
    let absent = Config {
        public_key_file: Some(dir.path().join("absent.pem")),
        ..Config::default()
    };
    check(&absent, key, "No such file");
    let set = dir.path().join("set");
    check(&jwks_file(&set, "{}"), "auth.jwks_file: ", "no JWK Set");
    check(
        &jwks_file(&set, r#"{"keys":[]}"#),
        "auth.jwks_file: ",
        "no public key",
    );
    let huge = " ".repeat(256 * 1024 + 1);
    check(&jwks_file(&set, &huge), "auth.jwks_file: ", "256 KiB");
}

#[test]
fn a_file_is_read_again_for_an_unknown_key() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("set");
    let config = jwks_file(&path, &jwks(&[old.jwk("old")]));
    let verifier = Arc::new(Verifier::new(&config).expect("keys"));
    let (old, new) = (old.jwt(Some("old"), &claims()), {
        std::fs::write(&path, jwks(&[new.jwk("new")])).expect("a key file");
        new.jwt(Some("new"), &claims())
    });
    runtime().block_on(async {
        let kept = verifier.clone();
        let running = tokio::spawn(async move { kept.run().await });
        assert_eq!(sub(&verifier, &new), Err(TokenError::UnknownKey));
        assert_eq!(sub(&verifier, &old), ok());
        verifier.renewed().await;
        assert_eq!(sub(&verifier, &new), ok());
        assert_eq!(sub(&verifier, &old), Err(TokenError::UnknownKey));
        running.abort();
    });
}

#[test]
fn a_file_that_changed_is_read_without_being_asked_for() {
    let (old, new) = (Signer::new("EdDSA"), Signer::new("EdDSA"));
    let dir = TempDir::new().expect("a directory");
    let config = pem_file(&dir, &old.public_pem());
    let verifier = Verifier::new(&config).expect("keys");
    let (old, pem, new) = (
        old.jwt(None, &claims()),
        new.public_pem(),
        new.jwt(None, &claims()),
    );
    runtime().block_on(async {
        tokio::time::pause();
        let look = Duration::from_secs(30);
        // A broken file leaves the old keys.
        pem_file(&dir, "half a key");
        let _ = tokio::time::timeout(look, verifier.run()).await;
        assert_eq!(sub(&verifier, &old), ok());
        pem_file(&dir, &pem);
        let _ = tokio::time::timeout(look, verifier.run()).await;
        assert_eq!(sub(&verifier, &new), ok());
        assert_eq!(sub(&verifier, &old), Err(TokenError::Forged));
    });
}

#[test]
fn a_set_is_fetched_again_for_an_unknown_key_and_not_more_than_once_in_a_while() {
    let (old, new) = (Signer::new("RS256"), Signer::new("RS256"));
    let server = KeyServer::start(&jwks(&[old.jwk("old")]));
    let verifier = Arc::new(Verifier::new(&jwks_url(&server)).expect("a place for keys"));
    let set = jwks(&[old.jwk("old"), new.jwk("new")]);
    let (old, new) = (
        old.jwt(Some("old"), &claims()),
        new.jwt(Some("new"), &claims()),
    );
    runtime().block_on(async {
        assert_eq!(sub(&verifier, &old), Err(TokenError::UnknownKey));
        assert_eq!(verifier.refresh().await, Ok(1));
        let head = server.await_requests(1);
        assert!(
            head.starts_with("GET /keys.json?apikey=swordfish HTTP/1.1\r\n"),
            "{head}"
        );
        assert_eq!(sub(&verifier, &old), ok());
        let kept = verifier.clone();
        let running = tokio::spawn(async move { kept.run().await });
        server.serve(&set);
        assert_eq!(sub(&verifier, &new), Err(TokenError::UnknownKey));
        // A crowd with one unknown key, and strangers after it, cause one fetch.
        let crowd = (0..50).map(|_| verifier.renewed());
        futures_util::future::join_all(crowd).await;
        assert_eq!((sub(&verifier, &new), sub(&verifier, &old)), (ok(), ok()));
        for _ in 0..50 {
            verifier.renewed().await;
        }
        assert_eq!(server.requests(), 2);
        running.abort();
    });
}

#[test]
fn old_keys_stay_while_the_issuer_is_at_fault() {
    let signer = Signer::new("EdDSA");
    let good = jwks(&[signer.jwk("a")]);
    let server = KeyServer::start(&good);
    let verifier = Verifier::new(&jwks_url(&server)).expect("a place for keys");
    let token = signer.jwt(Some("a"), &claims());
    let huge = format!("{good}{}", " ".repeat(256 * 1024));
    let body = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let faults = [
        (body("500 Oops", &good), "answered 500"),
        (body("302 Found\r\nlocation: /other", &good), "answered 302"),
        (body("200 OK", "<html>"), "no JWK Set"),
        (body("200 OK", r#"{"keys":[]}"#), "no public key"),
        (body("200 OK", &huge), "length limit"),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{huge}\r\n0\r\n\r\n",
                huge.len()
            ),
            "length limit",
        ),
        (
            String::from("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{"),
            "",
        ),
        (String::from("not HTTP at all\r\n\r\n"), ""),
        (String::new(), ""),
    ];
    runtime().block_on(async {
        assert_eq!(verifier.refresh().await, Ok(1));
        for (answer, expected) in faults {
            server.say(&answer);
            let shown: String = answer.chars().take(60).collect();
            let error = verifier.refresh().await.expect_err(&shown);
            assert!(
                error.contains(expected) && !error.contains("swordfish"),
                "{shown}: {error}"
            );
            assert_eq!(sub(&verifier, &token), ok(), "{shown}");
        }
        server.serve(&good);
        assert_eq!(verifier.refresh().await, Ok(1));
    });
}

#[test]
fn a_set_is_fetched_at_its_interval() {
    let (old, new) = (Signer::new("EdDSA"), Signer::new("EdDSA"));
    let server = KeyServer::start(&jwks(&[old.jwk("old")]));
    let config = Config {
        jwks_refresh: Duration::from_millis(20),
        ..jwks_url(&server)
    };
    let verifier = Arc::new(Verifier::new(&config).expect("a place for keys"));
    let token = new.jwt(Some("new"), &claims());
    let builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = { builder }.worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let kept = verifier.clone();
    let running = runtime.spawn(async move { kept.run().await });
    server.await_requests(3);
    assert_eq!(sub(&verifier, &token), Err(TokenError::UnknownKey));
    server.serve(&jwks(&[new.jwk("new")]));
    // The first may have got the old set; once the third is asked for, the second was taken.
    server.await_requests(server.requests() + 3);
    assert_eq!(sub(&verifier, &token), ok());
    running.abort();
}
