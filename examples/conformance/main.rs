//! A gateway of one's own, written with the public library alone: many mounts, a connect hook, channels,
//! presence with a fetch hook, broadcasts and disconnects by the server.
//!
//! It offers what a black-box runner of the Phoenix Channels protocol needs, and is started with the
//! settings of `fanfare` (`FANFARE_LISTEN`, `FANFARE_REDIS_URL`, …):
//!
//! ```text
//! FANFARE_LISTEN=127.0.0.1:4000 cargo run --example conformance
//! ```
//!
//! The message rate limit is off, since the runner sends as fast as it can, and as many connections a
//! second as it likes are let in. Everything else is as a node has it.

mod control;
mod door;
mod presence;
mod rooms;
mod wire;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fanfare::channel::{PatternError, Router};
use fanfare::config::{Flags, Settings};
use fanfare::gateway::Gateway;
use fanfare::limits::Limits;
use fanfare::transport::{Mount, OriginPolicy, PathPattern};

use door::Door;

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter("info")
        .init();
    let mut settings = Settings::load(&Flags::default())?;
    settings.make_secret();
    if settings.store.url == Settings::default().store.url {
        // Nothing is recorded, so nothing needs to stay.
        settings.store.url = String::from("sqlite::memory:");
    }
    settings.limits.messages_per_second = 0;
    settings.limits.connects_per_second = 100_000;
    let mounts = Mounts {
        router: Arc::new(routes()?),
        door: Arc::new(Door),
        limits: settings.limits.clone(),
    };
    let mut gateway = Gateway::new(settings).presence_fetch(Arc::new(presence::fetch));
    for mount in mounts.all()? {
        gateway = gateway.mount(mount);
    }
    Ok(gateway.start()?.until_told()?)
}

/// The routes of every mount, in order: the first that matches serves a topic.
fn routes() -> Result<Router, PatternError> {
    Router::new()
        .channel("room:*", "room", || rooms::Room)?
        .channel("custom:*", "custom", || rooms::Custom)?
        .channel("slow:*", "slow", || rooms::Slow)?
        .channel("pres:*", "presence", presence::Members::default)?
        .channel("wire:*", "wire", || wire::Wire)?
        .channel("topic", "wire", || wire::Wire)?
        .channel("top", "wire", || wire::Wire)?
        .channel("relay:*", "relay", || wire::Relay)?
        .channel("food*", "food", || rooms::Named("food"))?
        .channel("foo*", "foo", || rooms::Named("foo"))?
        .channel("control:*", "control", || control::Control)
}

/// What the mounts have in common.
struct Mounts {
    router: Arc<Router>,
    door: Arc<Door>,
    limits: Limits,
}

impl Mounts {
    fn all(&self) -> Result<Vec<Mount>, Box<dyn Error>> {
        Ok(vec![
            self.origins("/socket", "//example.com")?,
            self.origins("/socket2", "//other.example")?,
            self.short(),
            self.limited(),
            self.small(),
            self.speaking("/sub", &["sip"]),
            self.speaking("/sub2", &["sip", "mqtt"]),
            self.with_token(),
            self.origins("/origins", "//example.com,http://scheme.com,//port.com:81")?,
            self.origins("/wild", "https://*.ex.com,http://*.ex.com")?,
            self.origins("/wild2", "http://*.foo.example.com")?,
            self.origins("/host", "host:example.com")?,
            self.origins("/conn", "connection")?,
            self.mount("/any"),
            self.mount("/ws/admin"),
            self.custom(),
        ])
    }

    /// The default of the runner's mounts.
    fn mount(&self, path: &str) -> Mount {
        let mut mount = Mount::new(
            path,
            self.router.clone(),
            self.door.clone(),
            Arc::new(self.limits.clone()),
        );
        mount.origins = OriginPolicy::Off;
        mount.longpoll_window = Duration::from_secs(1);
        mount.owner_timeout = Duration::from_millis(500);
        mount
    }

    fn origins(&self, path: &str, policy: &str) -> Result<Mount, Box<dyn Error>> {
        let mut mount = self.mount(path);
        mount.origins = OriginPolicy::parse(policy)?;
        Ok(mount)
    }

    fn short(&self) -> Mount {
        let mut mount = self.mount("/short");
        mount.idle = Duration::from_millis(200);
        mount.longpoll_window = Duration::from_millis(200);
        mount.owner_timeout = Duration::from_millis(200);
        mount
    }

    fn limited(&self) -> Mount {
        let mut mount = self.mount("/lim");
        mount.limits = Arc::new(Limits {
            channels_per_socket: 1,
            ..self.limits.clone()
        });
        mount
    }

    fn small(&self) -> Mount {
        let mut mount = self.mount("/small");
        mount.longpoll = None;
        mount.limits = Arc::new(Limits {
            frame_bytes: 4_096,
            message_bytes: 65_536,
            ..self.limits.clone()
        });
        mount
    }

    fn speaking(&self, path: &str, subprotocols: &[&str]) -> Mount {
        let mut mount = self.mount(path);
        mount.subprotocols = subprotocols.iter().map(|name| (*name).to_owned()).collect();
        mount
    }

    fn with_token(&self) -> Mount {
        let mut mount = self.mount("/auth");
        mount.auth_token = true;
        mount
    }

    fn custom(&self) -> Mount {
        let mut mount = self.mount("/custom");
        mount.websocket = PathPattern::new("/custom/:socket_var/:path_var/path");
        mount.longpoll = None;
        mount
    }
}
