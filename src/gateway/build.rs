//! Puts a node together: store, broker, hub, writer, workers, operators' server.
//!
//! Each part is made once, handed what it needs, and run on its runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::departure::{Running, RunningBroker, Told};
use super::door::Door;
use super::inbox::{LateHub, Taken, inbox};
use super::ports::{Delivered, SharedPorts, StorePorts};
use super::presence::Driver;
use super::sockets::Descriptors;
use super::supervisor::Supervisor;
use super::{Failure, gauges, open_store, sockets};
use crate::auth::Verifier;
use crate::broker::{self, Broker, Inbox, LocalBroker, RedisBroker};
use crate::channel::{Gate, Pattern};
use crate::channels::{self, Declaration};
use crate::clock;
use crate::config::{Anonymous, Settings};
use crate::http::{Admin, DevTokens, Facts, pages};
use crate::limits::Limits;
use crate::presence::Fetch;
use crate::pubsub::{self, Calls, Mailbox, PubSub, WORKERS_MAX};
use crate::socket::{self, Surroundings};
use crate::store::{self, PlayerCache, Store, Writer};
use crate::transport::Mount;
use crate::transport::longpoll::TokenKey;
use crate::worker::{self, Admission, Node, Pages, Served, Worker};

/// What a node is built from.
pub(super) struct Blueprint {
    pub(super) settings: Settings,
    /// Served before the declared socket, in order.
    pub(super) mounts: Vec<Mount>,
    /// Whether the channels of the settings and the demo page are served.
    pub(super) declared: bool,
    pub(super) fetch: Option<Fetch>,
}

/// The broker of a node, and whether it is the only node.
struct Link {
    broker: Arc<dyn Broker>,
    redis: Option<RunningBroker>,
    hub: LateHub,
}

/// Starts a node; it listens when this returns.
pub(super) async fn start(blueprint: Blueprint) -> Result<Running, Failure> {
    let settings = &blueprint.settings;
    let told = Told::listen()?;
    let started_at = clock::unix_us();
    let metrics = |error| Failure::new("metrics", error);
    let registry = crate::metrics::registry().map_err(metrics)?;
    let workers = worker_count(settings.workers);
    let descriptors = Descriptors::raise();
    let limits = Arc::new(bounded(&settings.limits, descriptors));
    // Ports are taken first: a port of another process is the commonest mistake, and the quickest to tell.
    let listeners = sockets::client_listeners(settings.listen, workers)?;
    let admin_listener = sockets::admin_listener(settings.admin_listen)?;
    let driver = Driver::new(&registry, blueprint.fetch.clone())?;
    let presence = driver.presence.clone();
    let players = Arc::new(PlayerCache::register(&registry).map_err(metrics)?);
    let hub = LateHub::default();
    let calls = Arc::new(Calls::new(random("incarnation")?));
    let inbox = inbox(
        hub.clone(),
        Taken {
            presence: presence.clone(),
            players: players.clone(),
            calls: calls.clone(),
        },
    );
    let link = connect(settings, &registry, hub, inbox, &calls).await?;
    let store = open_store(settings).await?;
    let hub = make_hub(workers, &link, &limits, &registry)?;
    let writer = start_writer(&store, &hub, settings, &limits, &registry)?;
    let verifier = verifier(settings).await?;
    let ports = make_ports(settings, &limits, &store, &players, &hub, &verifier);
    let shared = SharedPorts::new(Arc::new(ports));
    tokio::spawn(driver.run(hub.clone()));
    tokio::spawn(hub.clone().run_subscriptions());
    tokio::spawn(hub.clone().run_repairs(Arc::new(shared.clone())));
    let node = Arc::new(Node {
        pubsub: hub,
        presence,
        writer: Arc::new(writer),
        served: served(&blueprint, &limits, &shared, &registry)?,
        admission: Arc::new(Admission::new(&limits, &settings.transport)),
        calls,
        sessions: session_key(&settings.auth)?,
        metrics: worker::Metrics::register(&registry).map_err(metrics)?,
        pages: own_pages(&blueprint, verifier),
        beats: (0..workers).map(|_| AtomicI64::new(started_at)).collect(),
    });
    gauges::register(&registry, &node, (&limits, &settings.store)).map_err(metrics)?;
    let facts = facts(settings, &listeners, &admin_listener, started_at)?;
    let running = Running {
        node: node.clone(),
        redis: link.redis,
        workers: start_workers(&node, listeners)?,
        told,
        drain: settings.drain.clone(),
        facts: facts.clone(),
        supervisor: Supervisor::default(),
    };
    descriptors.log(limits.connections);
    tracing::info!(clients = %facts.clients, admin = %facts.admin, node = %facts.node, workers, "listening");
    let admin = Admin {
        node,
        store,
        players,
        registry,
        facts,
    };
    serve_admin(Arc::new(admin), admin_listener)?;
    Ok(running)
}

