//! What events are answered with, and what they save or broadcast.
//!
//! Only the declared kinds; the trait is tested where it lives.

use super::*;
use crate::channels::Persist;
use crate::protocol::Payload;

const INTEGER: &str = "must be an integer from 0 to 9007199254740991";
const KEY: &str = "must be a string of 1 to 64 bytes, without NUL";
const TEXT: &str = "must be a string of 1 to 4096 bytes, not blank, without NUL";
const NAME: &str = "must be a string of 1 to 64 bytes, not blank, without NUL";
const UNAUTHORIZED: &str = r#"error {"reason":"unauthorized"}"#;

fn check(stage: Stage, topic: &str, event: &str, payload: &str, expected: &str) {
    let joined = stage.join(topic, "{}");
    assert!(joined.result.is_ok(), "{topic} {:?}", joined.result);
    let (_, said) = joined.send(event, payload);
    assert_eq!(said, expected, "{topic} {event} {payload}");
}

fn invalid(errors: &[(&str, &str)]) -> String {
    let errors: serde_json::Map<_, _> = errors
        .iter()
        .map(|(field, rule)| ((*field).to_owned(), (*rule).into()))
        .collect();
    let response = serde_json::json!({ "reason": "invalid", "errors": errors });
    format!("error {response}")
}

