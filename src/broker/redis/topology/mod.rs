//! Where the server of a lane is: at a fixed place, as sentinels say, or as the servers of a cluster say.
//!
//! It follows failovers and migrations of slots. It never carries a publish.

mod asked;
pub(super) mod slots;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::pending;
use futures_util::stream::FuturesUnordered;
use hashbrown::HashMap;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, Value};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use self::view::View;
use super::dial::{ConnectError, Way, plain};
use crate::broker::address::{Address, Kind};
use crate::clock;

/// Servers that are asked at once where everything is.
const ASKED_MAX: usize = 8;
/// How long the others may take after the first one answered.
const GRACE: Duration = Duration::from_millis(250);

/// How one of them answered, and the connection to ask it again.
type Answer = (String, Result<(MultiplexedConnection, View), ConnectError>);

/// Where the servers are, as far as is known.
pub(super) struct Topology {
    address: Address,
    way: Arc<Way>,
    view: watch::Sender<View>,
    looks: Mutex<Looks>,
}

/// The connections over which is asked, and how the last look went.
#[derive(Default)]
struct Looks {
    open: HashMap<String, MultiplexedConnection>,
    started: Option<Instant>,
    failed: Option<String>,
}

impl Topology {
    /// Knows only what the URL says.
    pub(super) fn new(address: Address, way: Arc<Way>) -> Self {
        Self {
            address,
            way,
            view: watch::Sender::new(View::default()),
            looks: Mutex::default(),
        }
    }

    /// Says whether this is a cluster, where each slot has a server of its own.
    pub(super) fn is_cluster(&self) -> bool {
        self.address.kind == Kind::Cluster
    }

    /// Returns where to connect for a slot, or for none in particular.
    pub(super) async fn locate(&self, slot: Option<u16>) -> Result<ConnectionInfo, ConnectError> {
        if self.address.kind == Kind::Server {
            return Ok(self.address.servers[0].clone());
        }
        let looked = self.look().await;
        let view = self.view.borrow();
        // Without anybody who knows better, the servers are where they were: nobody moves them either.
        if view.ranges.is_empty() {
            looked?;
        }
        let owner = match slot {
            Some(slot) => view.owner(slot),
            None => view.anyone(),
        };
        let (host, port) = owner.ok_or_else(|| {
            ConnectError::Unknown(String::from("no server of the redis cluster has the slot"))
        })?;
        Ok(self.address.at(host, *port))
    }

    /// Says whether a server must confirm that it is the master.
    pub(super) fn needs_master(&self) -> bool {
        matches!(self.address.kind, Kind::Sentinel(_))
    }

    /// Waits until the server of a slot, or of none in particular, is known to be elsewhere than here.
    pub(super) async fn moved(&self, slot: Option<u16>, here: &str) {
        let mut view = self.view.subscribe();
        // The sender is here, so that waiting cannot fail.
        let _ = view.wait_for(|view| view.has_left(slot, here)).await;
    }

    /// Looks again and again, so that it is seen when a server that still answers is not the one any more.
    pub(super) async fn run(&self, every: Duration) {
        if self.address.kind == Kind::Server {
            return pending().await;
        }
        loop {
            sleep(every).await;
            if let Err(cause) = self.look().await {
                tracing::debug!(%cause, "where redis is cannot be found out");
            }
        }
    }

    /// Says whether every master that answers has sharded pub/sub.
    pub(super) async fn is_sharded(&self) -> Result<bool, ConnectError> {
        self.look().await?;
        let owners = self.view.borrow().owners();
        let asked = owners.into_iter().map(|(host, port)| async move {
            let mut connection = self
                .way
                .connect(self.address.at(&host, port), plain())
                .await?;
            let mut command = redis::cmd("COMMAND");
            command.arg("INFO").arg("SSUBSCRIBE");
            let known = command.query_async::<Vec<Value>>(&mut connection);
            let known = self.way.answered(&format!("{host}:{port}"), known).await?;
            Ok::<_, ConnectError>(!matches!(known.first(), None | Some(Value::Nil)))
        });
        let (mut has, mut last) = (None, None);
        for answer in futures_util::future::join_all(asked).await {
            match answer {
                Ok(known) => has = Some(known && has.unwrap_or(true)),
                Err(cause) => last = Some(cause),
            }
        }
        match (has, last) {
            (Some(has), _) => Ok(has),
            (None, Some(cause)) => Err(cause),
            (None, None) => Err(ConnectError::Unknown(String::from(
                "the redis cluster has no slots",
            ))),
        }
    }