/// The demo page, where guests or development tokens are allowed.
fn own_pages(blueprint: &Blueprint, verifier: Arc<Verifier>) -> Pages {
    let Blueprint {
        settings, declared, ..
    } = blueprint;
    let demo = settings.anonymous == Anonymous::Allow || settings.development;
    let tokens = *declared && settings.development;
    pages(*declared && demo, tokens.then_some(DevTokens(verifier)))
}

/// Makes the verifier, fetches its keys where they are at a URL, and keeps them fresh.
///
/// The node starts without that URL: its clients with other tokens, and guests, are served meanwhile.
async fn verifier(settings: &Settings) -> Result<Arc<Verifier>, Failure> {
    let verifier = Verifier::new(&settings.auth).map_err(|error| Failure::new("tokens", error))?;
    let verifier = Arc::new(verifier);
    if settings.auth.has_public_keys() {
        if verifier.refresh().await.is_err() {
            tracing::warn!("tokens of that issuer are refused until its keys are read");
        }
        let kept = verifier.clone();
        tokio::spawn(async move { kept.run().await });
    }
    Ok(verifier)
}

fn worker_count(wanted: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = if wanted == 0 { cores } else { wanted };
    count.min(WORKERS_MAX)
}

/// Derives the number of connections from the file descriptors, unless it is given.
fn bounded(limits: &Limits, descriptors: Descriptors) -> Limits {
    let connections = match limits.connections {
        0 => descriptors.connections(),
        given => given,
    };
    Limits {
        connections,
        ..limits.clone()
    }
}

async fn connect(
    settings: &Settings,
    registry: &prometheus::Registry,
    hub: LateHub,
    inbox: Inbox,
    calls: &Calls,
) -> Result<Link, Failure> {
    let metrics =
        broker::Metrics::register(registry).map_err(|error| Failure::new("metrics", error))?;
    if settings.broker.url.is_none() {
        return Ok(Link {
            broker: Arc::new(LocalBroker::new(&metrics)),
            redis: None,
            hub,
        });
    }
    let connected = RedisBroker::connect(&settings.broker, inbox, metrics).await;
    let (redis, run) = connected.map_err(|error| Failure(error.to_string()))?;
    let run = tokio::spawn(run);
    let subscribed = redis.subscribe(&calls.topic()).await;
    subscribed.map_err(|error| Failure::new("the topic of the node", error))?;
    Ok(Link {
        broker: redis.clone(),
        redis: Some(RunningBroker { broker: redis, run }),
        hub,
    })
}

/// Makes a random number.
fn random(what: &str) -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::new(&format!("no random {what}"), error))
}

/// Makes the key of long-poll sessions; without a secret they end with this process.
fn session_key(auth: &crate::auth::Config) -> Result<TokenKey, Failure> {
    let given = auth.secret_key_base.as_ref().or(auth.jwt_secret.as_ref());
    let secret = given.cloned().or_else(crate::auth::random_secret);
    let secret = secret.ok_or_else(|| Failure(String::from("no random secret")))?;
    Ok(TokenKey::new(&secret))
}

