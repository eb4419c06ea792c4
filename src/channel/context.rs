//! What a callback has at hand: its topic, its client, and the effects it may ask for.
//!
//! It performs nothing itself; effects leave in the order they were asked for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{
    AFTER_MAX, Audience, AuthError, Client, Effect, History, Info, Membership, NewRecord, OwnToken,
    Persist, Player, Ports, Position, ReplyTo, Token, Unavailable,
};
use crate::protocol::{BINARY_HEADER_BYTES_MAX, Payload, Ref, Reply, Topic};

/// The effects of one channel that nobody has performed yet.
pub(crate) type Effects = Rc<RefCell<VecDeque<Effect>>>;

/// What one joined channel has at hand in its callbacks.
pub struct Context {
    topic: Topic,
    client: Rc<Client>,
    join_ref: Option<Ref>,
    current: Option<Ref>,
    effects: Effects,
    ports: Arc<dyn Ports>,
    membership: Rc<dyn Membership>,
    own: OwnToken,
}

impl Context {
    /// Puts a context together; `join_ref` is what the channel's own frames carry.
    pub fn new(
        topic: Topic,
        client: Rc<Client>,
        join_ref: Option<Ref>,
        ports: Arc<dyn Ports>,
        membership: Rc<dyn Membership>,
    ) -> Self {
        Self {
            topic,
            client,
            join_ref,
            current: None,
            effects: Effects::default(),
            ports,
            membership,
            own: OwnToken::default(),
        }
    }

    /// Returns the topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Returns the client of the socket.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the player: the one of the join's token, else the socket's.
    pub fn player(&self) -> Option<Rc<Player>> {
        match self.own.token() {
            Some(token) => Some(token.player),
            None => self.client.player(),
        }
    }

    /// Returns the user name that a token gave, which a client can't override.
    pub fn token_name(&self) -> Option<Rc<str>> {
        match self.own.token() {
            Some(token) => token.name,
            None => self.client.token_name(),
        }
    }

    /// Takes the token of a join payload for this channel.
    ///
    /// The channel ends with the token: with `phx_error`, so that clients join again, with a fresh one.
    ///
    /// # Errors
    /// [`AuthError`] when the token is not valid or its player can't be loaded.
    pub async fn authenticate(&mut self, token: &str) -> Result<(), AuthError> {
        let found = self.ports.authenticate(token.to_owned()).await?;
        self.client.note_own_token();
        self.take_own(found.into());
        Ok(())
    }

    /// Replaces the token in place: the channel's own, if it has one, and the socket's when it is the same player's.
    ///
    /// # Errors
    /// [`AuthError`] when nothing was changed: the token is not valid, or not of this channel's player.
    pub(crate) async fn renew(&mut self, token: String) -> Result<(), AuthError> {
        let found = Token::from(self.ports.authenticate(token).await?);
        if self
            .player()
            .is_none_or(|player| player.id != found.player.id)
        {
            return Err(AuthError::Unauthorized);
        }
        self.client.renew(&found);
        if let Some(newest) = self.ports.newest_player(&found.player.id) {
            self.client.refresh_player(&newest);
        }
        if self.own.token().is_some() {
            self.take_own(found);
        }
        Ok(())
    }

    fn take_own(&self, token: Token) {
        let id = token.player.id.clone();
        self.own.set(token);
        // A change that was told while the token was looked at did not find it here.
        if let Some(newest) = self.ports.newest_player(&id) {
            self.own.refresh(&newest);
        }
    }

    /// Returns what the node answers: history, games, videos.
    pub fn ports(&self) -> &Arc<dyn Ports> {
        &self.ports
    }

    /// Returns the channel's place in its topic: subscription and presence.
    pub fn membership(&self) -> &Rc<dyn Membership> {
        &self.membership
    }

    /// Subscribes, then reads the past; what is live meanwhile is merged behind it by id.
    ///
    /// # Errors
    /// [`Unavailable`] when the subscription or the store fails.
    pub async fn history(
        &mut self,
        position: Position,
        recent: usize,
    ) -> Result<History, Unavailable> {
        self.membership.subscribe().await?;
        let seen = position.last_seen_id.unwrap_or(0);
        let history = self
            .ports
            .history(self.topic.clone(), position, recent)
            .await?;
        let void = history.gaps.iter().any(|gap| gap.reset);
        let floor = if void { 0 } else { seen }.max(history.last_id);
        self.membership.set_floor(floor, &history.epoch);
        Ok(history)
    }