#[test]
fn scores_are_whole_numbers_of_players() {
    let ok = |score: &str| format!("save before score:chess by 42=ada key -: score 7 {score}");
    let score = |text: &str| format!(r#"{{"player_score":{text}}}"#);
    for text in ["0", "1", "9007199254740991"] {
        check(
            stage(),
            "score:chess",
            "save_score",
            &score(text),
            &ok(text),
        );
    }
    for text in [
        "-1",
        "-0",
        "1.0",
        "1e3",
        "1E0",
        "9007199254740992",
        "1e400",
        "\"1\"",
        "true",
        "null",
        "[1]",
        "{}",
        "999999999999999999999999999999",
    ] {
        let expected = invalid(&[("player_score", INTEGER)]);
        check(
            stage(),
            "score:chess",
            "save_score",
            &score(text),
            &expected,
        );
    }
    let missing = invalid(&[("player_score", INTEGER)]);
    check(stage(), "score:chess", "save_score", "{}", &missing);
    for payload in [r#"{"player_score":1}"#, "{}", "[]"] {
        check(
            stage().guest(),
            "score:chess",
            "save_score",
            payload,
            UNAUTHORIZED,
        );
    }
}

#[test]
fn messages_are_text_of_a_bounded_size() {
    let ok = |text: &str| {
        format!("save before chat_room:lobby by 42=ada key -: message lobby ada: {text}")
    };
    let sent = |text: &str| serde_json::json!({ "message": text }).to_string();
    let longest = "é".repeat(2_048);
    for text in ["a", " a ", "\u{1F600}", "\"\\\n", &longest] {
        check(
            stage(),
            "chat_room:lobby",
            "new_message",
            &sent(text),
            &ok(text),
        );
    }
    let expected = invalid(&[("message", TEXT)]);
    let longer = format!("{longest}a");
    for text in ["", " ", "\t\n\u{a0}\u{2003}", "a\0b", &longer] {
        check(
            stage(),
            "chat_room:lobby",
            "new_message",
            &sent(text),
            &expected,
        );
    }
    for payload in [
        "{}",
        r#"{"message":null}"#,
        r#"{"message":1}"#,
        r#"{"message":["a"]}"#,
        r#"{"message":{"a":"b"}}"#,
        r#"{"message":"\ud800"}"#,
    ] {
        check(
            stage(),
            "chat_room:lobby",
            "new_message",
            payload,
            &expected,
        );
    }
}

#[test]
fn names_count_only_for_guests() {
    let ok = |author: &str, name: &str| {
        format!("save before chat_room:lobby by {author} key -: message lobby {name}: hi")
    };
    let longest = "n".repeat(64);
    for (name, shown) in [
        (None, "guest"),
        (Some("null".into()), "guest"),
        (Some(r#""Zoë""#.into()), "Zoë"),
        (Some(format!(r#""{longest}""#)), longest.as_str()),
    ] {
        let field = name.map_or(String::new(), |name| format!(r#","name":{name}"#));
        let payload = format!(r#"{{"message":"hi"{field}}}"#);
        let expected = ok("nobody", shown);
        check(
            stage().guest(),
            "chat_room:lobby",
            "new_message",
            &payload,
            &expected,
        );
        let expected = ok("42=ada", "ada");
        check(
            stage(),
            "chat_room:lobby",
            "new_message",
            &payload,
            &expected,
        );
    }
    for name in [
        r#""""#,
        r#"" ""#,
        r#""a\u0000""#,
        "1",
        &format!(r#""{longest}n""#),
    ] {
        let payload = format!(r#"{{"message":"hi","name":{name}}}"#);
        let expected = invalid(&[("name", NAME)]);
        check(
            stage().guest(),
            "chat_room:lobby",
            "new_message",
            &payload,
            &expected,
        );
        let expected = ok("42=ada", "ada");
        check(
            stage(),
            "chat_room:lobby",
            "new_message",
            &payload,
            &expected,
        );
    }
}

#[test]
fn a_token_names_its_player() {
    for (given, shown) in [
        (Some("Ada L."), "Ada L."),
        (None, "ada"),
        (Some(" "), "ada"),
        (Some("a\0"), "ada"),
    ] {
        let mut stage = stage();
        stage.client.name = given.map(String::from);
        let expected =
            format!("save before chat_room:lobby by 42=ada key -: message lobby {shown}: hi");
        check(
            stage,
            "chat_room:lobby",
            "new_message",
            r#"{"message":"hi"}"#,
            &expected,
        );
    }
}

#[test]
fn annotations_have_a_text_and_a_place() {
    let ok = "save before videos:5 by 42=ada key -: annotation 5 1500 hi";
    let body = ("body", TEXT);
    let at = ("at", INTEGER);
    for (payload, expected) in [
        (r#"{"body":"hi","at":1500}"#, ok.to_owned()),
        (r#"{"body":"hi"}"#, invalid(&[at])),
        (r#"{"body":"hi","at":-1}"#, invalid(&[at])),
        (r#"{"body":"hi","at":1.5}"#, invalid(&[at])),
        (r#"{"body":"hi","at":"1"}"#, invalid(&[at])),
        (r#"{"at":1}"#, invalid(&[body])),
        (r#"{"body":"  ","at":1}"#, invalid(&[body])),
        (r#"{"body":7,"at":1}"#, invalid(&[body])),
        ("{}", invalid(&[at, body])),
    ] {
        check(stage(), "videos:5", "new_annotation", payload, &expected);
        check(
            stage().guest(),
            "videos:5",
            "new_annotation",
            payload,
            UNAUTHORIZED,
        );
    }
}

#[test]
fn forged_fields_are_dropped() {
    let forged = r#""id":1,"uid":"00000000-0000-7000-8000-000000000000","player_id":"1",
        "game_id":1,"video_id":1,"room":"x","topic":"x","inserted_at":"1970-01-01T00:00:00Z",
        "username":"root","user":{"id":"1","username":"root"},"extra":[{"deep":null}]"#;
    for (topic, event, fields, expected) in [
        (
            "score:chess",
            "save_score",
            r#""player_score":3,"name":"root""#,
            "save before score:chess by 42=ada key -: score 7 3",
        ),
        (
            "chat_room:lobby",
            "new_message",
            r#""message":"m","name":"root""#,
            "save before chat_room:lobby by 42=ada key -: message lobby ada: m",
        ),
        (
            "videos:5",
            "new_annotation",
            r#""body":"b","at":0,"name":"root""#,
            "save before videos:5 by 42=ada key -: annotation 5 0 b",
        ),
        (
            "chat_room:lobby",
            "typing",
            r#""name":"root""#,
            "others chat_room:lobby typing {\"name\":\"ada\"}\nok {}",
        ),
    ] {
        check(
            stage(),
            topic,
            event,
            &format!("{{{forged},{fields}}}"),
            expected,
        );
    }
    let expected = "save before chat_room:lobby by nobody key -: message lobby guest: m";
    let payload = format!(r#"{{{forged},"message":"m"}}"#);
    check(
        stage().guest(),
        "chat_room:lobby",
        "new_message",
        &payload,
        expected,
    );
    let expected = "others chat_room:lobby typing {\"name\":\"guest\"}\nok {}";
    check(
        stage().guest(),
        "chat_room:lobby",
        "typing",
        r#"{"name":"ada"}"#,
        expected,
    );
}

/// Each event that saves: pattern, topic, kind, event, fields, what is saved.
type Saving = (
    &'static str,
    &'static str,
    Kind,
    &'static str,
    &'static str,
    &'static str,
);

const SAVINGS: [Saving; 3] = [
    (
        "score:*",
        "score:chess",
        Kind::Score,
        "save_score",
        r#""player_score":1"#,
        "score 7 1",
    ),
    (
        "chat_room:*",
        "chat_room:a",
        Kind::ChatRoom,
        "new_message",
        r#""message":"m""#,
        "message a ada: m",
    ),
    (
        "videos:*",
        "videos:5",
        Kind::Videos,
        "new_annotation",
        r#""body":"b","at":1"#,
        "annotation 5 1 b",
    ),
];

#[test]
fn a_record_goes_with_its_topics_persistence_and_its_key() {
    let longest = "k".repeat(64);
    for (pattern, topic, kind, event, fields, said) in SAVINGS {
        for (persist, key, when) in [
            (Persist::Before, None, "before"),
            (Persist::Behind, None, "behind"),
            (Persist::Before, Some("k"), "before"),
            (Persist::Behind, Some("k"), "behind"),
            (Persist::Behind, Some(longest.as_str()), "behind"),
        ] {
            let sent = key.map_or(String::new(), |key| format!(r#","client_key":"{key}""#));
            let key = key.unwrap_or("-");
            let expected = format!("save {when} {topic} by 42=ada key {key}: {said}");
            let stage = declared(pattern, kind, |it| it.persist = persist);
            check(
                stage,
                topic,
                event,
                &format!("{{{fields}{sent}}}"),
                &expected,
            );
        }
    }
}

#[test]
fn keys_are_short_text_of_players() {
    let longer = format!(r#""{}""#, "k".repeat(65));
    for (_, topic, _, event, fields, _) in SAVINGS {
        for key in [r#""""#, "1", "{}", r#""a\u0000""#, &longer] {
            let payload = format!(r#"{{{fields},"client_key":{key}}}"#);
            check(
                stage(),
                topic,
                event,
                &payload,
                &invalid(&[("client_key", KEY)]),
            );
        }
    }
    let payload = r#"{"message":"m","client_key":"k"}"#;
    let expected = invalid(&[("client_key", "may only be sent by players")]);
    check(
        stage().guest(),
        "chat_room:lobby",
        "new_message",
        payload,
        &expected,
    );
}

#[test]
fn every_fault_is_told() {
    let payload = r#"{"message":"","name":1,"client_key":2}"#;
    let key = ("client_key", "may only be sent by players");
    let expected = invalid(&[("message", TEXT), ("name", NAME), key]);
    check(
        stage().guest(),
        "chat_room:lobby",
        "new_message",
        payload,
        &expected,
    );
}

#[test]
fn payloads_are_objects() {
    let expected = invalid(&[("payload", "must be an object")]);
    for (topic, event) in [
        ("score:chess", "save_score"),
        ("chat_room:lobby", "new_message"),
        ("chat_room:lobby", "typing"),
        ("videos:5", "new_annotation"),
        ("room:1", "cursor"),
    ] {
        for payload in ["[]", "[1,2,3]", "null", "1", "\"{}\""] {
            check(stage(), topic, event, payload, &expected);
        }
        let joined = stage().join(topic, "{}");
        let (_, said) = joined.send_with(event, Payload::Binary("{}".into()));
        assert_eq!(said, expected, "{topic} {event}");
    }
    let twice = invalid(&[("payload", "must be an object with each field once")]);
    let payload = r#"{"player_score":1,"player_score":2}"#;
    check(stage(), "score:chess", "save_score", payload, &twice);
}

#[test]
fn unknown_events_are_refused() {
    let expected = r#"error {"reason":"unknown event"}"#;
    for (topic, event) in [
        ("score:chess", "new_message"),
        ("score:chess", "Save_Score"),
        ("chat_room:lobby", "save_score"),
        ("chat_room:lobby", "presence_state"),
        ("videos:5", "new_message"),
        ("user:42", "player_updated"),
        ("room:1", "typing"),
        ("room:1", "Cursor"),
        ("room:1", ""),
    ] {
        check(stage(), topic, event, "{}", expected);
        check(stage(), topic, event, "[]", expected);
    }
}

#[test]
fn a_relay_passes_on_what_was_sent() {
    let payload = "{ \"x\": 1.50, \"big\": 123456789012345678901234567890, \"a\":\"\\u0061\" }";
    let expected = format!("all room:1 cursor {payload}\nok {{}}");
    check(stage(), "room:1", "cursor", payload, &expected);
    check(stage().guest(), "room:1", "cursor", payload, &expected);
    let spaced = " {}";
    let expected = "all room:1 new_message  {}\nok {}";
    check(stage(), "room:1", "new_message", spaced, expected);
}

#[test]
fn a_relay_never_passes_on_reserved_events() {
    for event in ["presence_state", "gap", "phx_close"] {
        check(
            stage(),
            "room:1",
            event,
            "{}",
            r#"error {"reason":"unknown event"}"#,
        );
    }
}

#[test]
fn a_channel_goes_on_after_a_refusal() {
    let joined = stage().join("score:chess", "{}");
    let (joined, refused) = joined.send("save_score", "{}");
    assert!(refused.starts_with("error "), "{refused}");
    let (_, said) = joined.send("save_score", r#"{"player_score":2}"#);
    assert_eq!(said, "save before score:chess by 42=ada key -: score 7 2");
}