fn make_hub(
    workers: usize,
    link: &Link,
    limits: &Limits,
    registry: &prometheus::Registry,
) -> Result<Arc<PubSub>, Failure> {
    let mailbox = || Arc::new(Mailbox::new(limits.mailbox_entries, limits.mailbox_bytes));
    let metrics =
        pubsub::Metrics::register(registry).map_err(|error| Failure::new("metrics", error))?;
    let hub = Arc::new(PubSub::new(
        (0..workers).map(|_| mailbox()).collect(),
        link.broker.clone(),
        link.redis.is_none(),
        limits,
        metrics,
    ));
    // The slot is this function's alone to fill.
    let _ = link.hub.set(hub.clone());
    Ok(hub)
}

/// Starts the writer's lanes, and the sweep of what they store.
fn start_writer(
    store: &Arc<dyn Store>,
    hub: &Arc<PubSub>,
    settings: &Settings,
    limits: &Limits,
    registry: &prometheus::Registry,
) -> Result<Writer, Failure> {
    let metrics =
        store::Metrics::register(registry).map_err(|error| Failure::new("metrics", error))?;
    let (writer, lanes) = Writer::new(store.clone(), &settings.store, limits.lane_records, metrics);
    for lane in lanes {
        let seen = Arc::new(Delivered(hub.clone()));
        tokio::spawn(lane.above(seen).run());
    }
    start_sweeper(store, settings, registry)?;
    Ok(writer)
}

/// Sweeps what the declared channels do not keep.
fn start_sweeper(
    store: &Arc<dyn Store>,
    settings: &Settings,
    registry: &prometheus::Registry,
) -> Result<(), Failure> {
    let metrics =
        store::SweepMetrics::register(registry).map_err(|error| Failure::new("metrics", error))?;
    let rule = |declared: &Declaration| {
        Some(store::Rule {
            topics: Pattern::parse(&declared.topic).ok()?,
            keep_for: declared.keep_for,
            keep_records: declared.keep_records,
        })
    };
    let retention = store::Retention {
        rules: settings.channels.iter().filter_map(rule).collect(),
        grace: settings.store.sweep_grace,
    };
    let sweeper = store::Sweeper::new(store.clone(), &settings.store, retention, metrics);
    if let Some(sweeper) = sweeper {
        tokio::spawn(sweeper.run());
    }
    Ok(())
}

fn make_ports(
    settings: &Settings,
    limits: &Limits,
    store: &Arc<dyn Store>,
    players: &Arc<PlayerCache>,
    hub: &Arc<PubSub>,
    verifier: &Arc<Verifier>,
) -> StorePorts {
    let persist = |declaration: &Declaration| {
        let pattern = Pattern::parse(&declaration.topic).ok()?;
        Some((pattern, declaration.persist))
    };
    StorePorts {
        store: store.clone(),
        players: players.clone(),
        pubsub: hub.clone(),
        verifier: verifier.clone(),
        auto_create_players: settings.players.auto_create,
        persist: settings.channels.iter().filter_map(persist).collect(),
        resume_max: limits.resume_max,
        history_bytes: limits.outbox_bytes / 2,
        looks: super::history::FirstLooks::default(),
    }
}

