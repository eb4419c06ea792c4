//! The channel trait, in the shape that Phoenix made familiar.
//!
//! A channel is written once, by whoever embeds the library; it knows no socket and no thread.

use std::future::Future;

use futures_util::future::LocalBoxFuture;

use super::{Context, Info};
use crate::protocol::{Broadcast, Payload, Reply};

/// What a join is answered with: `Ok` joins with the response, `Err` refuses with it.
pub type JoinResult = Result<Payload, Payload>;

/// What follows from a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more.
    NoReply,
    /// Answer the current message.
    Reply(Reply),
    /// End the channel gracefully (`phx_close`).
    Stop,
    /// Answer, then end gracefully.
    ReplyAndStop(Reply),
}

/// Why a channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The client left.
    Left,
    /// The client joined the topic again.
    Rejoined,
    /// The channel stopped itself.
    Stopped,
    /// The socket ended.
    SocketClosed,
}

/// The behaviour of one joined topic of one socket.
///
/// Callbacks are `async`. One that is ready at its first poll costs no task; one that waits
/// holds up the frames of its own topic on its own socket only. A panic ends the channel with
/// `phx_error` and nothing else. The future of a callback stays on its worker's thread.
///
/// # Examples
/// ```
/// use fanfare::channel::{Channel, Context, JoinResult, Outcome};
/// use fanfare::protocol::{Payload, Reply};
///
/// struct Room;
///
/// impl Channel for Room {
///     async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
///         Ok(Payload::EMPTY)
///     }
///
///     async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
///         match event {
///             "new_msg" => {
///                 context.broadcast("new_msg", payload);
///                 Outcome::Reply(Reply::ok(Payload::EMPTY))
///             }
///             _ => Outcome::Reply(Reply::reason("unknown event")),
///         }
///     }
/// }
/// ```
pub trait Channel: 'static {
    /// Accepts or refuses a join, given its payload of any JSON.
    fn join(&mut self, context: &mut Context, payload: Payload)
    -> impl Future<Output = JoinResult>;

    /// Takes a client's event.
    fn handle_in(
        &mut self,
        context: &mut Context,
        event: &str,
        payload: Payload,
    ) -> impl Future<Output = Outcome>;

    /// Takes a broadcast of an event that [`Channel::intercepts`] names; by default pushes it.
    fn handle_out(
        &mut self,
        context: &mut Context,
        broadcast: &Broadcast,
    ) -> impl Future<Output = Outcome> {
        context.push(&broadcast.event, broadcast.payload.clone());
        async { Outcome::NoReply }
    }

    /// Takes a note that the channel sent to itself.
    fn handle_info(&mut self, context: &mut Context, info: Info) -> impl Future<Output = Outcome> {
        let _ = (context, info);
        async { Outcome::NoReply }
    }

    /// Is called once before the channel goes, not after a panic.
    fn terminate(&mut self, context: &mut Context, farewell: Farewell) {
        let _ = (context, farewell);
    }

    /// Names the broadcast events that go through [`Channel::handle_out`].
    fn intercepts(&self) -> &'static [&'static str] {
        &[]
    }
}

/// A channel with its context, of any type: what a turn takes and gives back.
pub(crate) struct Seat {
    pub(crate) channel: Box<dyn AnyChannel>,
    pub(crate) context: Box<Context>,
}

/// One call of a callback.
pub(crate) enum Call {
    Join(Payload),
    In(compact_str::CompactString, Payload),
    Out(std::sync::Arc<crate::protocol::Fastlane>),
    Info(Info),
}

impl Call {
    /// Returns the callback's name, for metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Join(_) => "join",
            Self::In(..) => "handle_in",
            Self::Out(_) => "handle_out",
            Self::Info(_) => "handle_info",
        }
    }
}

/// What a call gave.
pub(crate) enum Answer {
    Joined(JoinResult),
    Done(Outcome),
}

/// A call under way; it owns the channel and gives it back.
pub(crate) type Turn = LocalBoxFuture<'static, (Seat, Answer)>;

/// The trait without its type.
pub(crate) trait AnyChannel {
    fn call(self: Box<Self>, context: Box<Context>, call: Call) -> Turn;
    fn terminate(&mut self, context: &mut Context, farewell: Farewell);
    fn intercepts(&self) -> &'static [&'static str];
}

impl<C: Channel> AnyChannel for C {
    fn call(mut self: Box<Self>, mut context: Box<Context>, call: Call) -> Turn {
        Box::pin(async move {
            let answer = match call {
                Call::Join(payload) => {
                    let result = C::join(&mut self, &mut context, payload).await;
                    Answer::Joined(settle(&context, result).await)
                }
                Call::In(event, payload) => {
                    Answer::Done(C::handle_in(&mut self, &mut context, &event, payload).await)
                }
                Call::Out(fastlane) => {
                    let broadcast = fastlane.broadcast();
                    Answer::Done(C::handle_out(&mut self, &mut context, broadcast).await)
                }
                Call::Info(info) => {
                    Answer::Done(C::handle_info(&mut self, &mut context, info).await)
                }
            };
            let seat = Seat {
                channel: self,
                context,
            };
            (seat, answer)
        })
    }

    fn terminate(&mut self, context: &mut Context, farewell: Farewell) {
        C::terminate(self, context, farewell);
    }

    fn intercepts(&self) -> &'static [&'static str] {
        C::intercepts(self)
    }
}

/// Subscribes an accepted join that has not done so itself.
async fn settle(context: &Context, result: JoinResult) -> JoinResult {
    let response = result?;
    match context.membership().subscribe().await {
        Ok(()) => Ok(response),
        Err(unavailable) => Err(Reply::from(unavailable).response),
    }
}
