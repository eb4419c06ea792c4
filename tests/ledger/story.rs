//! What one client did and saw, in its order: the ledger's entries.
//!
//! It only records; what must not happen is said by the verdicts.

use std::sync::Arc;

/// A range of ids that a client was told it missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first id.
    pub from: u64,
    /// The last id.
    pub to: u64,
    /// Whether the client's position was said to be void.
    pub reset: bool,
    /// The topic's epoch from here on, where it was told.
    pub epoch: Option<Arc<str>>,
}

/// A record as a client knows it: its author and the author's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// The client that wrote it.
    pub author: u32,
    /// Its number; the record's client key is `k<number>`.
    pub number: u32,
}

/// One relayed message: who sent it, on which of its connections, as which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sound {
    /// The client that sent it.
    pub author: u32,
    /// Its connection, counted from 1.
    pub connection: u32,
    /// Its number on that connection, counted from 1.
    pub number: u32,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The room's join was answered.
    Joined {
        /// The topic's epoch.
        epoch: Arc<str>,
        /// The newest id.
        last_id: u64,
        /// What is not kept any more.
        gaps: Vec<Gap>,
    },
    /// A record arrived.
    Received {
        /// Its place.
        id: u64,
        /// Its uid.
        uid: u128,
        /// What it says it is.
        name: Name,
    },
    /// The room's `gap` arrived.
    Told(Gap),
    /// A record was sent, the first time or again.
    Sent(u32),
    /// A record was acknowledged.
    Acked {
        /// The author's number for it.
        number: u32,
        /// Its place.
        id: u64,
        /// Its uid.
        uid: u128,
    },
    /// A record was refused for now.
    Refused(u32),
    /// Something was answered as no correct client's message may be.
    Rejected(String),
    /// The relay's join was answered.
    Listening,
    /// A message was sent to the relay.
    Said(Sound),
    /// A message to the relay was acknowledged.
    SaidOk(Sound),
    /// A relayed message arrived.
    Heard(Sound),
    /// The relay's `gap` arrived.
    RelayGap,
    /// A connection to a node was made.
    Opened {
        /// The node.
        node: usize,
    },
    /// The client stopped reading.
    Stalled,
    /// The connection is over.
    Ended(End),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client went, as its dice said.
    Own,
    /// The client gave up on a node that did not answer.
    Silent,
    /// The server said so, with this code.
    Closed(u16),
    /// The connection broke.
    Broken,
}

/// All entries of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// The client.
    pub client: u32,
    /// Its room.
    pub room: u32,
    /// Its relay topic.
    pub relay: u32,
    /// Whether its way to the nodes is a slow one.
    pub is_slow: bool,
    /// The entries, with milliseconds since the run began.
    pub events: Vec<(u32, Event)>,
}

/// A row of the table of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place.
    pub id: u64,
    /// Its uid.
    pub uid: u128,
    /// What it is, by its text.
    pub name: Name,
    /// Whether player and client key of the row agree with the text.
    pub consistent: bool,
}

/// A room as the database has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// The epoch.
    pub epoch: Arc<str>,
    /// The newest id by the sequencer.
    pub last_id: u64,
    /// The rows, by id.
    pub rows: Vec<Row>,
}

/// The end of a node that could say nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// When, in milliseconds since the run began.
    pub at: u32,
    /// The node.
    pub node: usize,
}

/// Everything that a run left behind.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// What the clients did and saw.
    pub stories: Vec<Story>,
    /// What the database has, by room.
    pub rooms: Vec<Room>,
    /// When the tables were emptied, if they were: what was sent before may be gone.
    pub wiped_ms: Option<u32>,
    /// The nodes that were killed.
    pub kills: Vec<Kill>,
}
