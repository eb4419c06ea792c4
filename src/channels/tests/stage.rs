//! The stage itself: doubles of the node's ports and of a place in a topic.
//!
//! It checks nothing; it only plays and writes down.

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use serde_json::Value;
use uuid::Uuid;

use super::{Declaration, Defaults, Kind};
use crate::channel::Past;
use crate::channel::{
    Accepted, Answer, Audience, AuthError, Authenticated, Author, Body, Call, Client, ConnectInfo,
    Context, Effect, Game, Gap, History, Membership, NewRecord, Outcome, Params, Persist, Player,
    Ports, Position, Record, Seat, TrackError, Unavailable, Video,
};
use crate::channels;
use crate::protocol::{Payload, Topic};

type Asked<T> = BoxFuture<'static, Result<T, Unavailable>>;

/// A node with one game, one video, one good token, and one past for every topic.
pub(super) struct Node {
    pub(super) records: Vec<Record>,
    pub(super) gaps: Vec<Gap>,
    pub(super) store_down: bool,
    log: Mutex<Vec<String>>,
}

impl Node {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn answer<T: Send + 'static>(&self, value: T) -> Asked<T> {
        Box::pin(ready(match self.store_down {
            true => Err(Unavailable),
            false => Ok(value),
        }))
    }
}

impl Ports for Node {
    fn history(&self, _: Topic, position: Position, recent: usize) -> Asked<History> {
        let Position {
            last_seen_id: id,
            last_seen_epoch: epoch,
            last_seen_uid: uid,
        } = position;
        let uid = uid.map(|uid| uid.to_string());
        self.note(format!("history {id:?} {epoch:?} {uid:?} {recent}"));
        self.answer(History {
            records: self.records.iter().map(Past::from).collect(),
            last_id: 9,
            epoch: String::from("e\"1"),
            gaps: self.gaps.clone(),
        })
    }

    fn game(&self, slug: String, create: bool) -> Asked<Option<Game>> {
        self.note(format!("game {slug} {create}"));
        self.answer((create || slug == "chess").then(|| Game {
            id: 7,
            name: slug.clone(),
            slug,
        }))
    }

    fn video(&self, id: i64, create: bool) -> Asked<Option<Video>> {
        self.note(format!("video {id} {create}"));
        self.answer((create || id == 5).then(|| Video {
            id,
            title: String::new(),
            url: String::new(),
        }))
    }

    fn subscribers(&self, _: Topic) -> BoxFuture<'static, usize> {
        Box::pin(std::future::ready(0))
    }

    fn authenticate(&self, token: String) -> BoxFuture<'static, Result<Authenticated, AuthError>> {
        let found = match (token.as_str(), self.store_down) {
            ("good", false) => Ok(Authenticated {
                player: player("43", "bob"),
                expires_at: None,
                name: Some(String::from("Bob B.")),
            }),
            ("good", true) => Err(AuthError::Unavailable),
            _ => Err(AuthError::Unauthorized),
        };
        Box::pin(ready(found))
    }
}

/// A place in a topic that remembers what was done there.
#[derive(Default)]
pub(super) struct Place {
    pub(super) deaf: Cell<bool>,
    pub(super) refuses_presence: Cell<bool>,
    log: RefCell<Vec<String>>,
}

impl Membership for Place {
    fn subscribe(&self) -> LocalBoxFuture<'static, Result<(), Unavailable>> {
        self.log.borrow_mut().push(String::from("subscribe"));
        Box::pin(ready(match self.deaf.get() {
            true => Err(Unavailable),
            false => Ok(()),
        }))
    }

    fn set_floor(&self, id: u64, _epoch: &str) {
        self.log.borrow_mut().push(format!("floor {id}"));
    }

    fn track(&self, key: &str, meta: &Payload) -> Result<(), TrackError> {
        if self.refuses_presence.get() {
            return Err(TrackError::Refused);
        }
        let meta = text(meta);
        self.log.borrow_mut().push(format!("track {key} {meta}"));
        Ok(())
    }

    fn update(&self, _: &str, _: &Payload) -> Result<(), TrackError> {
        Err(TrackError::NoPresence)
    }

    fn untrack(&self, _: &str) {}

    fn presences(&self) -> Payload {
        Payload::json(r#"{"here":{"metas":[]}}"#)
    }
}

