//! Settings: which source wins, what is refused and in which words, and what follows from what.
//!
//! It never touches the environment of the process: sources are given.

mod given;

use fanfare::config::{Anonymous, LogFormat, Settings, keys};
use given::{SECRET, line, settings, sources};

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let read = |flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str| {
        Settings::assemble(&sources(flags, environment, file))
            .expect("settings")
            .workers
    };
    let (flag, variable, file) = (("workers", "3"), ("FANFARE_WORKERS", "2"), "workers = 1");
    assert_eq!(read(&[], &[], ""), 0);
    assert_eq!(read(&[], &[], file), 1);
    assert_eq!(read(&[], &[variable], file), 2);
    assert_eq!(read(&[flag], &[variable], file), 3);
    assert_eq!(read(&[flag], &[], file), 3);
    assert_eq!(read(&[flag], &[], ""), 3);
}

#[test]
fn every_section_is_read_from_environment_and_file() {
    let file = "
        log = \"json\"
        migrate = false
        [limits]
        frame_bytes = \"8KiB\"
        idle_seconds = 30
        [transport]
        origins = [\"//a.example\", \"https://*.b.example\"]
    ";
    let settings = settings(
        &[
            ("FANFARE_DRAIN__WAIT", "250ms"),
            ("FANFARE_STORE__LANES", "9"),
        ],
        file,
    );
    assert_eq!(settings.log, LogFormat::Json);
    assert!(!settings.migrate);
    assert_eq!(settings.limits.frame_bytes, 8_192);
    assert_eq!(settings.limits.idle_seconds, 30);
    assert_eq!(settings.drain.wait.as_millis(), 250);
    assert_eq!(settings.store.lanes, 9);
    let origins = fanfare::transport::OriginPolicy::parse("//a.example,https://*.b.example");
    assert_eq!(Ok(settings.transport.origins), origins);
}

#[test]
fn unknown_names_are_refused_with_what_may_be_meant() {
    let check = |environment: &[(&str, &str)], file: &str, expected: &str| {
        assert_eq!(line(&[], environment, file), expected);
    };
    check(
        &[],
        "listne = 1",
        "listne (file f.toml): is not a setting; is listen meant?",
    );
    check(
        &[],
        "[limit]\na = 1",
        "[limit] (file f.toml): is not a setting; is [limits] meant?",
    );
    check(&[], "[zzzzzz]", "[zzzzzz] (file f.toml): is not a setting");
    check(
        &[],
        "[limits]\nframe_byte = 1",
        "limits.frame_byte (file f.toml): is not a setting; is limits.frame_bytes meant?",
    );
    check(
        &[],
        "frame_bytes = 1",
        "frame_bytes (file f.toml): is not a setting; is limits.frame_bytes meant?",
    );
    check(
        &[("FANFARE_LIMITS_FRAME_BYTES", "1")],
        "",
        "FANFARE_LIMITS_FRAME_BYTES (environment): is not a setting; \
         is FANFARE_LIMITS__FRAME_BYTES meant?",
    );
    check(
        &[("FANFARE_", "1")],
        "",
        "FANFARE_ (environment): is not a setting",
    );
}

#[test]
fn variables_of_others_and_of_kubernetes_are_left_alone() {
    let others = [
        ("PATH", "/bin"),
        ("FANFARE_CONFIG", "f.toml"),
        ("FANFARE_SERVICE_HOST", "10.0.0.1"),
        ("FANFARE_SERVICE_PORT", "4000"),
        ("FANFARE_SERVICE_PORT_HTTP", "4000"),
        ("FANFARE_PORT", "tcp://10.0.0.1:4000"),
        ("FANFARE_PORT_4000_TCP", "tcp://10.0.0.1:4000"),
        ("FANFARE_PORT_4000_TCP_PROTO", "tcp"),
        ("FANFARE_PORT_4000_TCP_PORT", "4000"),
        ("FANFARE_PORT_4000_TCP_ADDR", "10.0.0.1"),
        ("FANFARE_ADMIN_PORT", "tcp://10.0.0.1:4001"),
    ];
    settings(&others, "");
    for mine in [
        ("FANFARE_PORT", "4000"),
        ("FANFARE_LISTEN_PORT", "4000"),
        ("FANFARE_PORT_A_TCP", "x"),
    ] {
        assert!(
            line(&[], &[mine], "").contains("is not a setting"),
            "{mine:?}"
        );
    }
}

#[test]
fn bad_values_are_refused_with_their_source_and_what_is_allowed() {
    let file = |text: &str, expected: &str| assert_eq!(line(&[], &[], text), expected);
    let count = "must be a whole number from 0 to 1024";
    file(
        "workers = -1",
        &format!("workers = \"-1\" (file f.toml): {count}"),
    );
    file(
        "workers = 1.5",
        &format!("workers = \"1.5\" (file f.toml): {count}"),
    );
    file(
        "workers = [1]",
        "workers (file f.toml): must be one value (count)",
    );
    file(
        "limits = 1",
        "limits (file f.toml): must be a section: [limits]",
    );
    file(
        "log = \"xml\"",
        "log = \"xml\" (file f.toml): must be text or json",
    );
    file(
        "migrate = 1",
        "migrate = \"1\" (file f.toml): must be true or false",
    );
    file(
        "listen = \"4000\"",
        "listen = \"4000\" (file f.toml): must be IP:PORT, such as 127.0.0.1:4000 or [::]:4000",
    );
    file(
        "[limits]\nframe_bytes = \"lots\"",
        "limits.frame_bytes = \"lots\" (file f.toml): must be a size from 1024 to 67108864 bytes, \
         such as 65536, 64KiB or 1MiB",
    );
    file(
        "[drain]\nwait = \"soon\"",
        "drain.wait = \"soon\" (file f.toml): must be a duration from 0s to 1h, such as 250ms, 5s or 1h",
    );
    file(
        "[transport]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/40\"]",
        "transport.trusted_proxies = \"10.0.0.0/8,10.0.0.0/40\" (file f.toml): must be networks such as 10.0.0.0/8 \
         or fd00::/8: \"10.0.0.0/40\" is not a network such as 10.0.0.0/8",
    );
    file(
        "[transport]\norigins = [\"//a.example\", \"b.example\"]",
        "transport.origins = \"//a.example,b.example\" (file f.toml): must be off, host, host:NAME, connection \
         or origins such as //example.com: \"b.example\" is not an origin such as //example.com",
    );
    assert_eq!(
        line(&[], &[("FANFARE_WORKERS", "")], ""),
        format!("workers = \"\" (environment FANFARE_WORKERS): {count}")
    );
    assert_eq!(
        line(&[("admin_listen", "here")], &[], ""),
        "admin_listen = \"here\" (flag --admin-listen): must be IP:PORT, such as 127.0.0.1:4000 or [::]:4000"
    );
    assert_eq!(
        line(&[("workers", "1")], &[("FANFARE_WORKERS", "x")], ""),
        format!("workers = \"x\" (environment FANFARE_WORKERS): {count}"),
        "a bad value is an error even where it is overridden"
    );
}

#[test]
fn broken_toml_names_the_line_and_not_its_text() {
    let text = line(&[], &[], "workers = 1\nsecret_key_base = \"hunter2hunter2");
    assert!(text.starts_with("file f.toml, line 2: "), "{text}");
    assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
    let twice = line(&[], &[], "workers = 1\n\nworkers = 2");
    assert_eq!(twice, "file f.toml, line 3: duplicate key");
}

#[test]
fn no_error_shows_a_secret() {
    let marked = "hunter2";
    let mut seen = 0;
    for key in keys().filter(|key| key.secret) {
        seen += 1;
        let variable = key.variable();
        let table = match key.section {
            "" => format!("{} = \"{marked}\"", key.name),
            section => format!("[{section}]\n{} = \"{marked}\"", key.name),
        };
        let lists = table.replace("\"hunter2\"", "[\"hunter2\"]");
        let lines = [
            line(&[], &[(&variable, marked)], ""),
            line(&[], &[], &table),
            line(&[], &[], &lists),
            line(&[(&key.path(), marked)], &[], ""),
        ];
        for line in lines {
            assert!(
                line.contains(&key.path()) && !line.contains(marked),
                "{line}"
            );
        }
    }
    assert_eq!(seen, 5);
    let password = "redis://user:hunter2@127.0.0.1";
    let kept = settings(
        &[
            ("FANFARE_SECRET_KEY_BASE", SECRET),
            ("FANFARE_REDIS_URL", password),
        ],
        "",
    );
    let shown = format!("{kept:?} {:?} {:?}", kept.broker, kept.store);
    assert!(
        !shown.contains(marked) && !shown.contains(SECRET),
        "{shown}"
    );
}

#[test]
fn a_secret_is_required_with_redis_and_beyond_loopback() {
    let redis = ("FANFARE_REDIS_URL", "redis://127.0.0.1");
    let public = ("FANFARE_LISTEN", "0.0.0.0:4000");
    let secret = ("FANFARE_SECRET_KEY_BASE", SECRET);
    let jwt = ("FANFARE_AUTH__JWT_SECRET", SECRET);
    let set = "set FANFARE_SECRET_KEY_BASE";
    let with_redis = format!("secret_key_base is required as soon as redis_url is set: {set}");
    let beyond =
        format!("secret_key_base is required as soon as a listener is not on loopback: {set}");
    assert_eq!(line(&[], &[redis], ""), with_redis);
    assert_eq!(line(&[], &[redis, jwt], ""), with_redis);
    assert_eq!(line(&[], &[public], ""), beyond);
    assert_eq!(
        line(&[], &[public, ("FANFARE_ANONYMOUS", "allow")], ""),
        beyond
    );
    assert_eq!(
        line(&[], &[("FANFARE_ADMIN_LISTEN", "[::]:4001")], ""),
        beyond
    );
    assert!(settings(&[], "").development);
    assert!(!settings(&[jwt], "").development);
    assert!(!settings(&[secret], "").development);
    let linked = settings(&[secret, redis, public], "");
    assert!(!linked.development);
    assert_eq!(linked.broker.url, linked.redis_url);
    assert_eq!(linked.redis_url.as_deref(), Some("redis://127.0.0.1"));
    for short in ["", "x", &SECRET[1..]] {
        assert_eq!(
            line(&[], &[("FANFARE_SECRET_KEY_BASE", short)], ""),
            "secret_key_base (environment FANFARE_SECRET_KEY_BASE): \
             must have 32 to 4096 bytes, best 64 random ones"
        );
    }
}

#[test]
fn only_a_node_in_development_makes_a_secret() {
    let mut development = settings(&[], "");
    assert!(development.make_secret());
    assert!(!development.make_secret(), "once is enough");
    assert!(development.auth.secret_key_base.is_some());
    let mut production = settings(&[("FANFARE_SECRET_KEY_BASE", SECRET)], "");
    assert!(!production.make_secret());
    assert_eq!(production.auth.secret_key_base.as_deref(), Some(SECRET));
}

#[test]
fn guests_are_allowed_on_loopback_only_unless_said_otherwise() {
    let check = |environment: &[(&str, &str)], expected: Anonymous| {
        let all = [environment, &[("FANFARE_SECRET_KEY_BASE", SECRET)]].concat();
        assert_eq!(settings(&all, "").anonymous, expected, "{environment:?}");
    };
    check(&[], Anonymous::Allow);
    check(&[("FANFARE_LISTEN", "[::1]:4000")], Anonymous::Allow);
    check(
        &[("FANFARE_LISTEN", "[::ffff:127.0.0.1]:4000")],
        Anonymous::Allow,
    );
    check(&[("FANFARE_LISTEN", "0.0.0.0:4000")], Anonymous::Deny);
    check(&[("FANFARE_ADMIN_LISTEN", "0.0.0.0:4001")], Anonymous::Deny);
    check(
        &[
            ("FANFARE_LISTEN", "0.0.0.0:4000"),
            ("FANFARE_ANONYMOUS", "allow"),
        ],
        Anonymous::Allow,
    );
    check(&[("FANFARE_ANONYMOUS", "deny")], Anonymous::Deny);
}

#[test]
fn the_listeners_differ_unless_the_ports_are_free_ones() {
    let same = [("FANFARE_ADMIN_LISTEN", "127.0.0.1:4000")];
    let expected = "listen and admin_listen are both 127.0.0.1:4000: they must differ";
    assert_eq!(line(&[], &same, ""), expected);
    settings(
        &[
            ("FANFARE_LISTEN", "127.0.0.1:0"),
            ("FANFARE_ADMIN_LISTEN", "127.0.0.1:0"),
        ],
        "",
    );
}

#[test]
fn weak_choices_are_warned_about() {
    let check = |environment: &[(&str, &str)], expected: &[&str]| {
        let warnings = settings(environment, "").warnings();
        assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
        for (warning, part) in warnings.iter().zip(expected) {
            assert!(warning.contains(part), "{warning}");
        }
    };
    let secret = ("FANFARE_SECRET_KEY_BASE", SECRET);
    let redis = ("FANFARE_REDIS_URL", "redis://127.0.0.1");
    check(&[secret], &[]);
    check(&[], &["no secret"]);
    check(&[secret, redis], &["SQLite"]);
    check(
        &[secret, redis, ("FANFARE_DATABASE_URL", "postgres://h/d")],
        &[],
    );
    check(
        &[secret, ("FANFARE_STORE__SYNCHRONOUS_COMMIT", "off")],
        &["synchronous_commit"],
    );
    check(
        &[secret, ("FANFARE_TRANSPORT__ORIGINS", "off")],
        &["origins"],
    );
}
