//! Records and stores to test with.
//!
//! Nothing here checks anything.

use std::sync::Arc;

use fanfare::channel::{Author, Body, NewRecord};
use fanfare::clock;
use fanfare::protocol::Topic;
use fanfare::store::{self, Config, Store};

/// Opens a store with the default settings; it is not migrated.
pub async fn open(url: &str) -> Arc<dyn Store> {
    let config = Config {
        url: url.to_owned(),
        ..Config::default()
    };
    store::open(&config).await.expect("opened")
}

/// Makes a topic.
pub fn topic(text: &str) -> Topic {
    text.try_into().expect("a topic")
}

/// Makes a player's claims; the name differs from the id.
pub fn author(id: &str) -> Option<Author> {
    Some(Author {
        id: id.to_owned(),
        username: format!("name of {id}"),
    })
}

/// Makes a guest's message.
pub fn message(on: &str, text: &str) -> NewRecord {
    NewRecord {
        topic: topic(on),
        uid: clock::uid(),
        client_key: None,
        author: None,
        inserted_at: clock::unix_us(),
        body: Body::Message {
            room: String::from("lobby"),
            name: String::from("ada"),
            message: text.to_owned(),
        },
    }
}

/// Makes a player's message with a client key.
pub fn keyed(on: &str, player: &str, key: &str) -> NewRecord {
    NewRecord {
        client_key: Some(key.to_owned()),
        author: author(player),
        ..message(on, "keyed")
    }
}

/// Makes a custom channel's record.
pub fn custom(on: &str, payload: &str) -> NewRecord {
    NewRecord {
        body: Body::Custom {
            event: String::from("drawn"),
            payload: payload.to_owned(),
        },
        ..message(on, "")
    }
}
