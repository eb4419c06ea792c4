//! Players and tokens of an embedder's mounts: copies stay fresh on every node, and the store is asked once.
//!
//! Two nodes in this process share Redis and a database; the channel tells what it knows of its player.

mod support;

use std::sync::Arc;

use fanfare::channel::{Channel, Context, JoinResult, Outcome, Router};
use fanfare::config::Settings;
use fanfare::gateway::{Gateway, Started};
use fanfare::protocol::{Payload, Reply};
use fanfare::transport::{Mount, Open};
use serde_json::{Value, json};
use support::http;
use support::phoenix::{Socket, Version};
use support::redis::Redis;
use support::token::{self, SECRET};
use support::ws::Handshake;

/// Takes `{"token": …}` at the join and tells its player's rating; echoes events by name.
struct Rating;

fn rating(context: &Context) -> Payload {
    let rating = context.player().map(|player| player.rating);
    Payload::from_value(&json!({"rating": rating}))
}

impl Channel for Rating {
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let asked: Value =
            serde_json::from_slice(payload.as_json().unwrap_or(b"{}")).unwrap_or_default();
        if let Some(token) = asked["token"].as_str() {
            let taken = context.authenticate(token).await;
            taken.map_err(|_| Reply::reason("unauthorized").response)?;
        }
        Ok(rating(context))
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, _: Payload) -> Outcome {
        match event {
            "rating" => Outcome::Reply(Reply::ok(rating(context))),
            other => Outcome::Reply(Reply::ok(Payload::from_value(&json!({"event": other})))),
        }
    }
}

fn start(database: &str, redis: Option<&Redis>) -> Started {
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.workers = 2;
    settings.store.url = database.to_owned();
    settings.auth.secret_key_base = Some(SECRET.to_owned());
    settings.broker.url = redis.map(Redis::url);
    let limits = Arc::new(settings.limits.clone());
    let router = Router::new().channel("rating:*", "rating", || Rating);
    let router = Arc::new(router.expect("a pattern"));
    let mount = Mount::new("/live", router.clone(), Arc::new(Open), limits.clone());
    let mut own = Mount::new("/own", router, Arc::new(Open), limits);
    own.renew = false;
    Gateway::new(settings)
        .mount(mount)
        .mount(own)
        .start()
        .expect("a node")
}

fn open(node: &Started, mount: &str) -> Socket {
    let handshake = Handshake::at(node.clients(), &format!("/{mount}/websocket?vsn=2.0.0"));
    let wire = handshake
        .open()
        .unwrap_or_else(|said| panic!("refused: {said:?}"));
    Socket::on(wire, Version::V2)
}

/// The rating that a new channel sees of the player with this token.
fn seen(node: &Started, token: &str) -> Value {
    let mut socket = open(node, "live");
    socket.joined("rating:a", &json!({"token": token}))["rating"].clone()
}

fn raise(node: &Started, to: i64) {
    let body = json!({"rating": to}).to_string();
    let said = http::post(node.admin(), "/api/v1/players/42", &[], &body);
    assert_eq!(said.status, 200, "{said:?}");
}

/// How often players were found here or there.
fn loaded(node: &Started, from: &str) -> u64 {
    let metrics = http::get(node.admin(), "/metrics").body;
    let name = format!("fanfare_players_loaded_total{{from=\"{from}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[test]
fn a_crowd_of_one_player_asks_the_store_once_and_sees_each_change() {
    let node = start("sqlite::memory:", None);
    let token = token::player("42", "ada");
    for _ in 0..50 {
        assert_eq!(seen(&node, &token), 0);
    }
    assert_eq!((loaded(&node, "store"), loaded(&node, "cache")), (1, 49));
    for rating in 1..20 {
        raise(&node, rating);
        assert_eq!(seen(&node, &token), rating);
    }
    assert_eq!(loaded(&node, "store"), 1);
    node.stop().expect("a clean end");
}

#[test]
fn a_change_on_one_node_reaches_new_and_old_channels_on_the_other() {
    let redis = Redis::start();
    let dir = tempfile::TempDir::new().expect("a directory");
    let database = format!("sqlite://{}", dir.path().join("shared.db").display());
    let nodes = [
        start(&database, Some(&redis)),
        start(&database, Some(&redis)),
    ];
    let token = token::player("42", "ada");
    let mut old = open(&nodes[1], "live");
    old.joined("rating:a", &json!({"token": token}));
    assert_eq!([seen(&nodes[0], &token), seen(&nodes[1], &token)], [0, 0]);
    raise(&nodes[0], 7);
    assert_eq!(seen(&nodes[0], &token), 7);
    // The other node hears of it a moment later: far sooner than its copy would have ended.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while seen(&nodes[1], &token) != 7 {
        assert!(std::time::Instant::now() < deadline, "not heard of");
    }
    while old.call("rating:a", "rating", &json!({})).1["rating"] != 7 {
        assert!(
            std::time::Instant::now() < deadline,
            "the old channel has not heard of it"
        );
    }
    assert_eq!(loaded(&nodes[1], "store"), 1);
    for node in nodes {
        node.stop().expect("a clean end");
    }
}

#[test]
fn a_mount_may_leave_renewals_to_its_channels() {
    let node = start("sqlite::memory:", None);
    let payload = json!({"token": token::player("42", "ada")});
    let answers = [
        ("live", json!({"reason": "unauthorized"})),
        ("own", json!({"event": "access_token"})),
    ];
    for (mount, expected) in answers {
        let mut socket = open(&node, mount);
        socket.joined("rating:a", &json!({}));
        let (_, response) = socket.call("rating:a", "access_token", &payload);
        assert_eq!(response, expected, "{mount}");
    }
    node.stop().expect("a clean end");
}
