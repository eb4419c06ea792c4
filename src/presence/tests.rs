//! What clients are told of tracks, updates and leaves on one node, and the bounds.
//!
//! Exact diffs and listings; agreement between nodes is the simulation's.

use std::sync::atomic::AtomicUsize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::simulation::{Client, json};
use super::*;

const NODE: u64 = 7;

fn presence() -> Presence {
    let presence = Presence::new(NODE, Config::default());
    assert!(presence.take_diffs().is_empty());
    presence
}

fn topic() -> Topic {
    Topic::try_from("room:1").unwrap()
}

fn meta(n: u32) -> Payload {
    Payload::from_value(&json!({"n": n}))
}

fn track(presence: &Presence, owner: u64, key: &str, n: u32) {
    presence
        .track(Owner(owner), &topic(), key, &meta(n))
        .unwrap();
}

fn update(presence: &Presence, owner: u64, key: &str, n: u32) {
    presence
        .update(Owner(owner), &topic(), key, &meta(n))
        .unwrap();
}

/// Writes the only diff as text: `+key:n(prev)` and `-key:n(prev)`; a prev is the n of the previous ref.
fn told(presence: &Presence) -> String {
    let diffs = presence.take_diffs();
    let Some((_, diff)) = diffs.first() else {
        return String::new();
    };
    assert_eq!(diffs.len(), 1);
    let diff = json(diff);
    let mut out = Vec::new();
    for (sign, side) in [("+", "joins"), ("-", "leaves")] {
        for (key, entry) in diff[side].as_object().unwrap() {
            for meta in entry["metas"].as_array().unwrap() {
                let prev = match meta.get("phx_ref_prev") {
                    Some(prev) => format!("({})", version(prev)),
                    None => String::new(),
                };
                out.push(format!("{sign}{key}:{}{prev}", meta["n"]));
            }
        }
    }
    out.join(" ")
}

/// The count of this node's changes that a ref names; tests set n to the same number.
fn version(reference: &Value) -> u32 {
    let raw = URL_SAFE_NO_PAD.decode(reference.as_str().unwrap()).unwrap();
    assert_eq!(raw[..8], NODE.to_be_bytes());
    u32::from_be_bytes(raw[8..].try_into().unwrap())
}

#[test]
fn errors_are_those_of_the_wire() {
    let p = presence();
    let t = topic();
    let track = |owner, key: &str| p.track(Owner(owner), &t, key, &meta(1)).err();
    let update = |owner, key: &str| p.update(Owner(owner), &t, key, &meta(1)).err();
    assert_eq!(track(1, "a"), None);
    assert_eq!(track(1, "a"), Some(TrackError::AlreadyTracked));
    assert_eq!(track(2, "a"), None, "another channel, the same key");
    assert_eq!(track(1, "b"), None, "the same channel, another key");
    assert_eq!(update(1, "a"), None);
    assert_eq!(update(3, "a"), Some(TrackError::NoPresence));
    assert_eq!(update(1, "c"), Some(TrackError::NoPresence));
    p.untrack(Owner(1), &t, "c");
    p.untrack(Owner(1), &t, "__proto__");
    p.untrack(Owner(1), &t, "a");
    assert_eq!(update(1, "a"), Some(TrackError::NoPresence));
    for key in ["", "__proto__", "toString"] {
        assert_eq!(track(1, key), Some(TrackError::Refused));
    }
    for bad in [Payload::json("[]"), Payload::Binary("{}".into())] {
        assert_eq!(p.track(Owner(9), &t, "z", &bad), Err(TrackError::Refused));
    }
    assert_eq!(p.entries(), 2);
}

#[test]
fn a_diff_tells_the_difference_and_no_more() {
    let p = presence();
    let t = topic();
    assert_eq!(told(&p), "", "nothing happened");
    track(&p, 1, "a", 1);
    assert_eq!(told(&p), "+a:1");
    update(&p, 1, "a", 2);
    assert_eq!(told(&p), "+a:2(1) -a:1");
    update(&p, 1, "a", 3);
    update(&p, 1, "a", 4);
    assert_eq!(told(&p), "+a:4(2) -a:2(1)", "a chain is one update");
    track(&p, 2, "b", 5);
    p.leave(Owner(2), &t);
    assert_eq!(told(&p), "", "a visit that nobody saw");
    track(&p, 2, "b", 7);
    update(&p, 2, "b", 8);
    assert_eq!(told(&p), "+b:8", "a join with its last meta");
    update(&p, 2, "b", 9);
    p.untrack(Owner(2), &t, "b");
    assert_eq!(told(&p), "-b:8", "what clients know leaves");
    p.leave(Owner(1), &t);
    track(&p, 3, "a", 12);
    assert_eq!(told(&p), "+a:12 -a:4(2)", "another presence is no update");
    assert!(!p.pending());
}

