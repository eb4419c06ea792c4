//! What channels may ask, answered from the store: history, rows and tokens.
//!
//! It decides what a joining client missed; it delivers nothing.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::history::FirstLooks;
use crate::auth::{Identity, TokenError, Verifier};
use crate::channel::{
    AuthError, Authenticated, Epoch, Game, History, Pattern, Persist, Player, Ports, Position,
    Unavailable, Video,
};
use crate::clock;
use crate::protocol::Topic;
use crate::pubsub::{End, Found, PubSub, RecordSource};
use crate::store::{Floor, Head, PlayerCache, Range, Seen, Store, StoreError};
/// The store and the verifier as the channels' ports.
pub(super) struct StorePorts {
    pub(super) store: Arc<dyn Store>,
    pub(super) players: Arc<PlayerCache>,
    pub(super) pubsub: Arc<PubSub>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) auto_create_players: bool,
    /// Which topics are stored when, by the declarations; the first match wins.
    pub(super) persist: Vec<(Pattern, Persist)>,
    /// `limits.resume_max`.
    pub(super) resume_max: usize,
    /// Half of `limits.outbox_bytes`.
    pub(super) history_bytes: usize,
    pub(super) looks: FirstLooks,
}

impl StorePorts {
    /// Returns the player of an identity, when it was loaded lately and changes would have been told.
    fn known_player(&self, identity: &Identity) -> Option<Player> {
        let told = self.pubsub.broker().connected();
        told.then(|| self.players.find(&identity.sub, clock::now()))?
    }

    /// Loads the player of an identity; an unknown one is created from its claims where allowed.
    async fn load_player(&self, identity: &Identity) -> Result<Player, AuthError> {
        let name = identity.name.as_deref().unwrap_or(&identity.sub);
        let username = self.auto_create_players.then_some(name);
        let start = self.players.load_starts();
        match self.store.player(&identity.sub, username).await {
            Ok(Some(player)) => Ok(self.players.loaded(player, start, clock::now())),
            Ok(None) | Err(StoreError::Refused(_)) => Err(AuthError::Unauthorized),
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, "a player cannot be loaded");
                Err(AuthError::Unavailable)
            }
        }
    }

    /// Verifies a token; one with an unknown key is looked at again once the keys were read again.
    async fn verify_again(&self, token: &str) -> Result<Identity, AuthError> {
        self.verifier.renewed().await;
        let verified = self.verifier.verify(token, clock::unix_s());
        verified.map_err(refused)
    }
}

/// The shared form, answered on the control runtime whichever thread asks: the store's connections live there.
#[derive(Clone)]
pub(super) struct SharedPorts {
    ports: Arc<StorePorts>,
    control: tokio::runtime::Handle,
}

impl SharedPorts {
    /// Answers on the runtime that this is called on.
    pub(super) fn new(ports: Arc<StorePorts>) -> Self {
        Self {
            ports,
            control: tokio::runtime::Handle::current(),
        }
    }

    /// Runs work on the control runtime; `lost` is the answer when that is shutting down.
    fn ask<T, W>(&self, lost: T, work: impl FnOnce(Arc<StorePorts>) -> W) -> BoxFuture<'static, T>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let asked = self.control.spawn(work(self.ports.clone()));
        async move { asked.await.unwrap_or(lost) }.boxed()
    }
}

impl Ports for SharedPorts {
    fn history(
        &self,
        topic: Topic,
        position: Position,
        recent: usize,
    ) -> BoxFuture<'static, Result<History, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            ports.history_of(topic, position, recent).await
        })
    }

    fn game(
        &self,
        slug: String,
        create: bool,
    ) -> BoxFuture<'static, Result<Option<Game>, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            found(ports.store.game(&slug, create).await)
        })
    }

    fn video(
        &self,
        id: i64,
        create: bool,
    ) -> BoxFuture<'static, Result<Option<Video>, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            found(ports.store.video(id, create).await)
        })
    }

    fn subscribers(&self, topic: Topic) -> BoxFuture<'static, usize> {
        self.ask(0, move |ports| async move {
            ports.pubsub.subscribers(topic).await
        })
    }

    fn newest_player(&self, id: &str) -> Option<Player> {
        self.ports.players.newest(id, clock::now())
    }

    /// Answers at once, on the asking thread, for a player that was loaded lately.
    fn authenticate(&self, token: String) -> BoxFuture<'static, Result<Authenticated, AuthError>> {
        let identity = match self.ports.verifier.verify(&token, clock::unix_s()) {
            Ok(identity) => Some(identity),
            Err(TokenError::UnknownKey) => None,
            Err(error) => return ready(Err(refused(error))).boxed(),
        };
        let known = identity
            .as_ref()
            .and_then(|identity| self.ports.known_player(identity));
        if let (Some(identity), Some(player)) = (&identity, known) {
            return ready(Ok(authenticated(identity.clone(), player))).boxed();
        }
        self.ask(Err(AuthError::Unavailable), move |ports| async move {
            let identity = match identity {
                Some(identity) => identity,
                None => ports.verify_again(&token).await?,
            };
            let player = ports.load_player(&identity).await?;
            Ok(authenticated(identity, player))
        })
    }
}

fn refused(error: TokenError) -> AuthError {
    tracing::debug!(%error, "a token is refused");
    AuthError::Unauthorized
}

fn authenticated(identity: Identity, player: Player) -> Authenticated {
    Authenticated {
        player,
        expires_at: identity.expires_at,
        name: identity.name,
    }
}

/// A name that the store refuses names nothing.
fn found<T>(row: Result<Option<T>, StoreError>) -> Result<Option<T>, Unavailable> {
    match row {
        Ok(row) => Ok(row),
        Err(StoreError::Refused(_)) => Ok(None),
        Err(error @ StoreError::Unavailable(_)) => {
            tracing::warn!(%error, "a row cannot be read");
            Err(Unavailable)
        }
    }
}

impl RecordSource for SharedPorts {
    fn between(
        &self,
        topic: Topic,
        from: u64,
        to: u64,
        count: usize,
    ) -> BoxFuture<'static, Result<Found, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            let slice = ports
                .store
                .read(&topic, Range::Between { from, to, count })
                .await;
            let slice = slice.map_err(|_| Unavailable)?;
            Ok(Found {
                records: slice.records,
                end: end(slice.head),
            })
        })
    }

    fn heads(
        &self,
        topics: Vec<Topic>,
    ) -> BoxFuture<'static, Result<Vec<Option<End>>, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            let heads = ports.store.heads(&topics).await.map_err(|_| Unavailable)?;
            Ok(heads.into_iter().map(|head| head.map(end)).collect())
        })
    }

    fn renew(
        &self,
        topic: Topic,
        ended: Epoch,
        last_id: u64,
    ) -> BoxFuture<'static, Result<End, Unavailable>> {
        self.ask(Err(Unavailable), move |ports| async move {
            let head = ports.store.renew_epoch(&topic, &ended, last_id).await;
            head.map(end).map_err(|_| Unavailable)
        })
    }
}

/// What the hub knows to be stored of topics.
pub(super) struct Delivered(pub(super) Arc<PubSub>);

impl Seen for Delivered {
    fn floor(&self, topic: &Topic) -> Option<Floor> {
        let (last_id, epoch) = self.0.known(topic)?;
        Some(Floor {
            topic: topic.clone(),
            last_id,
            epoch: epoch.to_string(),
        })
    }
}

/// The end of a topic in the store.
fn end(head: Head) -> End {
    End {
        last_id: head.last_id,
        epoch: head.epoch,
    }
}