    /// Returns the names of those in the URL, for an error message.
    pub(super) fn asked(&self) -> String {
        let names: Vec<String> = self
            .address
            .servers
            .iter()
            .map(|one| one.addr().to_string())
            .collect();
        names.join(",")
    }

    /// Says in a few words what was found, without a login.
    pub(super) fn describe(&self) -> String {
        let view = self.view.borrow();
        match &self.address.kind {
            Kind::Server => format!("one server at {}", self.address.servers[0].addr()),
            Kind::Sentinel(master) => {
                let (host, port) = view.owner(0).cloned().unwrap_or_default();
                format!(
                    "master {master} at {host}:{port}, replicas: {}, sentinels: {}",
                    view.replicas, view.watchers
                )
            }
            Kind::Cluster => format!(
                "cluster, masters: {}, replicas: {}",
                view.owners().len(),
                view.replicas
            ),
        }
    }

    /// Asks who is where. Those who come while somebody asks share the next answer.
    async fn look(&self) -> Result<(), ConnectError> {
        let wanted = clock::now();
        let mut looks = self.looks.lock().await;
        if looks.started.is_none_or(|started| started < wanted) {
            looks.started = Some(clock::now());
            looks.failed = self.look_now(&mut looks.open).await.err();
        }
        match &looks.failed {
            None => Ok(()),
            Some(why) => Err(ConnectError::Unknown(why.clone())),
        }
    }

    async fn look_now(
        &self,
        open: &mut HashMap<String, MultiplexedConnection>,
    ) -> Result<(), String> {
        let mut known = std::mem::take(open);
        let mut asked: FuturesUnordered<_> = self
            .sources()
            .into_iter()
            .map(|server| {
                let name = server.addr().to_string();
                let connection = known.remove(&name);
                async move { (name, self.ask(server, connection).await) }
            })
            .collect();
        let (mut best, mut failed) = (None::<View>, None);
        while let Some((name, answer)) = next(&mut asked, best.is_some()).await {
            match answer {
                Ok((connection, view)) => {
                    open.insert(name, connection);
                    if best.as_ref().is_none_or(|best| view.epoch > best.epoch) {
                        best = Some(view);
                    }
                }
                Err(cause) => failed = Some(cause),
            }
        }
        match (best, failed) {
            (Some(best), _) => {
                self.view.send_if_modified(|view| {
                    let news = *view != best;
                    if news {
                        *view = best;
                    }
                    news
                });
                Ok(())
            }
            (None, Some(cause)) => Err(cause.to_string()),
            (None, None) => Err(String::from("the redis url names no server")),
        }
    }

    /// Whom to ask: the sentinels, or servers of the cluster.
    fn sources(&self) -> Vec<ConnectionInfo> {
        let mut sources: Vec<ConnectionInfo> = match self.address.kind {
            Kind::Server | Kind::Sentinel(_) => Vec::new(),
            Kind::Cluster => {
                let owners = self.view.borrow().owners();
                owners
                    .iter()
                    .map(|(host, port)| self.address.at(host, *port))
                    .collect()
            }
        };
        // Both ends of the list are asked: what was found, and what was given.
        sources.truncate(ASKED_MAX / 2);
        for server in &self.address.servers {
            if sources.len() < ASKED_MAX && sources.iter().all(|one| one.addr() != server.addr()) {
                sources.push(server.clone());
            }
        }
        sources
    }

    async fn ask(
        &self,
        server: ConnectionInfo,
        connection: Option<MultiplexedConnection>,
    ) -> Result<(MultiplexedConnection, View), ConnectError> {
        let name = server.addr().to_string();
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.way.connect(server.clone(), plain()).await?,
        };
        let view = match &self.address.kind {
            Kind::Sentinel(master) => asked::sentinel(&mut connection, master).await,
            Kind::Server | Kind::Cluster => asked::cluster(&mut connection, &server).await,
        };
        let view = view.map_err(|cause| ConnectError::Refused(name, cause))?;
        Ok((connection, view))
    }
}

/// Returns the next answer; once there is a good one the others are not waited for long.
async fn next<F: Future<Output = Answer>>(
    asked: &mut FuturesUnordered<F>,
    answered: bool,
) -> Option<Answer> {
    if answered {
        timeout(GRACE, asked.next()).await.ok().flatten()
    } else {
        asked.next().await
    }
}
