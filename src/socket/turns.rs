//! The turns of a socket's channels: what follows from a callback's end.
//!
//! Effects leave in the order they were asked for; join replies in the order of the joins.

use super::entry::{ChannelId, Entry, JoinRefs, Phase, Queue, Waiting};
use super::machine::{Output, Socket};
use crate::channel::{
    Answer, Call, Effect, Farewell, Finished, JoinResult, Outcome, Player, Started, TurnEnd,
};
use crate::clock;
use crate::protocol::{Ending, Outgoing, Payload, Ref, Reply, Topic};

/// The reference of a join, and the end of the channel that it replaces.
type Asked = (Option<Ref>, Option<JoinRefs>);

impl Socket {
    /// Takes the end of a turn that had to wait.
    pub fn resume(&mut self, channel: ChannelId, end: TurnEnd, out: &mut Vec<Output>) {
        if let Some(at) = self.position(channel) {
            self.turn_ended(at, end, out);
            self.take_waiting(channel, out);
        }
    }

    /// Refuses a join whose callback took longer than `limits.join_seconds`.
    pub fn join_timed_out(&mut self, channel: ChannelId, out: &mut Vec<Output>) {
        if let Some(at) = self.position(channel) {
            self.count_limit("join_seconds");
            self.joined(at, Err(Reply::reason("unavailable").response), out);
        }
    }

    /// Sends what a waiting callback has asked for so far; a join's effects stay behind its reply.
    pub fn flush_channel(&mut self, channel: ChannelId, out: &mut Vec<Output>) {
        let Some(at) = self.position(channel) else {
            return;
        };
        if matches!(self.entries[at].phase, Phase::Joined) {
            self.flush_at(at, out);
        }
    }

    /// Sets whether the event `access_token` renews the token here; if not, channels get it. By default it does.
    pub fn set_renews(&mut self, renews: bool) {
        self.renews = renews;
    }

    /// Replaces the copies of a player: the socket's, and those of channels with a token of their own.
    pub fn refresh_player(&self, fresh: &Player) {
        self.client().refresh_player(fresh);
        for entry in &self.entries {
            entry.runner.own_token().refresh(fresh);
        }
    }

    /// Ends the channels whose own token has ended; the socket and its other channels stay.
    pub fn end_expired(&mut self, now_s: u64, out: &mut Vec<Output>) {
        let ended = |entry: &Entry| {
            matches!(entry.phase, Phase::Joined) && entry.runner.own_token().has_ended(now_s)
        };
        while let Some(at) = self.entries.iter().position(ended) {
            self.finish(at, Some(Farewell::Stopped), Ending::Expired, out);
        }
    }