/// Gives every mount what its sockets need: the embedder's first, then the declared one.
fn served(
    blueprint: &Blueprint,
    limits: &Arc<Limits>,
    ports: &SharedPorts,
    registry: &prometheus::Registry,
) -> Result<Vec<Arc<Served>>, Failure> {
    let metrics =
        socket::Metrics::register(registry).map_err(|error| Failure::new("metrics", error))?;
    let mut mounts = blueprint.mounts.clone();
    if blueprint.declared {
        mounts.push(declared(&blueprint.settings, limits, ports)?);
    }
    let kinds = mounts.iter().flat_map(|mount| mount.router.kinds());
    kinds.for_each(|kind| metrics.start_at_zero(kind));
    let waited = metrics
        .limit_reached
        .with_label_values(&["joins_in_flight"]);
    let joins = Arc::new(Gate::new(
        limits.joins_in_flight,
        metrics.joins_in_flight.clone(),
        waited,
    ));
    let serve = |mount: Mount| {
        let around = Arc::new(Surroundings {
            router: mount.router.clone(),
            ports: Arc::new(ports.clone()),
            limits: mount.limits.clone(),
            metrics: metrics.clone(),
            joins: joins.clone(),
        });
        Arc::new(Served { mount, around })
    };
    Ok(mounts.into_iter().map(serve).collect())
}

/// The mount of the channels that the settings declare.
fn declared(
    settings: &Settings,
    limits: &Arc<Limits>,
    ports: &SharedPorts,
) -> Result<Mount, Failure> {
    let defaults = channels::Defaults {
        anonymous_allowed: settings.anonymous == Anonymous::Allow,
        auto_create: settings.development,
    };
    let router = channels::router(&settings.channels, &defaults);
    let router = Arc::new(router.map_err(|error| Failure::new("channels", error))?);
    let door = Door {
        ports: ports.clone(),
        anonymous: settings.anonymous,
    };
    let mut mount = Mount::new("/socket", router, Arc::new(door), limits.clone());
    mount.origins = settings.transport.origins.clone();
    // The declared channels look at neither; what a socket keeps, it keeps for life.
    mount.keep_request = false;
    mount.auth_token = true;
    mount.longpoll = mount.longpoll.filter(|_| settings.transport.longpoll);
    mount.longpoll_window = settings.transport.longpoll_window;
    mount.owner_timeout = settings.transport.longpoll_owner_timeout;
    Ok(mount)
}

fn facts(
    settings: &Settings,
    listeners: &[std::net::TcpListener],
    admin: &std::net::TcpListener,
    started_at: clock::UnixMicros,
) -> Result<Facts, Failure> {
    let address = |listener: Option<&std::net::TcpListener>| -> Result<SocketAddr, Failure> {
        let listener = listener.ok_or_else(|| Failure(String::from("there is no worker")))?;
        listener
            .local_addr()
            .map_err(|error| Failure::new("a listener", error))
    };
    Ok(Facts {
        node: settings.node_name.clone(),
        clients: address(listeners.first())?,
        admin: address(Some(admin))?,
        broker: if settings.broker.url.is_some() {
            "redis"
        } else {
            "local"
        },
        started_at,
    })
}

fn start_workers(
    node: &Arc<Node>,
    listeners: Vec<std::net::TcpListener>,
) -> Result<Vec<super::departure::WorkerThread>, Failure> {
    let spawn = |(index, listener)| {
        let (stop, stopped) = oneshot::channel();
        let node = node.clone();
        let thread = std::thread::Builder::new()
            .name(format!("fanfare-worker-{index}"))
            .spawn(move || {
                if let Err(error) = Worker::run(index, node, listener, stopped) {
                    tracing::error!(%error, index, "a worker ended");
                }
            })
            .map_err(|error| Failure::new("a worker cannot start", error))?;
        Ok(super::departure::WorkerThread { stop, thread })
    };
    listeners.into_iter().enumerate().map(spawn).collect()
}

fn serve_admin(admin: Arc<Admin>, listener: std::net::TcpListener) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|error| Failure::new("the operators' listener", error))?;
    tokio::spawn(async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let admin = admin.clone();
            let service = service_fn(move |request| {
                let admin = admin.clone();
                async move { Ok::<_, std::convert::Infallible>(admin.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::trace!(%error, "admin connection ended");
                }
            });
        }
    });
    Ok(())
}