#[test]
fn what_a_listing_showed_between_two_diffs_is_taken_back() {
    let p = presence();
    let t = topic();
    track(&p, 1, "a", 1);
    p.list(&t);
    p.leave(Owner(1), &t);
    assert_eq!(told(&p), "-a:1", "the lister saw it");
    track(&p, 1, "a", 3);
    p.list(&t);
    update(&p, 1, "a", 4);
    assert_eq!(told(&p), "+a:4(3) -a:3");
    update(&p, 1, "a", 5);
    p.list(&t);
    update(&p, 1, "a", 6);
    assert_eq!(told(&p), "+a:6(4) -a:4(3) -a:5(4)");
}

#[test]
fn a_channel_leaves_only_what_it_tracks_in_that_topic() {
    let p = presence();
    let other = Topic::try_from("room:2").unwrap();
    for key in ["a", "b", "c"] {
        track(&p, 1, key, 0);
    }
    track(&p, 2, "a", 0);
    p.track(Owner(1), &other, "a", &meta(0)).unwrap();
    p.take_diffs();
    p.leave(Owner(1), &topic());
    assert_eq!(told(&p), "-a:0 -b:0 -c:0");
    assert_eq!(p.entries(), 2);
    p.leave(Owner(1), &topic());
    assert_eq!(told(&p), "");
}

#[test]
fn listings_are_text_with_the_client_fields_untouched() {
    let p = presence();
    assert_eq!(p.list(&topic()), Payload::EMPTY);
    let text = r#"{ "z":18446744073709551617, "a":1.0, "phx_ref":"forged" }"#;
    p.track(Owner(1), &topic(), "k\"1", &Payload::json(text))
        .unwrap();
    p.track(Owner(2), &topic(), "k\"1", &Payload::EMPTY)
        .unwrap();
    let list = p.list(&topic());
    let list = std::str::from_utf8(list.as_json().unwrap()).unwrap();
    let want = r#"{"k\"1":{"metas":[{"z":18446744073709551617,"a":1.0,"phx_ref":"AAAAAAAAAAcAAAAB"},{"phx_ref":"AAAAAAAAAAcAAAAC"}]}}"#;
    assert_eq!(list, want);
}