    pub(super) fn position(&self, channel: ChannelId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == channel)
    }

    /// Calls a channel; the call ends now, or is handed out to be driven.
    pub(super) fn run(
        &mut self,
        at: usize,
        call: Call,
        reference: Option<Ref>,
        out: &mut Vec<Output>,
    ) {
        let join = matches!(call, Call::Join(_));
        let channel = self.entries[at].id;
        self.entries[at].called = Some((call.name(), clock::now()));
        match self.entries[at]
            .runner
            .start(call, reference, &self.around.joins)
        {
            Some(Started::Ended(end)) => self.turn_ended(at, end, out),
            Some(Started::Waits(turn)) => {
                self.flush_channel(channel, out);
                out.push(Output::Wait {
                    channel,
                    turn,
                    join,
                });
            }
            None => debug_assert!(false, "a channel is called at rest only"),
        }
    }

    fn turn_ended(&mut self, at: usize, end: TurnEnd, out: &mut Vec<Output>) {
        let joining = matches!(self.entries[at].phase, Phase::Joining(_));
        if let Some((callback, start)) = self.entries[at].called.take() {
            let labels = [self.entries[at].kind, callback];
            let took = clock::now().saturating_duration_since(start);
            let seconds = self.around.metrics.callbacks.with_label_values(&labels);
            seconds.observe(took.as_secs_f64());
        }
        match end {
            TurnEnd::Finished(Finished { seat, answer }) => {
                // The reply to a deferred call needs the reference that the context still has.
                let to = seat.context.reply_to();
                self.entries[at].runner.rest(seat);
                match answer {
                    Answer::Joined(result) => self.joined(at, result, out),
                    Answer::Done(outcome) => self.done(at, outcome, to.reference, out),
                }
            }
            TurnEnd::Crashed if joining => {
                self.joined(at, Err(Reply::reason("join crashed").response), out);
            }
            TurnEnd::Crashed => self.finish(at, None, Ending::Crashed, out),
        }
    }

    fn joined(&mut self, at: usize, result: JoinResult, out: &mut Vec<Output>) {
        if let Phase::Joining(join) = &mut self.entries[at].phase {
            // A join that timed out is answered already; a late end changes nothing.
            join.result.get_or_insert(result);
        }
        self.release_joins(out);
    }

    /// Answers the joins that have ended, up to the first that has not.
    fn release_joins(&mut self, out: &mut Vec<Output>) {
        while let Some(&channel) = self.joins.front() {
            let Some(at) = self.position(channel) else {
                self.joins.pop_front();
                continue;
            };
            let Phase::Joining(join) = &mut self.entries[at].phase else {
                self.joins.pop_front();
                continue;
            };
            let Some(result) = join.result.take() else {
                return;
            };
            let (reference, replaced) = (join.reference.take(), join.replaced.take());
            self.joins.pop_front();
            match result {
                Ok(response) => self.accept_join(at, (reference, replaced), response, out),
                Err(response) => self.refuse_join(at, (reference, replaced), response, out),
            }
        }
        self.joins.shrink_to_fit();
    }

    fn accept_join(&mut self, at: usize, asked: Asked, response: Payload, out: &mut Vec<Output>) {
        let entry = &mut self.entries[at];
        entry.phase = Phase::Joined;
        let (channel, intercepts) = (entry.id, entry.runner.intercepts());
        self.answer_join(at, asked, &Reply::ok(response), out);
        let mut effects = Vec::new();
        self.flush_at(at, &mut effects);
        // What was pushed comes before what was live during the join; the join's own broadcasts after it.
        let pushed = effects
            .iter()
            .position(|output| matches!(output, Output::Perform { .. }));
        let live = Output::Live {
            channel,
            intercepts,
        };
        effects.insert(pushed.unwrap_or(effects.len()), live);
        out.append(&mut effects);
        self.take_waiting(channel, out);
    }

    fn refuse_join(&mut self, at: usize, asked: Asked, response: Payload, out: &mut Vec<Output>) {
        self.answer_join(at, asked, &Reply::error(response), out);
        // A refused channel was never joined: it goes without `terminate` and without its effects.
        let entry = self.entries.remove(at);
        tracing::debug!(topic = %entry.topic, "a join is refused");
        self.count_gone(&entry);
        out.push(Output::Left { channel: entry.id });
        self.redispatch(entry.waiting, out);
    }

    /// Sends the reply of a join, then the close of the channel that it replaced.
    fn answer_join(
        &mut self,
        at: usize,
        (reference, replaced): Asked,
        reply: &Reply,
        out: &mut Vec<Output>,
    ) {
        let entry = &self.entries[at];
        let (topic, kind, refs) = (entry.topic.clone(), entry.kind, entry.refs.clone());
        let labels = [
            kind,
            if reply.status.as_str() == "ok" {
                "ok"
            } else {
                "error"
            },
        ];
        self.around.metrics.joins.with_label_values(&labels).inc();
        let (join_ref, reference) = (refs.sent.as_ref(), reference.as_ref());
        self.answer(join_ref, reference, topic.as_str(), reply, out);
        if let Some(old) = replaced {
            self.end(&topic, &old, Ending::Closed, out);
        }
    }

    fn done(&mut self, at: usize, outcome: Outcome, reference: Option<Ref>, out: &mut Vec<Output>) {
        let topic = self.entries[at].topic.clone();
        self.flush_at(at, out);
        let own = self.entries[at].refs.own.clone();
        match outcome {
            Outcome::NoReply => {}
            Outcome::Reply(reply) => {
                self.answer(
                    own.as_ref(),
                    reference.as_ref(),
                    topic.as_str(),
                    &reply,
                    out,
                );
            }
            Outcome::Stop => self.finish(at, Some(Farewell::Stopped), Ending::Closed, out),
            Outcome::ReplyAndStop(reply) => {
                self.answer(
                    own.as_ref(),
                    reference.as_ref(),
                    topic.as_str(),
                    &reply,
                    out,
                );
                self.finish(at, Some(Farewell::Stopped), Ending::Closed, out);
            }
        }
    }

    /// Ends a channel from inside: stopped, or crashed.
    fn finish(
        &mut self,
        at: usize,
        farewell: Option<Farewell>,
        ending: Ending,
        out: &mut Vec<Output>,
    ) {
        self.flush_at(at, out);
        let mut entry = self.entries.remove(at);
        if let Some(farewell) = farewell {
            entry.runner.terminate(farewell);
        }
        self.count_gone(&entry);
        self.end(&entry.topic, &entry.refs, ending, out);
        self.flush(&mut entry, out);
        out.push(Output::Left { channel: entry.id });
        self.redispatch(entry.waiting, out);
    }

    /// Takes a channel out and lets it say goodbye; its effects are still to be flushed.
    pub(super) fn remove(&mut self, at: usize, farewell: Farewell, out: &mut Vec<Output>) -> Entry {
        let mut entry = self.entries.remove(at);
        if matches!(entry.phase, Phase::Joined) {
            entry.runner.terminate(farewell);
        }
        self.count_gone(&entry);
        out.push(Output::Left { channel: entry.id });
        entry
    }

    /// Performs what waited while the channel was in a turn, until it waits again.
    fn take_waiting(&mut self, channel: ChannelId, out: &mut Vec<Output>) {
        while let Some(at) = self.position(channel) {
            if !self.entries[at].is_at_rest() {
                return;
            }
            let Some(waiting) = self.entries[at].waiting.next() else {
                return;
            };
            self.perform_now(at, waiting, out);
        }
    }

    /// Dispatches anew what waited for a channel that is gone.
    pub(super) fn redispatch(&mut self, waiting: Queue, out: &mut Vec<Output>) {
        for waiting in waiting {
            match waiting {
                Waiting::Message(message) => self.dispatch(message, out),
                Waiting::Intercepted(_) | Waiting::Info(_) => {}
            }
        }
    }

    fn flush_at(&mut self, at: usize, out: &mut Vec<Output>) {
        let effects = self.entries[at].runner.effects().clone();
        if effects.borrow().is_empty() {
            return;
        }
        let entry = &self.entries[at];
        let (channel, refs, topic) = (entry.id, entry.refs.clone(), entry.topic.clone());
        self.flush_effects(&effects, channel, &refs, &topic, out);
    }

    /// Sends the effects of a channel that was taken out.
    pub(super) fn flush(&mut self, entry: &mut Entry, out: &mut Vec<Output>) {
        let effects = entry.runner.effects().clone();
        self.flush_effects(&effects, entry.id, &entry.refs, &entry.topic, out);
    }

    fn flush_effects(
        &self,
        effects: &crate::channel::Effects,
        channel: ChannelId,
        refs: &JoinRefs,
        topic: &Topic,
        out: &mut Vec<Output>,
    ) {
        // Taken, not drained: between messages a channel holds no memory for them.
        for effect in effects.take() {
            match effect {
                Effect::Push { event, payload } => {
                    let frame = self.serializer.encode(Outgoing::Push {
                        join_ref: refs.own.as_ref(),
                        topic: topic.as_str(),
                        event: &event,
                        payload: &payload,
                    });
                    out.extend(frame.map(Output::Send));
                }
                Effect::Reply { to, reply } => {
                    let (join_ref, reference) = (to.join_ref.as_ref(), to.reference.as_ref());
                    self.answer(join_ref, reference, topic.as_str(), &reply, out);
                }
                effect @ (Effect::Broadcast { .. }
                | Effect::Save { .. }
                | Effect::After { .. }
                | Effect::Disconnect { .. }) => out.push(Output::Perform { channel, effect }),
            }
        }
    }

    pub(super) fn end(
        &self,
        topic: &Topic,
        refs: &JoinRefs,
        ending: Ending,
        out: &mut Vec<Output>,
    ) {
        let frame = self.serializer.encode(Outgoing::End {
            join_ref: refs.end(self.serializer),
            topic: topic.as_str(),
            ending,
        });
        out.extend(frame.map(Output::Send));
    }

    fn count_gone(&self, entry: &Entry) {
        self.around
            .metrics
            .channels
            .with_label_values(&[entry.kind])
            .dec();
    }
}
