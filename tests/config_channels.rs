//! `[[channels]]`: what is read, and what is refused in which words.
//!
//! It never starts a node.

mod given;

use std::time::Duration;

use fanfare::channels::{Declaration, Kind, Persist};
use given::{line, settings};

#[test]
fn channels_are_declared_in_order_with_the_defaults_of_their_kind() {
    assert_eq!(settings(&[], "").channels, Declaration::defaults());
    let file = "
        [[channels]]
        topic = \"score:chess\"
        kind = \"score\"
        persist = \"behind\"
        history = 0
        keep_for = \"30d\"
        keep_records = 5
        presence = true
        anonymous = \"deny\"
        auto_create = true
        [[channels]]
        topic = \"score:*\"
        kind = \"score\"
        [[channels]]
        topic = \"room:*\"
        kind = \"relay\"
        anonymous = \"allow\"
        events = [\"new_message\", \"cursor\"]
    ";
    let first = Declaration {
        persist: Persist::Behind,
        history: 0,
        keep_for: Some(Duration::from_secs(30 * 86_400)),
        keep_records: Some(5),
        presence: true,
        anonymous: Some(false),
        auto_create: Some(true),
        ..Declaration::new("score:chess", Kind::Score)
    };
    let last = Declaration {
        anonymous: Some(true),
        events: vec![String::from("new_message"), String::from("cursor")],
        ..Declaration::new("room:*", Kind::Relay)
    };
    let expected = [first, Declaration::new("score:*", Kind::Score), last];
    assert_eq!(settings(&[], file).channels, expected);
}

const RELAY: &str = "topic = 'r:*'; kind = 'relay'";
const SCORE: &str = "topic = 's:*'; kind = 'score'";

/// Checks the line about an entry, whose lines are written with `;` between them.
fn refused(entry: &str, expected: &str) {
    let text = format!("[[channels]]\n{}", entry.replace("; ", "\n"));
    let expected = format!(
        "[[channels]] entry {}",
        expected.replace("FILE", "(file f.toml)")
    );
    assert_eq!(line(&[], &[], &text), expected, "{entry}");
}

#[test]
fn what_is_missing_or_unknown_is_refused() {
    refused("kind = 'score'", "1: topic FILE: is missing");
    refused("topic = 's:*'", "1: kind FILE: is missing");
    refused(RELAY, "1: events FILE: is missing");
    refused(
        &format!("{SCORE}; histroy = 1"),
        "1: histroy FILE: is not a setting; is history meant?",
    );
    let none = "channels = \"[]\" (file f.toml): must be one or more [[channels]] tables";
    assert_eq!(line(&[], &[], "channels = []"), none);
}

#[test]
fn bad_patterns_are_refused() {
    let entry = |topic: &str| format!("topic = '{topic}'; kind = 'score'");
    for topic in ["s:*:x", "*:s", "**", "s*:*"] {
        let expected = format!("1: topic = {topic:?} FILE: must have its * at the end or nowhere");
        refused(&entry(topic), &expected);
    }
    for topic in ["", "phoenix"] {
        let allowed = "must be 1 to 1024 bytes and not the topic \"phoenix\"";
        refused(
            &entry(topic),
            &format!("1: topic = {topic:?} FILE: {allowed}"),
        );
    }
}

#[test]
fn bad_values_are_refused() {
    let kinds = "must be score, chat_room, videos, user or relay";
    refused(
        "topic = 's:*'; kind = 'chat'",
        &format!("1: kind = \"chat\" FILE: {kinds}"),
    );
    refused(
        "topic = 's:*'; kind = 7",
        &format!("1: kind = \"7\" FILE: {kinds}"),
    );
    let score = |field: &str, expected: &str| {
        refused(&format!("{SCORE}; {field}"), &format!("1: {expected}"));
    };
    score(
        "persist = 'never'",
        "persist = \"never\" FILE: must be before or behind",
    );
    for history in ["-1", "1001", "true"] {
        let allowed = "must be a whole number from 0 to 1000";
        score(
            &format!("history = {history}"),
            &format!("history = {history:?} FILE: {allowed}"),
        );
    }
    score(
        "presence = 'yes'",
        "presence = \"yes\" FILE: must be true or false",
    );
    score(
        "anonymous = true",
        "anonymous = \"true\" FILE: must be allow or deny",
    );
}

#[test]
fn what_has_no_meaning_for_a_kind_is_refused() {
    refused(
        &format!("{SCORE}; events = ['a']"),
        "1: events = \"[\\\"a\\\"]\" FILE: must not be given: it is for kind = \"relay\"",
    );
    let records = "must not be given: only score, chat_room or videos have records";
    refused(
        &format!("{RELAY}; events = ['a']; history = 1"),
        &format!("1: history = \"1\" FILE: {records}"),
    );
    refused(
        "topic = 'u:*'; kind = 'user'; persist = 'before'",
        &format!("1: persist = \"before\" FILE: {records}"),
    );
    let rows = "must not be given: it is for kind = \"score\" and \"videos\"";
    refused(
        &format!("{RELAY}; events = ['a']; auto_create = true"),
        &format!("1: auto_create = \"true\" FILE: {rows}"),
    );
}

#[test]
fn what_is_kept_is_at_least_something() {
    for keep in ["0s", "soon", "-1d"] {
        refused(
            &format!("{SCORE}; keep_for = '{keep}'"),
            &format!(
                "1: keep_for = {keep:?} FILE: must be a duration from 1s to 36500d, such as 250ms, 5s or 1h"
            ),
        );
    }
    refused(
        &format!("{SCORE}; keep_records = 0"),
        "1: keep_records = \"0\" FILE: must be a whole number from 1 to 1000000000000",
    );
    refused(
        &format!("{RELAY}; events = ['a']; keep_records = 1"),
        "1: keep_records = \"1\" FILE: must not be given: only score, chat_room or videos have records",
    );
}

#[test]
fn a_relay_passes_on_no_event_of_the_server() {
    for event in [
        "phx_join",
        "phx_",
        "presence_x",
        "gap",
        "disconnect",
        "access_token",
    ] {
        let shown = format!("[\\\"ok\\\", \\\"{event}\\\"]");
        let allowed = format!("must not have {event:?}, which only the server sends");
        refused(
            &format!("{RELAY}; events = ['ok', '{event}']"),
            &format!("1: events = \"{shown}\" FILE: {allowed}"),
        );
    }
    for (events, shown) in [("[]", "[]"), ("[7]", "[7]"), ("['']", "[\\\"\\\"]")] {
        refused(
            &format!("{RELAY}; events = {events}"),
            &format!("1: events = \"{shown}\" FILE: must be one or more names of events"),
        );
    }
}

#[test]
fn a_pattern_that_can_never_match_is_refused() {
    for second in ["s:*", "s:chess", "s:chess*"] {
        refused(
            &format!("{SCORE}; [[channels]]; topic = '{second}'; kind = 'score'"),
            &format!(
                "2: topic = {second:?} FILE: must not follow \"s:*\", which matches all of it"
            ),
        );
    }
}