#[test]
fn fetched_fields_stand_next_to_the_metas_in_states_and_diffs() {
    let fetch: Fetch = Arc::new(|topic, key| {
        assert_eq!(topic.as_str(), "room:1");
        match key {
            "bad" => Some(Payload::json("[1]")),
            "none" => None,
            "void" => Some(Payload::EMPTY),
            _ => Some(Payload::json(r#"{"metas":0,"user":{"name":"Ann"}}"#)),
        }
    });
    let p = Presence::new(NODE, Config::default()).with_fetch(fetch);
    for (owner, key) in ["a", "bad", "none", "void"].into_iter().enumerate() {
        track(&p, owner as u64, key, 0);
    }
    let list = json(&p.list(&topic()));
    assert_eq!(list["a"]["user"], json!({"name": "Ann"}));
    assert_eq!(list["a"]["metas"].as_array().unwrap().len(), 1);
    for key in ["bad", "none", "void"] {
        assert_eq!(list[key].as_object().unwrap().len(), 1, "{key}");
    }
    assert_eq!(
        json(&p.take_diffs()[0].1),
        json!({"joins": list, "leaves": {}})
    );
    for owner in 0..4 {
        p.leave(Owner(owner), &topic());
    }
    assert_eq!(
        json(&p.take_diffs()[0].1),
        json!({"joins": {}, "leaves": list})
    );
}

#[test]
fn a_diff_of_10_000_members_is_as_large_as_the_change() {
    let p = presence();
    for owner in 0..10_000 {
        track(&p, owner, &format!("user-{owner}"), 0);
    }
    p.take_diffs();
    let list = p.list(&topic());
    assert!(list.len() > 400_000);
    let mut client = Client::new(&json(&list));
    update(&p, 5, "user-5", 1);
    p.leave(Owner(6), &topic());
    let diff = p.take_diffs().remove(0).1;
    assert!(diff.len() < 300, "{} bytes", diff.len());
    client.apply(&json(&diff));
    assert_eq!(client, Client::new(&json(&p.list(&topic()))));
}

#[test]
fn the_sign_is_given_once_until_diffs_are_taken() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let on_change: OnChange = Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let p = Presence::new(NODE, Config::default()).with_on_change(on_change);
    p.take_diffs();
    track(&p, 1, "a", 0);
    track(&p, 2, "a", 0);
    assert!(p.pending());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    p.take_diffs();
    p.leave(Owner(1), &topic());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn whoever_ticks_and_takes_when_told_to_rests_in_between() {
    let start = crate::clock::now();
    let (p, other) = (presence(), Presence::new(NODE + 1, Config::default()));
    other.tick(start);
    for message in other.take_messages(start) {
        p.receive(&message, start + Duration::from_millis(250))
            .unwrap();
    }
    p.take_diffs();
    let woken = (0..24).filter(|half| {
        let now = start + Duration::from_millis(500) * *half;
        p.tick(now);
        let woken = p.pending();
        p.take_diffs();
        p.take_messages(now);
        woken
    });
    let woken: Vec<u32> = woken.collect();
    let beats = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22];
    let (others, regular): (Vec<u32>, Vec<u32>) =
        woken.iter().partition(|half| !beats.contains(half));
    assert_eq!(regular, beats, "a heartbeat a second");
    assert_eq!(
        others,
        [21],
        "the silent node, once its lease of 10 s has ended"
    );
}

#[test]
fn changes_of_topics_without_subscribers_are_dropped() {
    let p = presence();
    track(&p, 1, "a", 0);
    assert!(p.take_diffs_where(&|_| false).is_empty());
    assert_eq!(told(&p), "");
    assert_eq!(json(&p.list(&topic())).as_object().unwrap().len(), 1);
    p.leave(Owner(1), &topic());
    assert_eq!(told(&p), "-a:0");
}

#[test]
fn entries_of_the_node_are_bounded() {
    let config = Config {
        entries_max: 2,
        ..Config::default()
    };
    let p = Presence::new(NODE, config);
    track(&p, 1, "a", 0);
    track(&p, 2, "a", 0);
    let third = p.track(Owner(3), &topic(), "a", &meta(0));
    assert_eq!(third, Err(TrackError::Refused));
    update(&p, 1, "a", 1);
    p.leave(Owner(1), &topic());
    track(&p, 3, "a", 0);
    assert_eq!(p.entries(), 2);
}

#[test]
fn entries_of_other_nodes_are_bounded_and_come_when_there_is_room() {
    let now = crate::clock::now();
    let config = Config {
        foreign_entries_max: 100,
        ..Config::default()
    };
    let (a, b) = (
        Presence::new(1, Config::default()),
        Presence::new(2, config),
    );
    let exchange = |now| {
        for _ in 0..4 {
            for (from, to) in [(&a, &b), (&b, &a)] {
                from.tick(now);
                for message in from.take_messages(now) {
                    to.receive(&message, now).unwrap();
                }
            }
        }
    };
    for owner in 0..150 {
        track(&a, owner, "k", 0);
    }
    let later = |s| now + Duration::from_secs(s);
    (0..5).for_each(|s| exchange(later(s)));
    assert_eq!(b.entries_foreign(), 100);
    assert_eq!(
        b.refused_foreign(),
        50,
        "refused once, not asked for again and again"
    );
    (0..80).for_each(|owner| a.leave(Owner(owner), &topic()));
    (5..9).for_each(|s| exchange(later(s)));
    assert_eq!(b.entries_foreign(), 70);
    assert_eq!(
        Client::new(&json(&a.list(&topic()))),
        Client::new(&json(&b.list(&topic())))
    );
}

#[test]
fn further_nodes_are_not_listened_to() {
    let now = crate::clock::now();
    let config = Config {
        peers_max: 3,
        ..Config::default()
    };
    let p = Presence::new(NODE, config);
    for node in 100..110 {
        let other = Presence::new(node, Config::default());
        other.receive(&p.take_messages(now).concat(), now).ok();
        other.tick(now);
        for message in other.take_messages(now) {
            p.receive(&message, now).unwrap();
        }
    }
    let requests = p.take_messages(now);
    assert_eq!(requests.len(), 1, "the heartbeat that was asked for");
    p.tick(now + Duration::from_secs(2));
    assert_eq!(p.take_messages(now + Duration::from_secs(2)).len(), 4);
}

#[test]
fn workers_may_call_at_the_same_time() {
    let p = presence();
    let mut client = Client::new(&json(&p.list(&topic())));
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let p = &p;
            scope.spawn(move || {
                for i in 0..300 {
                    let owner = worker * 1_000 + i;
                    track(p, owner, "k", 0);
                    p.list(&topic());
                    if i % 2 == 0 {
                        p.leave(Owner(owner), &topic());
                    }
                }
            });
        }
        for _ in 0..200 {
            for (_, diff) in p.take_diffs() {
                client.apply(&json(&diff));
            }
        }
    });
    for (_, diff) in p.take_diffs() {
        client.apply(&json(&diff));
    }
    let list = Client::new(&json(&p.list(&topic())));
    assert_eq!(client.sorted(), list.sorted());
    assert_eq!(p.entries(), 600);
}
