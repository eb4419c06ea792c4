//! What a channel is: the trait, its context, the router and the runner of one joined channel.
//!
//! It does no I/O: a channel asks for effects, and the worker performs them.

mod behaviour;
mod client;
mod context;
mod effect;
mod gate;
mod ports;
mod record;
mod router;
mod rows;
mod runner;
mod token;

pub(crate) use behaviour::{Answer, Call, Seat};
pub use behaviour::{Channel, Farewell, JoinResult, Outcome};
pub use client::{Accepted, Client, ConnectInfo, Params};
pub use context::Context;
pub(crate) use context::Effects;
pub use effect::{Audience, Effect, Info, ReplyTo};
pub use gate::Gate;
pub use ports::{
    AFTER_MAX, AuthError, Authenticated, Gap, History, Membership, Past, Ports, Position,
    TrackError, Unavailable,
};
pub use record::{Author, Body, Epoch, NewRecord, Persist, Record};
pub use router::{Pattern, PatternError, Router};
pub use rows::{Game, Player, Video};
pub(crate) use runner::{Finished, Runner, Started, is_in_callback};
pub use runner::{PendingTurn, TurnEnd};
pub(crate) use token::{OwnToken, Token};
