//! Messages that clients should never send: each gets its reply, nobody else notices, nothing is stored.
//!
//! One node serves each test; a bystander on another topic is asked after every case.

mod support;

use serde_json::{Value, json};
use support::scene::Scene;

/// Sends each payload as an event on a joined topic: `invalid` about this field, and still joined.
fn invalid(topic: &str, event: &str, field: &str, payloads: &[Value]) {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined(topic, &json!({}));
    for payload in payloads {
        let shown: String = format!("{event} {payload}").chars().take(120).collect();
        let (status, response) = ada.call(topic, event, payload);
        assert_eq!(
            (status.as_str(), &response["reason"]),
            ("error", &json!("invalid")),
            "{shown}"
        );
        let object = payload.is_object();
        let said = response["errors"][field].as_str().unwrap_or_default();
        assert!(!object || !said.is_empty(), "{shown}: {response}");
        if field == "player_score" && object {
            assert_eq!(
                said, "must be an integer from 0 to 9007199254740991",
                "{shown}"
            );
        }
        let heard = ada.settle();
        let told = heard.iter().find(|message| message.event == event);
        assert_eq!(told, None, "{shown} was broadcast");
        scene.undisturbed(&shown);
    }
    assert_eq!(scene.stored(), 0);
}

#[test]
fn a_score_must_be_an_integer_in_range() {
    let scores = [
        json!(-1),
        json!(1.5),
        json!("12"),
        json!(9_007_199_254_740_992_u64),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!(null),
        json!([1]),
        json!({}),
    ];
    let mut payloads: Vec<Value> = scores
        .iter()
        .map(|score| json!({"player_score": score}))
        .collect();
    payloads.extend([json!({}), json!([]), json!("text"), json!(3), json!(null)]);
    invalid("score:open", "save_score", "player_score", &payloads);
}

#[test]
fn scores_at_the_edges_are_saved() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined("score:open", &json!({}));
    for (id, score) in [(1, 0_u64), (2, 9_007_199_254_740_991)] {
        let (status, response) =
            ada.call("score:open", "save_score", &json!({"player_score": score}));
        assert_eq!(
            (status.as_str(), &response["id"]),
            ("ok", &json!(id)),
            "{score}: {response}"
        );
        assert_eq!(
            ada.event("score:open", "save_score")["player_score"],
            json!(score)
        );
    }
    scene.undisturbed("good scores");
    assert_eq!(scene.stored(), 2);
}

#[test]
fn a_message_must_be_text_of_1_to_4096_bytes() {
    let messages = [
        json!(""),
        json!("   \n\t "),
        json!("x".repeat(4_097)),
        json!("x".repeat(5 * 1024)),
        json!("ä".repeat(2_049)),
        json!(7),
        json!(null),
        json!({"text": "hello"}),
    ];
    let mut payloads: Vec<Value> = messages
        .iter()
        .map(|text| json!({"message": text}))
        .collect();
    payloads.extend([json!({}), json!(["hello"]), json!("hello"), json!(null)]);
    invalid("chat_room:hall", "new_message", "message", &payloads);
}

#[test]
fn an_annotation_needs_a_body() {
    let bodies = [json!(""), json!(" "), json!(5), json!(null)];
    let mut payloads: Vec<Value> = bodies
        .iter()
        .map(|body| json!({"body": body, "at": 1}))
        .collect();
    payloads.extend([json!({"at": 1}), json!([]), json!("note")]);
    invalid("videos:1", "new_annotation", "body", &payloads);
}

#[test]
fn an_annotation_needs_a_moment() {
    let moments = [json!(-1), json!("1000"), json!(0.5), json!(null), json!([])];
    let mut payloads: Vec<Value> = moments
        .iter()
        .map(|at| json!({"body": "note", "at": at}))
        .collect();
    payloads.push(json!({"body": "note"}));
    invalid("videos:1", "new_annotation", "at", &payloads);
}

/// The join is refused with this reason, the topic is not joined, and the bystander is well.
fn refused(cases: &[(&str, Value, &str)]) {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    for (topic, payload, reason) in cases {
        let (status, response) = ada.join(topic, payload);
        let shown: String = format!("{topic} {payload}").chars().take(120).collect();
        assert_eq!(
            (status.as_str(), &response["reason"]),
            ("error", &json!(reason)),
            "{shown}"
        );
        let (_, response) = ada.call(topic, "new_message", &json!({"message": "hi"}));
        assert_eq!(response["reason"], "unmatched topic", "{shown}");
        scene.undisturbed(&shown);
    }
    assert_eq!(scene.stored(), 0);
}

#[test]
fn joins_of_what_is_not_there_are_refused() {
    refused(&[
        ("nowhere", json!({}), "unmatched topic"),
        ("scores:open", json!({}), "unmatched topic"),
        ("", json!({}), "unmatched topic"),
        ("score:missing", json!({}), "unknown game"),
        ("videos:99", json!({}), "unknown video"),
        ("user:43", json!({}), "unauthorized"),
    ]);
}

#[test]
fn joins_with_bad_words_are_refused() {
    let long = format!("room:{}", "x".repeat(1_024));
    refused(&[
        ("room:a", json!([]), "invalid"),
        ("room:a", json!("text"), "invalid"),
        ("room:a", json!(null), "invalid"),
        ("score:open", json!(3), "invalid"),
        (&long, json!({}), "invalid"),
    ]);
}

