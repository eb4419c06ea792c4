//! What joins are answered with, and what they ask of the node.
//!
//! Only the declared kinds; the trait is tested where it lives.

use super::*;
use crate::channel::Gap;
use crate::channels;
use crate::protocol::Payload;

const INTEGER: &str = "must be an integer from 0 to 9007199254740991";

fn refused(joined: &Joined, expected: &str) {
    assert_eq!(joined.result, Err(expected.to_owned()));
    assert_eq!(joined.effects, [""; 0], "a refused join has no effects");
    let tracked = joined.place_log();
    assert!(!tracked.iter().any(|line| line.starts_with("track")));
}

#[test]
fn join_payloads_are_read_strictly_by_every_kind() {
    let not_object = r#"{"errors":{"payload":"must be an object"},"reason":"invalid"}"#;
    let twice =
        r#"{"errors":{"payload":"must be an object with each field once"},"reason":"invalid"}"#;
    let error = |field: &str, rule: &str| {
        format!(r#"{{"errors":{{"{field}":"{rule}"}},"reason":"invalid"}}"#)
    };
    let cases: Vec<(&str, String)> = vec![
        ("null", not_object.into()),
        ("[]", not_object.into()),
        ("[1,null,null,null]", not_object.into()),
        ("\"{}\"", not_object.into()),
        ("1", not_object.into()),
        (r#"{"token":"good","token":"bad"}"#, twice.into()),
        (r#"{"last_seen_id":-1}"#, error("last_seen_id", INTEGER)),
        (r#"{"last_seen_id":1.0}"#, error("last_seen_id", INTEGER)),
        (r#"{"last_seen_id":1e3}"#, error("last_seen_id", INTEGER)),
        (r#"{"last_seen_id":"1"}"#, error("last_seen_id", INTEGER)),
        (r#"{"last_seen_id":true}"#, error("last_seen_id", INTEGER)),
        (
            r#"{"last_seen_id":9007199254740992}"#,
            error("last_seen_id", INTEGER),
        ),
        (
            r#"{"last_seen_id":99999999999999999999999}"#,
            error("last_seen_id", INTEGER),
        ),
        (
            r#"{"last_seen_epoch":1}"#,
            error("last_seen_epoch", "must be a string"),
        ),
        (
            r#"{"last_seen_uid":"x"}"#,
            error("last_seen_uid", "must be a UUID"),
        ),
        (
            r#"{"last_seen_uid":7}"#,
            error("last_seen_uid", "must be a UUID"),
        ),
        (
            r#"{"last_seen_uid":"00000000000000000000000000000000"}"#,
            error("last_seen_uid", "must be a UUID"),
        ),
        (r#"{"token":{}}"#, error("token", "must be a string")),
        (
            r#"{"last_seen_id":[],"token":1}"#,
            format!(
                r#"{{"errors":{{"last_seen_id":"{INTEGER}","token":"must be a string"}},"reason":"invalid"}}"#
            ),
        ),
    ];
    for topic in [
        "score:chess",
        "chat_room:lobby",
        "videos:5",
        "user:42",
        "room:1",
    ] {
        for (payload, expected) in &cases {
            let joined = stage().join(topic, payload);
            refused(&joined, expected);
            assert_eq!(joined.node_log, [""; 0], "{topic} {payload}");
        }
        let bytes = Payload::Binary("{}".into());
        refused(&stage().join_with(topic, bytes), not_object);
    }
}

#[test]
fn positions_reach_the_history_as_they_were_sent() {
    let uid = "0190163d-8694-739b-aea5-966c26f8ad91";
    let sent = format!(
        r#"{{"last_seen_id":9007199254740991,"last_seen_epoch":"\u0061b","last_seen_uid":"{uid}","other":[{{}}]}}"#
    );
    let whole = format!(r#"history Some(9007199254740991) Some("ab") Some("{uid}") 10"#);
    for (payload, expected) in [
        (sent.as_str(), whole.as_str()),
        ("{}", "history None None None 10"),
        (r#" {"last_seen_id":0}"#, "history Some(0) None None 10"),
        (
            r#"{"last_seen_id":null,"token":null}"#,
            "history None None None 10",
        ),
    ] {
        let joined = stage().join("chat_room:lobby", payload);
        assert!(joined.result.is_ok(), "{:?}", joined.result);
        assert_eq!(joined.node_log, [expected]);
    }
}

#[test]
fn history_is_as_long_as_declared() {
    for (topic, pattern, kind, history, expected) in [
        ("videos:5", "videos:*", Kind::Videos, None, 1_000),
        ("videos:5", "videos:*", Kind::Videos, Some(10), 10),
        ("score:chess", "score:*", Kind::Score, None, 10),
        ("score:chess", "score:*", Kind::Score, Some(0), 0),
        ("chat_room:a", "chat_room:*", Kind::ChatRoom, Some(99), 99),
    ] {
        let stage = declared(pattern, kind, |it| {
            it.history = history.unwrap_or(it.history)
        });
        let asked = stage.join(topic, "{}").node_log;
        let expected = format!("history None None None {expected}");
        assert_eq!(asked.last(), Some(&expected));
    }
}

#[test]
fn a_join_token_speaks_for_its_channel() {
    let unauthorized = r#"{"reason":"unauthorized"}"#;
    for topic in [
        "score:chess",
        "chat_room:lobby",
        "videos:5",
        "user:43",
        "room:1",
    ] {
        let bad = stage().join(topic, r#"{"token":"bad"}"#);
        refused(&bad, unauthorized);
        let mut down = stage();
        down.node.store_down = true;
        refused(
            &down.join(topic, r#"{"token":"good"}"#),
            r#"{"reason":"unavailable"}"#,
        );
        let good = stage().guest().join(topic, r#"{"token":"good"}"#);
        assert!(good.result.is_ok(), "{topic} {:?}", good.result);
    }
    let joined = stage().join("chat_room:lobby", r#"{"token":"good"}"#);
    let (_, said) = joined.send("new_message", r#"{"message":"hi","name":"root"}"#);
    assert_eq!(
        said,
        "save before chat_room:lobby by 43=bob key -: message lobby Bob B.: hi"
    );
}

#[test]
fn guests_join_only_where_they_may() {
    let yes = |node: bool, declared: Option<bool>, topic: &str| {
        let mut stage = stage().guest();
        stage.defaults.anonymous_allowed = node;
        for declaration in &mut stage.declarations {
            declaration.anonymous = declared;
        }
        let joined = stage.join(topic, "{}");
        if joined.result.is_err() {
            refused(&joined, r#"{"reason":"unauthorized"}"#);
            assert_eq!(joined.node_log, [""; 0], "authorisation comes first");
        }
        joined.result.is_ok()
    };
    for topic in ["score:chess", "chat_room:lobby", "videos:5", "room:1"] {
        assert!(yes(true, None, topic), "{topic}");
        assert!(yes(false, Some(true), topic), "{topic}");
        assert!(!yes(false, None, topic), "{topic}");
        assert!(!yes(true, Some(false), topic), "{topic}");
        assert!(
            !yes(false, None, "score:nowhere"),
            "never tells what exists"
        );
    }
    assert!(!yes(true, Some(true), "user:42"));
}

#[test]
fn only_the_player_joins_its_own_topic() {
    for (topic, fits) in [
        ("user:42", true),
        ("user:43", false),
        ("user:", false),
        ("user:42:x", false),
        ("user:*", false),
        ("user:ada", false),
    ] {
        let joined = stage().join(topic, "{}");
        match fits {
            true => assert_eq!(joined.result, Ok(String::from("{}"))),
            false => refused(&joined, r#"{"reason":"unauthorized"}"#),
        }
    }
    let other = stage().join("user:42", r#"{"token":"good"}"#);
    refused(&other, r#"{"reason":"unauthorized"}"#);
}

#[test]
fn what_does_not_exist_is_not_joined() {
    for (topic, asked, what) in [
        ("score:go", &["game go false"][..], "game"),
        ("score:", &[], "game"),
        ("score:a\0b", &[], "game"),
        ("videos:6", &["video 6 false"], "video"),
        ("videos:x", &[], "video"),
        ("videos:", &[], "video"),
        ("videos:05", &[], "video"),
        ("videos:+5", &[], "video"),
        ("videos:-5", &[], "video"),
        ("videos:9223372036854775808", &[], "video"),
    ] {
        let joined = stage().join(topic, "{}");
        refused(&joined, &format!(r#"{{"reason":"unknown {what}"}}"#));
        assert_eq!(joined.node_log, asked);
    }
    let joined = stage().join("chat_room:a\0b", "{}");
    refused(
        &joined,
        r#"{"errors":{"topic":"must not contain NUL"},"reason":"invalid"}"#,
    );
}

#[test]
fn a_first_join_creates_where_it_may() {
    for (node, own, creates) in [
        (false, None, false),
        (true, None, true),
        (true, Some(false), false),
        (false, Some(true), true),
    ] {
        for (topic, asked) in [("score:go", "game go"), ("videos:6", "video 6")] {
            let mut stage = stage();
            stage.defaults.auto_create = node;
            for declaration in &mut stage.declarations {
                declaration.auto_create = own;
            }
            let joined = stage.join(topic, "{}");
            assert_eq!(joined.node_log[0], format!("{asked} {creates}"));
            assert_eq!(joined.result.is_ok(), creates);
        }
    }
}

#[test]
fn a_store_or_broker_that_is_down_refuses_joins_for_now() {
    let unavailable = r#"{"reason":"unavailable"}"#;
    for topic in ["score:chess", "chat_room:lobby", "videos:5"] {
        let mut down = stage();
        down.node.store_down = true;
        refused(&down.join(topic, "{}"), unavailable);
    }
    for topic in [
        "score:chess",
        "chat_room:lobby",
        "videos:5",
        "user:42",
        "room:1",
    ] {
        let deaf = stage();
        deaf.place.deaf.set(true);
        refused(&deaf.join(topic, "{}"), unavailable);
    }
    let mut down = stage();
    down.node.store_down = true;
    let relay = down.join("room:1", "{}");
    assert_eq!(relay.result, Ok(String::from("{}")));
    assert_eq!(relay.node_log, [""; 0], "a relay never asks the store");
}

#[test]
fn replies_carry_the_past_word_for_word() {
    let records = [message(8, "a\u{1F600}\""), message(9, "b")];
    let written: Vec<String> = records
        .iter()
        .map(|record| String::from_utf8(record.payload().as_json().unwrap().to_vec()).unwrap())
        .collect();
    let list = written.join(",");
    let end = r#""last_id":9,"epoch":"e\"1"}"#;
    for (topic, expected) in [
        (
            "score:chess",
            format!(r#"{{"game_id":7,"scores":[{list}],{end}"#),
        ),
        ("videos:5", format!(r#"{{"annotations":[{list}],{end}"#)),
        ("chat_room:lobby", format!("{{{end}")),
    ] {
        let mut stage = stage();
        stage.node.records = records.to_vec();
        let joined = stage.join(topic, "{}");
        assert_eq!(joined.result, Ok(expected));
        let log = joined.place_log();
        assert_eq!(log[..2], ["subscribe", "floor 9"]);
    }
    let empty = stage().join("score:chess", "{}");
    let expected = format!(r#"{{"game_id":7,"scores":[],{end}"#);
    assert_eq!(empty.result, Ok(expected));
}

#[test]
fn chat_pushes_its_past_then_who_is_there() {
    let mut stage = stage();
    stage.node.records = vec![message(8, "a"), message(9, "b")];
    let pushed = stage.join("chat_room:lobby", "{}").effects;
    let told = |record: crate::channel::Record| {
        let payload = record.payload();
        let json = std::str::from_utf8(payload.as_json().unwrap()).unwrap();
        format!("push new_message {json}")
    };
    let state = String::from(r#"push presence_state {"here":{"metas":[]}}"#);
    assert_eq!(
        pushed,
        [told(message(8, "a")), told(message(9, "b")), state]
    );
}

#[test]
fn gaps_are_told_only_when_there_are_some() {
    let gap = |from, to, reset| Gap { from, to, reset };
    for (gaps, expected) in [
        (vec![], ""),
        (vec![gap(1, 3, false)], r#","gap":{"from":1,"to":3}"#),
        (
            vec![gap(1, 3, true)],
            r#","gap":{"from":1,"reset":true,"to":3}"#,
        ),
        (
            vec![gap(1, 3, false), gap(5, 6, false)],
            r#","gap":{"from":1,"to":3},"gaps":[{"from":1,"to":3},{"from":5,"to":6}]"#,
        ),
    ] {
        for (topic, start) in [
            ("score:chess", r#""game_id":7,"scores":[],"#),
            ("videos:5", r#""annotations":[],"#),
            ("chat_room:lobby", ""),
        ] {
            let mut stage = stage();
            stage.node.gaps = gaps.clone();
            let result = stage.join(topic, r#"{"last_seen_id":4}"#).result;
            let reply = format!(r#"{{{start}"last_id":9,"epoch":"e\"1"{expected}}}"#);
            assert_eq!(result, Ok(reply));
        }
    }
}

#[test]
fn presence_is_tracked_where_it_is_declared() {
    let tracked = |stage: Stage, topic: &str, payload: &str| {
        let joined = stage.join(topic, payload);
        let log = joined.place_log();
        let at = log.iter().position(|line| line.starts_with("track "));
        let state = joined.effects.last().map(String::as_str);
        let pushed = state == Some(r#"push presence_state {"here":{"metas":[]}}"#);
        assert_eq!(at.is_some(), pushed, "{topic}");
        at.map(|at| {
            assert!(log[..at].contains(&String::from("subscribe")));
            log[at].clone()
        })
    };
    let ada = tracked(stage(), "chat_room:lobby", "{}").unwrap();
    assert!(
        ada.starts_with(r#"track 42 {"name":"ada","online_at":"#),
        "{ada}"
    );
    let seconds = ada.rsplit(':').next().unwrap().trim_end_matches('}');
    assert!(seconds.parse::<u64>().unwrap() > 1_600_000_000);
    let bob = tracked(stage(), "chat_room:lobby", r#"{"token":"good"}"#).unwrap();
    assert!(bob.starts_with(r#"track 43 {"name":"Bob B.","#), "{bob}");
    let keys = [(); 2].map(|()| {
        let line = tracked(stage().guest(), "chat_room:lobby", "{}").unwrap();
        let (key, meta) = line.trim_start_matches("track ").split_once(' ').unwrap();
        assert!(key.starts_with("guest:") && key.len() == 18, "{key}");
        assert!(meta.starts_with(r#"{"name":"guest","#), "{meta}");
        key.to_owned()
    });
    assert_ne!(keys[0], keys[1]);
    for (topic, pattern, kind) in [
        ("score:chess", "score:*", Kind::Score),
        ("chat_room:a", "chat_room:*", Kind::ChatRoom),
        ("videos:5", "videos:*", Kind::Videos),
        ("user:42", "user:*", Kind::User),
        ("room:1", "room:*", Kind::Relay),
    ] {
        for presence in [false, true] {
            let stage = declared(pattern, kind, |it| it.presence = presence);
            assert_eq!(tracked(stage, topic, "{}").is_some(), presence, "{topic}");
        }
    }
}

#[test]
fn a_presence_that_is_refused_refuses_the_join() {
    let mut stage = stage();
    stage.node.records = vec![message(1, "a")];
    stage.place.refuses_presence.set(true);
    refused(
        &stage.join("chat_room:lobby", "{}"),
        r#"{"reason":"invalid"}"#,
    );
}

#[test]
fn names_follow_the_declared_pattern() {
    for (pattern, topic, slug) in [
        ("score:*", "score:chess", "chess"),
        ("score:*", "score:a:b", "a:b"),
        ("score:eu:*", "score:eu:chess", "chess"),
        ("points-*", "points-chess", "chess"),
        ("*", "score:chess", "score:chess"),
        ("score:chess", "score:chess", "chess"),
        ("score:eu:chess", "score:eu:chess", "eu:chess"),
        ("chess", "chess", "chess"),
    ] {
        let stage = declared(pattern, Kind::Score, |it| it.auto_create = Some(true));
        let joined = stage.join(topic, "{}");
        assert_eq!(joined.node_log[0], format!("game {slug} true"));
        assert_eq!(joined.kind, "score");
    }
}

#[test]
fn each_declaration_is_a_route_of_its_kind() {
    let mut stage = stage();
    stage
        .declarations
        .insert(0, Declaration::new("score:tv", Kind::Videos));
    let router = channels::router(&stage.declarations, &stage.defaults).unwrap();
    let kinds: Vec<_> = router.kinds().collect();
    assert_eq!(
        kinds,
        ["videos", "score", "chat_room", "videos", "user", "relay"]
    );
    assert!(!router.serves("elsewhere:1"));
    for bad in ["", "a*b", "**"] {
        let bad = [Declaration::new(bad, Kind::Relay)];
        assert!(channels::router(&bad, &Defaults::default()).is_err());
    }
}