    /// Sends an event to this channel's client.
    ///
    /// # Panics
    /// As [`Context::broadcast_on`].
    pub fn push(&mut self, event: &str, payload: Payload) {
        demand_encodable(&self.topic, event, &payload);
        self.ask(Effect::Push {
            event: event.to_owned(),
            payload,
        });
    }

    /// Says whether a broadcast reaches the other nodes now, or waits for them in a queue that has room.
    ///
    /// A channel that answers its client for a broadcast asks first, and refuses with `unavailable`.
    pub fn can_broadcast(&self) -> bool {
        self.membership.can_broadcast()
    }

    /// Sends an event to every subscriber of the topic, this channel included.
    ///
    /// # Panics
    /// As [`Context::broadcast_on`].
    pub fn broadcast(&mut self, event: &str, payload: Payload) {
        self.broadcast_on(self.topic.clone(), event, payload, Audience::All);
    }

    /// Sends an event to every subscriber of the topic but this channel.
    ///
    /// # Panics
    /// As [`Context::broadcast_on`].
    pub fn broadcast_from(&mut self, event: &str, payload: Payload) {
        self.broadcast_on(self.topic.clone(), event, payload, Audience::Others);
    }

    /// Sends an event to the subscribers of any topic.
    ///
    /// # Panics
    /// When the payload is JSON but no object, or bytes under a topic or event of more than 255
    /// bytes: no client could read the frame. The panic ends this channel with `phx_error`, as in Phoenix.
    pub fn broadcast_on(
        &mut self,
        topic: Topic,
        event: &str,
        payload: Payload,
        audience: Audience,
    ) {
        demand_encodable(&topic, event, &payload);
        self.ask(Effect::Broadcast {
            topic,
            event: event.to_owned(),
            payload,
            audience,
        });
    }

    /// Stores a record; its broadcast and the reply to the current message follow the commit.
    pub fn save(&mut self, record: NewRecord, persist: Persist) {
        let to = Some(self.reply_to());
        self.ask(Effect::Save {
            record: Box::new(record),
            persist,
            to,
        });
    }

    /// Names the current message, for a later [`Context::reply`].
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo {
            join_ref: self.join_ref.clone(),
            reference: self.current.clone(),
        }
    }

    /// Answers a message, now or later.
    pub fn reply(&mut self, to: ReplyTo, reply: Reply) {
        self.ask(Effect::Reply { to, reply });
    }

    /// Asks for a call of `handle_info` after a while, at most a day.
    pub fn send_after(&mut self, delay: Duration, info: Info) {
        let delay = delay.min(AFTER_MAX);
        self.ask(Effect::After { delay, info });
    }

    /// Closes every socket with an id, on every node, with code 1001.
    pub fn disconnect(&mut self, socket_id: &str) {
        self.ask(Effect::Disconnect {
            socket_id: socket_id.to_owned(),
        });
    }

    /// Sets which message is being handled.
    pub(crate) fn set_current(&mut self, reference: Option<Ref>) {
        self.current = reference;
    }

    /// Returns the queue of effects, shared with whoever performs them.
    pub(crate) fn effects(&self) -> Effects {
        self.effects.clone()
    }

    /// Returns the place of the channel's own token, shared with the socket.
    pub(crate) fn own_token(&self) -> OwnToken {
        self.own.clone()
    }

    fn ask(&mut self, effect: Effect) {
        self.effects.borrow_mut().push_back(effect);
    }
}

fn demand_encodable(topic: &Topic, event: &str, payload: &Payload) {
    match payload {
        Payload::Json(_) => assert!(payload.is_object(), "a payload must be an object"),
        Payload::Binary(_) => assert!(
            topic.as_str().len() <= BINARY_HEADER_BYTES_MAX
                && event.len() <= BINARY_HEADER_BYTES_MAX,
            "bytes need a topic and event of at most 255 bytes"
        ),
    }
}