#[test]
fn a_push_before_the_join_is_unmatched() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    for (topic, event) in [
        ("chat_room:hall", "new_message"),
        ("score:open", "save_score"),
        ("nowhere", "phx_reply"),
        ("phoenix", "surprise"),
    ] {
        let (status, response) =
            ada.call(topic, event, &json!({"message": "hi", "player_score": 1}));
        assert_eq!(status, "error", "{topic} {event}");
        assert_eq!(
            response,
            json!({"reason": "unmatched topic"}),
            "{topic} {event}"
        );
        scene.undisturbed(topic);
    }
    assert_eq!(scene.stored(), 0);
}

#[test]
fn events_of_the_server_are_never_relayed() {
    let mut scene = Scene::new();
    for topic in ["room:open", "chat_room:hall", "score:open", "videos:1"] {
        let (mut ada, mut linus) = (scene.ada(), scene.guest());
        ada.joined(topic, &json!({}));
        linus.joined(topic, &json!({}));
        // The members have seen each other come before the first bad event.
        ada.settle();
        for event in [
            "phx_reply",
            "phx_close",
            "phx_error",
            "presence_state",
            "presence_diff",
            "gap",
            "disconnect",
            "surprise",
        ] {
            let (status, response) = ada.call(topic, event, &json!({"leaves": {}, "joins": {}}));
            assert_eq!(status, "error", "{topic} {event}");
            assert_eq!(response["reason"], "unknown event", "{topic} {event}");
        }
        if topic == "room:open" {
            // What one publisher sends keeps its order: this one comes after all that was refused.
            ada.push(&Value::Null, topic, "new_message", &json!({"last": true}));
            let last = linus.event(topic, "new_message");
            assert_eq!(last, json!({"last": true}));
        }
        let leave = ada.call(topic, "phx_leave", &json!({}));
        assert_eq!(leave.0, "ok", "ada is still in {topic} and can leave it");
        let heard = linus.settle();
        let of_presence =
            |payload: &Value| payload["leaves"] != json!({}) || payload["joins"] != json!({});
        let strange = heard.iter().find(|message| {
            let presence = message.event == "presence_diff" && of_presence(&message.payload);
            let state =
                message.event == "presence_state" && message.payload["leaves"] == Value::Null;
            message.topic == topic && !presence && !state
        });
        assert_eq!(strange, None, "{topic}");
        scene.undisturbed(topic);
    }
    assert_eq!(scene.stored(), 0);
}

#[test]
fn a_relayed_payload_must_be_an_object() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined("room:open", &json!({}));
    for payload in [
        json!([1]),
        json!("text"),
        json!(1),
        json!(null),
        json!(true),
    ] {
        let (status, response) = ada.call("room:open", "new_message", &payload);
        assert_eq!(
            (status.as_str(), &response["reason"]),
            ("error", &json!("invalid")),
            "{payload}"
        );
        let relayed = ada
            .settle()
            .into_iter()
            .find(|message| message.event == "new_message");
        assert_eq!(relayed, None, "{payload}");
        scene.undisturbed(&payload.to_string());
    }
}

#[test]
fn forged_fields_are_dropped_and_the_servers_are_used() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined("score:open", &json!({}));
    ada.joined("chat_room:hall", &json!({}));
    let forged = json!({
        "player_score": 5, "message": "hello", "player_id": "999", "game_id": 77, "id": 1_000,
        "uid": "00000000-0000-0000-0000-000000000000", "username": "eve", "name": "eve",
        "inserted_at": "1999-01-01T00:00:00Z", "surprise": true,
    });
    let (status, reply) = ada.call("score:open", "save_score", &forged);
    assert_eq!(status, "ok", "{reply}");
    let score = ada.event("score:open", "save_score");
    let expected = [
        ("player_id", json!("42")),
        ("username", json!("ada")),
        ("id", json!(1)),
    ];
    for (field, value) in expected {
        assert_eq!(score[field], value, "{score}");
    }
    assert_eq!(score["uid"], reply["uid"]);
    assert_ne!(score["game_id"], json!(77), "{score}");
    assert_eq!(score["surprise"], Value::Null, "{score}");
    assert!(!score.to_string().contains("1999"), "{score}");
    let (status, reply) = ada.call("chat_room:hall", "new_message", &forged);
    assert_eq!(status, "ok", "{reply}");
    let message = ada.event("chat_room:hall", "new_message");
    assert_eq!(
        (&message["name"], &message["id"]),
        (&json!("ada"), &json!(1)),
        "{message}"
    );
    assert_eq!(message["surprise"], Value::Null, "{message}");
    scene.undisturbed("forged fields");
    assert_eq!(scene.stored(), 2);
}

#[test]
fn a_guest_may_watch_scores_and_not_save_any() {
    let mut scene = Scene::new();
    let mut guest = scene.guest();
    for (topic, event, payload) in [
        ("score:open", "save_score", json!({"player_score": 1})),
        (
            "videos:1",
            "new_annotation",
            json!({"body": "note", "at": 1}),
        ),
    ] {
        guest.joined(topic, &json!({}));
        let (status, response) = guest.call(topic, event, &payload);
        assert_eq!(status, "error", "{topic}");
        assert_eq!(response, json!({"reason": "unauthorized"}), "{topic}");
        scene.undisturbed(topic);
    }
    let (status, response) = guest.join("user:42", &json!({}));
    assert_eq!(
        (status.as_str(), &response["reason"]),
        ("error", &json!("unauthorized"))
    );
    assert_eq!(scene.stored(), 0);
}
