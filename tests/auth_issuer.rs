//! A node whose tokens an issuer signs: its start while nobody is there, its check, and an authority of the issuer's own.
//!
//! What a key verifies is in `auth_keys`.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use support::http;
use support::https::{Certificates, Site};
use support::key_server::KeyServer;
use support::node::Setup;
use support::phoenix::{Socket, Version};
use support::port::free_port;
use support::signer::{Signer, jwks};
use support::token::{self, FUTURE};
use tempfile::TempDir;

#[test]
fn a_node_starts_without_its_issuer_and_takes_tokens_once_it_is_there() {
    let signer = Signer::new("ES256");
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}/keys");
    let setup = Setup::new().env("FANFARE_AUTH__JWKS_URL", &url);
    let node = setup.flag("--anonymous", "allow").start();
    assert!(node.log().contains("keys cannot be read"), "{}", node.log());
    let knock = |kid: &str| {
        let token = signer.jwt(Some(kid), &token::claims("42", "ada", FUTURE));
        Socket::try_open(node.clients, Version::V2, &token).map_err(|said| said.status)
    };
    Socket::open(node.clients, "").joined("chat_room:a", &json!({}));
    let listener = TcpListener::bind(&address).expect("the port is still free");
    let server = KeyServer::on(listener, &jwks(&[signer.jwk("a")]));
    // The token waits at the door while its key is fetched.
    knock("a").expect("accepted").joined("user:42", &json!({}));
    assert_eq!(knock("b").err(), Some(403));
    assert_eq!(knock("a").err(), None);
    assert_eq!(server.requests(), 1);
    // Without a secret there is nothing that HS256 could be verified with.
    let shared = Socket::try_open(node.clients, Version::V2, &token::player("42", "ada"));
    assert_eq!(shared.err().map(|said| said.status), Some(403));
    let dev = http::get(node.clients, "/dev/token?name=ada");
    assert_eq!(
        dev.status, 404,
        "a node with an issuer is not in development"
    );
}

#[test]
fn check_says_how_many_keys_are_there() {
    let signer = Signer::new("RS256");
    let server = KeyServer::start(&jwks(&[signer.jwk("a")]));
    let check = |server: &KeyServer| {
        let setup = Setup::new().env("FANFARE_AUTH__JWKS_URL", &server.url());
        let setup = setup.flag("--database-url", "sqlite::memory:");
        setup
            .flag("check", "--no-migrate")
            .run(Duration::from_secs(20))
    };
    let good = check(&server);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(
        good.stdout.contains("public keys    ok      1 read"),
        "{good:?}"
    );
    server.serve("{}");
    let bad = check(&server);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.stdout.contains("public keys    FAILED"), "{bad:?}");
    assert!(!format!("{good:?}{bad:?}").contains("swordfish"), "{bad:?}");
}

#[test]
fn an_issuer_may_have_an_authority_of_its_own() {
    let signer = Signer::new("EdDSA");
    let certificates = Certificates::new();
    let files = TempDir::new().expect("a directory");
    std::fs::write(files.path().join("keys.json"), jwks(&[signer.jwk("a")])).expect("written");
    let site = Site::start(&certificates, files.path());
    let check = |host: &str, authority: Option<&Path>| {
        let url = format!("https://{host}:{}/keys.json", site.port);
        let setup = Setup::new().env("FANFARE_AUTH__JWKS_URL", &url);
        let setup = setup.flag("--database-url", "sqlite::memory:");
        let setup = match authority {
            Some(path) => setup.env("FANFARE_AUTH__JWKS_CA_FILE", &path.to_string_lossy()),
            None => setup,
        };
        let done = setup
            .flag("check", "--no-migrate")
            .run(Duration::from_secs(20));
        let line = done
            .stdout
            .lines()
            .find(|line| line.starts_with("public keys"));
        line.unwrap_or_else(|| panic!("{done:?}")).to_owned()
    };
    let authority = certificates.authority();
    let trusted = "public keys    ok      1 read";
    assert_eq!(check("localhost", Some(&authority)), trusted);
    assert_eq!(check("127.0.0.1", Some(&authority)), trusted);
    let stranger = check("localhost", None);
    assert!(stranger.contains("UnknownIssuer"), "{stranger}");
    let other = check("localhost", Some(&Certificates::new().authority()));
    assert!(
        other.contains("FAILED") && other.contains("no TLS: "),
        "{other}"
    );
    let none = check("localhost", Some(&files.path().join("keys.json")));
    assert!(
        none.contains("FAILED  auth.jwks_ca_file: ") && none.contains("it holds no certificate"),
        "{none}"
    );
}