/// What a test sets before it joins.
pub(super) struct Stage {
    pub(super) declarations: Vec<Declaration>,
    pub(super) defaults: Defaults,
    pub(super) node: Node,
    pub(super) place: Place,
    pub(super) client: Accepted,
}

/// A joined (or refused) channel.
pub(super) struct Joined {
    pub(super) kind: &'static str,
    pub(super) result: Result<String, String>,
    pub(super) effects: Vec<String>,
    pub(super) node_log: Vec<String>,
    place: Rc<Place>,
    seat: Seat,
}

/// The default channels and a relay, on a node that lets guests in; the client is Ada.
pub(super) fn stage() -> Stage {
    let mut declarations = Declaration::defaults();
    let mut relay = Declaration::new("room:*", Kind::Relay);
    relay.events = [
        "cursor",
        "new_message",
        "presence_state",
        "gap",
        "phx_close",
    ]
    .map(String::from)
    .to_vec();
    declarations.push(relay);
    Stage {
        declarations,
        defaults: Defaults {
            anonymous_allowed: true,
            auto_create: false,
        },
        node: Node {
            records: Vec::new(),
            gaps: Vec::new(),
            store_down: false,
            log: Mutex::default(),
        },
        place: Place::default(),
        client: ada(),
    }
}

/// A stage with one declaration only.
pub(super) fn declared(topic: &str, kind: Kind, change: impl Fn(&mut Declaration)) -> Stage {
    let mut declaration = Declaration::new(topic, kind);
    change(&mut declaration);
    Stage {
        declarations: vec![declaration],
        ..stage()
    }
}

/// Ada, player 42, with a token that gave no name.
fn ada() -> Accepted {
    Accepted {
        player: Some(player("42", "ada")),
        ..Accepted::default()
    }
}

/// A client without a player.
fn guest() -> Accepted {
    Accepted::default()
}

/// A stored message.
pub(super) fn message(id: u64, text: &str) -> Record {
    Record {
        id: Some(id),
        record: NewRecord {
            topic: "chat_room:lobby".try_into().unwrap(),
            uid: Uuid::nil(),
            client_key: None,
            author: Some(Author::from(&player("42", "ada"))),
            inserted_at: 0,
            body: Body::Message {
                room: String::from("lobby"),
                name: String::from("ada"),
                message: text.to_owned(),
            },
        },
    }
}

impl Stage {
    pub(super) fn guest(mut self) -> Self {
        self.client = guest();
        self
    }

    pub(super) fn join(self, topic: &str, payload: &str) -> Joined {
        self.join_with(topic, Payload::json(payload.to_owned()))
    }

    pub(super) fn join_with(self, topic: &str, payload: Payload) -> Joined {
        let topic: Topic = topic.try_into().unwrap();
        let router = channels::router(&self.declarations, &self.defaults).unwrap();
        let (kind, channel) = router.make(&topic).unwrap();
        let (node, place) = (Arc::new(self.node), Rc::new(self.place));
        let info = ConnectInfo {
            peer: ([127, 0, 0, 1], 1).into(),
            scheme: String::from("http"),
            host: String::from("localhost"),
            port: 80,
            path: String::from("/socket/websocket"),
            query: String::new(),
            headers: Vec::new(),
            auth_token: None,
        };
        let client = Rc::new(Client::new(self.client).keeping(Params::default(), info));
        let context = Context::new(topic, client, None, node.clone(), place.clone());
        let turn = channel.call(Box::new(context), Call::Join(payload));
        let (seat, answer) = at_once(turn);
        let Answer::Joined(result) = answer else {
            panic!("a join was answered as a message");
        };
        Joined {
            kind,
            result: match result {
                Ok(response) => Ok(text(&response)),
                Err(refusal) => Err(text(&refusal)),
            },
            effects: drain(&seat),
            node_log: std::mem::take(&mut *node.log.lock().unwrap()),
            place,
            seat,
        }
    }
}

