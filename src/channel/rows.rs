//! The rows that channels read: games, videos and players.
//!
//! They are copies for reading; a change is a statement on the store.

use super::Author;

/// A row of `games`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Game {
    /// Its id.
    pub id: i64,
    /// Its slug, the part of the topic after `score:`.
    pub slug: String,
    /// Its display name.
    pub name: String,
}

/// A row of `videos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// Its id, the part of the topic after `videos:`.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
}

/// A row of `players`: the copy that a socket keeps for reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// Its id: the `sub` of the token, any text of 1 to 255 bytes.
    pub id: String,
    /// Its user name.
    pub username: String,
    /// Its rating, only ever raised by an update.
    pub rating: i64,
}

impl From<&Player> for Author {
    fn from(player: &Player) -> Self {
        Self {
            id: player.id.clone(),
            username: player.username.clone(),
        }
    }
}
