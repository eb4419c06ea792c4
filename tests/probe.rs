//! The command `probe` against a real node: its sockets, its paths, and what it says when they refuse.
//!
//! What a player may do is not tried here.

mod support;

use std::process::Command;

use support::https::{Certificates, Site};
use support::node::Setup;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Probes with the node's secret; the exit code, standard output and standard error.
fn probe(line: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .arg("probe")
        .args(line)
        .env_clear()
        .env("FANFARE_SECRET_KEY_BASE", SECRET)
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn serves(line: &[&str], printed: &str) {
    let expected = (Some(0), format!("ok {printed}\n"), String::new());
    assert_eq!(probe(line), expected, "{line:?}");
}

fn fails(line: &[&str], why: &str) {
    let expected = (Some(1), String::new(), format!("fanfare: {why}\n"));
    assert_eq!(probe(line), expected, "{line:?}");
}

#[test]
fn a_probe_tells_what_serves_from_what_does_not() {
    let node = Setup::new()
        .secret(SECRET)
        .flag("--anonymous", "deny")
        .start();
    let socket = format!("ws://{}/socket", node.clients);
    let operators = format!("http://{}", node.admin);

    serves(&["--url", &socket, "--sub", "1"], &socket);
    let lobby = ["--url", &socket, "--sub", "1", "--topic", "chat_room:lobby"];
    serves(&lobby, &socket);
    let missing = ["--url", &socket, "--sub", "1", "--topic", "nowhere"];
    fails(
        &missing,
        r#"join failed: {"response":{"reason":"unmatched topic"},"status":"error"}"#,
    );
    fails(
        &["--url", &socket],
        "connect failed: HTTP error: 403 Forbidden",
    );

    let ready = format!("{operators}/readyz");
    serves(&["--url", &ready], &ready);
    let secret = format!("{ready}?token=hunter2");
    serves(&["--url", &secret], &ready);
    let nothing = format!("{operators}/nothing");
    fails(&["--url", &nothing], "GET failed: answered 404");
    let plain = format!("https://{}/readyz", node.admin);
    let (code, _, why) = probe(&["--url", &plain]);
    assert_eq!(code, Some(1));
    assert!(why.starts_with("fanfare: GET failed: no TLS: "), "{why}");
}

#[test]
fn a_probe_trusts_the_authority_it_is_given() {
    let certificates = Certificates::new();
    let files = tempfile::TempDir::new().expect("a directory");
    std::fs::write(files.path().join("readyz"), "ok").expect("written");
    let site = Site::start(&certificates, files.path());
    let url = format!("https://localhost:{}/readyz", site.port);
    let authority = certificates.authority();
    let authority = authority.to_str().expect("UTF-8");
    serves(&["--url", &url, "--ca-file", authority], &url);
    let (code, _, why) = probe(&["--url", &url]);
    assert_eq!(code, Some(1));
    assert!(
        why.contains("no TLS: ") && why.contains("UnknownIssuer"),
        "{why}"
    );
    let (code, _, why) = probe(&["--url", &url, "--ca-file", "missing.pem"]);
    assert_eq!(code, Some(1));
    assert!(
        why.starts_with("fanfare: --ca-file: missing.pem: "),
        "{why}"
    );
}
