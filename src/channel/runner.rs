//! Runs the callbacks of one joined channel, one at a time, panics contained.
//!
//! It polls a callback once; who waits is handed out as a turn and given back later.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};

use super::behaviour::{Answer, Call, Farewell, Seat, Turn};
use super::context::Effects;
use super::gate::{Gate, Place};
use super::token::OwnToken;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Says whether this thread runs a channel's code right now.
pub(crate) fn is_in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Runs a channel's code. After a panic nothing of it is used again, so no broken state is seen.
fn contained<T>(code: impl FnOnce() -> T) -> std::thread::Result<T> {
    let outer = IN_CALLBACK.replace(true);
    let result = catch_unwind(AssertUnwindSafe(code));
    IN_CALLBACK.set(outer);
    result
}

/// A callback that waits, to be driven by the worker.
pub struct PendingTurn {
    turn: Turn,
    /// A join's place among the joins under way; other callbacks need none.
    place: Option<Place>,
}

/// What a driven turn has come to.
pub enum TurnEnd {
    /// It gave the channel back, with what follows.
    Finished(Finished),
    /// It panicked; the channel is gone.
    Crashed,
}

/// A finished turn: the channel and its answer.
pub struct Finished {
    pub(crate) seat: Seat,
    pub(crate) answer: Answer,
}

impl std::fmt::Debug for TurnEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Finished(_) => "Finished",
            Self::Crashed => "Crashed",
        })
    }
}

impl std::fmt::Debug for PendingTurn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingTurn")
    }
}

impl std::future::Future for PendingTurn {
    type Output = TurnEnd;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<TurnEnd> {
        if let Some(place) = &mut self.place
            && place.poll_held(task).is_pending()
        {
            return Poll::Pending;
        }
        let turn = &mut self.turn;
        match contained(|| turn.as_mut().poll(task)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready((seat, answer))) => {
                Poll::Ready(TurnEnd::Finished(Finished { seat, answer }))
            }
            Err(_) => Poll::Ready(TurnEnd::Crashed),
        }
    }
}

/// What a call came to at its first poll.
pub(crate) enum Started {
    Ended(TurnEnd),
    Waits(PendingTurn),
}

/// The place of one channel: at rest, in a turn, or gone.
pub(crate) struct Runner {
    seat: Option<Seat>,
    effects: Effects,
    own: OwnToken,
}

impl Runner {
    pub(crate) fn new(seat: Seat) -> Self {
        let (effects, own) = (seat.context.effects(), seat.context.own_token());
        Self {
            seat: Some(seat),
            effects,
            own,
        }
    }

    /// Returns the place of the channel's own token.
    pub(crate) fn own_token(&self) -> &OwnToken {
        &self.own
    }

    /// Returns the effects that were asked for and not performed yet.
    pub(crate) fn effects(&self) -> &Effects {
        &self.effects
    }

    /// Says whether no turn is under way.
    pub(crate) fn rests(&self) -> bool {
        self.seat.is_some()
    }

    /// Starts a call about a message; `None` when a turn is under way. A join passes the gate first.
    pub(crate) fn start(
        &mut self,
        call: Call,
        reference: Option<crate::protocol::Ref>,
        gate: &Gate,
    ) -> Option<Started> {
        let Seat {
            channel,
            mut context,
        } = self.seat.take()?;
        context.set_current(reference);
        let place = matches!(call, Call::Join(_)).then(|| gate.ask());
        let Ok(turn) = contained(|| channel.call(context, call)) else {
            return Some(Started::Ended(TurnEnd::Crashed));
        };
        let mut pending = PendingTurn { turn, place };
        let mut task = Task::from_waker(Waker::noop());
        Some(match Pin::new(&mut pending).poll(&mut task) {
            Poll::Ready(end) => Started::Ended(end),
            Poll::Pending => Started::Waits(pending),
        })
    }

    /// Takes the channel back after a turn.
    pub(crate) fn rest(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// Names the intercepted events, while at rest.
    pub(crate) fn intercepts(&self) -> &'static [&'static str] {
        self.seat
            .as_ref()
            .map_or(&[], |seat| seat.channel.intercepts())
    }

    /// Says goodbye; a channel in the middle of a turn goes without a word.
    pub(crate) fn terminate(&mut self, farewell: Farewell) {
        if let Some(Seat {
            mut channel,
            mut context,
        }) = self.seat.take()
        {
            // A panic here ends the same way: the channel is gone.
            let _ = contained(|| channel.terminate(&mut context, farewell));
        }
    }
}