impl Joined {
    /// Says what was done to the place in the topic.
    pub(super) fn place_log(&self) -> Vec<String> {
        self.place.log.borrow().clone()
    }

    /// Sends an event, and tells its reply and effects, one a line.
    pub(super) fn send(self, event: &str, payload: &str) -> (Self, String) {
        self.send_with(event, Payload::json(payload.to_owned()))
    }

    pub(super) fn send_with(mut self, event: &str, payload: Payload) -> (Self, String) {
        let Seat { channel, context } = self.seat;
        let (seat, answer) = at_once(channel.call(context, Call::In(event.into(), payload)));
        let mut lines = drain(&seat);
        match answer {
            Answer::Done(Outcome::NoReply) => {}
            Answer::Done(Outcome::Reply(reply)) => {
                lines.push(format!(
                    "{} {}",
                    reply.status.as_str(),
                    text(&reply.response)
                ));
            }
            Answer::Done(Outcome::Stop | Outcome::ReplyAndStop(_)) | Answer::Joined(_) => {
                panic!("a message ended the channel");
            }
        }
        self.seat = seat;
        (self, lines.join("\n"))
    }
}

fn player(id: &str, username: &str) -> Player {
    Player {
        id: id.to_owned(),
        username: username.to_owned(),
        rating: 0,
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a channel waited although everything is ready"),
    }
}

fn text(payload: &Payload) -> String {
    let json = payload.as_json().unwrap().to_vec();
    let json = String::from_utf8(json).unwrap();
    assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
    json
}

fn drain(seat: &Seat) -> Vec<String> {
    let effects = seat.context.effects();
    let taken = std::mem::take(&mut *effects.borrow_mut());
    taken.iter().map(line).collect()
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Push { event, payload } => format!("push {event} {}", text(payload)),
        Effect::Broadcast {
            topic,
            event,
            payload,
            audience,
        } => {
            let audience = match audience {
                Audience::All => "all",
                Audience::Others => "others",
            };
            format!("{audience} {topic} {event} {}", text(payload))
        }
        Effect::Save {
            record,
            persist,
            to: Some(_),
        } => saved(record, *persist),
        Effect::Save { to: None, .. }
        | Effect::Reply { .. }
        | Effect::After { .. }
        | Effect::Disconnect { .. } => panic!("nobody asks for {effect:?}"),
    }
}

/// Tells a record without its uid and time, after looking at both.
fn saved(record: &NewRecord, persist: Persist) -> String {
    assert_eq!(record.uid.get_version_num(), 7);
    assert!(record.inserted_at > 1_600_000_000_000_000);
    let when = match persist {
        Persist::Before => "before",
        Persist::Behind => "behind",
    };
    let author = record.author.as_ref();
    let author = author.map_or(String::from("nobody"), |author| {
        format!("{}={}", author.id, author.username)
    });
    let key = record.client_key.as_deref().unwrap_or("-");
    let body = match &record.body {
        Body::Score {
            game_id,
            player_score,
        } => format!("score {game_id} {player_score}"),
        Body::Message {
            room,
            name,
            message,
        } => format!("message {room} {name}: {message}"),
        Body::Annotation { video_id, body, at } => format!("annotation {video_id} {at} {body}"),
        Body::Custom { .. } => panic!("no channel here makes custom records"),
    };
    format!("save {when} {} by {author} key {key}: {body}", record.topic)
}
