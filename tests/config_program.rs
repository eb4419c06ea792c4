//! The program itself: exit codes, one line of error, help, and tokens.
//!
//! It never starts a node; each run has an environment of its own.

use std::process::Command;

use fanfare::auth::{Config, Verifier};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(line: &[&str], environment: &[(&str, &str)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(line)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Runs a line that is refused as wrong usage or configuration.
fn refused(line: &[&str], environment: &[(&str, &str)], expected: &str) {
    let run = run(line, environment);
    assert_eq!(run.err, format!("fanfare: {expected}\n"), "{line:?}");
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{line:?}");
}

#[test]
fn wrong_usage_is_one_line_and_code_2() {
    let help = "see fanfare --help";
    refused(
        &["dance"],
        &[],
        &format!("unrecognized subcommand 'dance'; {help}"),
    );
    refused(
        &["token"],
        &[],
        &format!("the following required arguments were not provided: --sub <ID>; {help}"),
    );
    refused(
        &["--workers"],
        &[],
        &format!("a value is required for '--workers <N>' but none was supplied; {help}"),
    );
    refused(
        &["--secret-key-bsae=hunter2"],
        &[],
        &format!("unexpected argument '--secret-key-bsae' found; {help}"),
    );
    let ttl = "must be a duration from 1s to 3650d, such as 250ms, 5s or 1h";
    refused(
        &["token", "--sub", "1", "--ttl", "0"],
        &[],
        &format!("--ttl \"0\": {ttl}"),
    );
    refused(
        &["probe", "--url", "redis://127.0.0.1/?token=hunter2"],
        &[],
        "--url: must be ws://, wss://, http:// or https://, such as ws://127.0.0.1:4000/socket",
    );
    refused(
        &["probe", "--url", "http://127.0.0.1/", "--sub", "1"],
        &[],
        "--topic and --sub are for a socket, such as --url ws://127.0.0.1:4000/socket",
    );
}

#[test]
fn wrong_configuration_is_one_line_and_code_2() {
    refused(
        &["--workers", "many"],
        &[],
        "workers = \"many\" (flag --workers): must be a whole number from 0 to 1024",
    );
    refused(
        &[],
        &[("FANFARE_LISTEN", "0.0.0.0:4000")],
        "secret_key_base is required as soon as a listener is not on loopback: set FANFARE_SECRET_KEY_BASE",
    );
    for line in [
        ["--config", "absent.toml"].as_slice(),
        &["check", "--config=absent.toml"],
    ] {
        let run = run(line, &[("FANFARE_CONFIG", "other.toml")]);
        assert!(
            run.err
                .starts_with("fanfare: cannot read the file absent.toml: "),
            "{}",
            run.err
        );
        assert_eq!((run.code, run.err.lines().count()), (Some(2), 1));
    }
}

#[test]
fn the_file_is_found_by_flag_or_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fanfare.toml");
    std::fs::write(&path, "[limits]\ntopics = 0\n").expect("a file");
    let path = path.to_str().expect("UTF-8");
    let expected =
        format!("limits.topics = \"0\" (file {path}): must be a whole number from 1 to 1000000000");
    refused(&["--config", path], &[], &expected);
    refused(&[], &[("FANFARE_CONFIG", path)], &expected);
}

#[test]
fn help_and_version_are_answers() {
    let version = run(&["--version"], &[]);
    assert_eq!(
        version.out,
        format!("fanfare {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!((version.code, version.err.as_str()), (Some(0), ""));
    let help = run(&["--help"], &[("FANFARE_SECRET_KEY_BASE", "hunter2")]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    // Lines may be broken anywhere.
    let words: Vec<&str> = help.out.split_whitespace().collect();
    let words = words.join(" ");
    for part in [
        "serve",
        "migrate",
        "check",
        "token",
        "probe",
        "--listen <ADDR>",
        "--no-migrate",
        "FANFARE_REDIS_URL",
        "[default: 127.0.0.1:4000]",
        "--config <FILE>",
    ] {
        assert!(words.contains(part), "{part} is not in {}", help.out);
    }
    assert!(!help.out.contains("hunter2"));
}

#[test]
fn a_token_is_printed_and_holds() {
    let line = ["token", "--sub", "42", "--name", "ada", "--ttl", "2h"];
    let run = run(&line, &[("FANFARE_SECRET_KEY_BASE", SECRET)]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    let config = Config {
        secret_key_base: Some(SECRET.to_owned()),
        ..Config::default()
    };
    let now_s = fanfare::clock::unix_s();
    let verifier = Verifier::new(&config).expect("keys");
    let who = verifier
        .verify(run.out.trim_end(), now_s)
        .expect("a good token");
    assert_eq!((who.sub.as_str(), who.name.as_deref()), ("42", Some("ada")));
    let left_s = who.expires_at.expect("an end") - now_s;
    assert!((7_140..=7_200).contains(&left_s), "{left_s}");
}

#[test]
fn a_token_needs_a_secret_and_a_player() {
    refused(
        &["token", "--sub", "42"],
        &[],
        "cannot sign a token: there is no secret: secret_key_base is not set; set FANFARE_SECRET_KEY_BASE",
    );
    refused(
        &["token", "--sub", ""],
        &[("FANFARE_SECRET_KEY_BASE", SECRET)],
        "--sub and --name must be 1 to 255 bytes without control characters",
    );
}

#[test]
fn flags_may_stand_before_and_after_the_command() {
    for line in [
        ["--secret-key-base", SECRET, "token", "--sub", "42"],
        ["token", "--sub", "42", "--secret-key-base", SECRET],
    ] {
        let run = run(&line, &[]);
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{line:?}");
        assert_eq!(run.out.matches('.').count(), 2);
    }
}
