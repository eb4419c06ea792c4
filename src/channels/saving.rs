//! What a client's event comes to: a record to be saved, or an answer.
//!
//! What the server makes (author, uid, time) is made here and never read from a payload.

use super::served::Served;
use crate::channel::{Author, Body, Context, NewRecord, Outcome};
use crate::clock;
use crate::protocol::{Payload, Reply};

/// Saves a record; its broadcast and the reply `{id, uid}` follow the commit.
///
/// One with a client's key is stored before it is broadcast, whatever the declaration says: the worker
/// sees to that.
pub(super) fn save(
    context: &mut Context,
    served: &Served,
    body: Body,
    client_key: Option<String>,
) -> Outcome {
    let record = NewRecord {
        topic: context.topic().clone(),
        uid: clock::uid(),
        client_key,
        author: context.player().as_deref().map(Author::from),
        inserted_at: clock::unix_us(),
        body,
    };
    context.save(record, served.persist);
    Outcome::NoReply
}

/// Answers an event that a channel does not know.
pub(super) fn unknown_event() -> Outcome {
    Outcome::Reply(Reply::reason("unknown event"))
}

/// Answers with the refusal, when there is one.
pub(super) fn settle(result: Result<Outcome, Payload>) -> Outcome {
    result.unwrap_or_else(|refusal| Outcome::Reply(Reply::error(refusal)))
}
