//! A node of two workers that serves the fixture channels, for transcripts on real transports.
//!
//! It runs in the test's own process; its clients are as far away as any.

#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use fanfare::channel::Router;
use fanfare::config::Settings;
use fanfare::gateway::{Gateway, Started};
use fanfare::transport::{Mount, Open};

use super::fixture_channels;

/// How long a poll waits, and a post for a callback that a transcript holds up.
pub const WINDOW: Duration = Duration::from_millis(300);

/// Starts the node with the fixture channels; it ends with what is returned.
pub fn start() -> Started {
    serve(fixture_channels::router(), WINDOW)
}

/// Starts a node with these channels and this window of its polls.
pub fn serve(router: Router, window: Duration) -> Started {
    let mut settings = Settings {
        workers: 2,
        limits: fixture_channels::limits(),
        ..Settings::default()
    };
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.store.url = String::from("sqlite::memory:");
    settings.make_secret();
    let limits = Arc::new(settings.limits.clone());
    let mut mount = Mount::new("/socket", Arc::new(router), Arc::new(Open), limits);
    mount.longpoll_window = window;
    let started = Gateway::new(settings).mount(mount).start();
    started.unwrap_or_else(|why| panic!("the node does not start: {why}"))
}

/// A heartbeat that no transcript sends, and its answer, for a `vsn`.
pub fn heartbeat(vsn: &str, number: u32) -> (String, String) {
    let reference = format!("left-over-{number}");
    let ok = r#"{"status":"ok","response":{}}"#;
    match vsn.starts_with('1') {
        true => (
            format!(
                r#"{{"topic":"phoenix","event":"heartbeat","payload":{{}},"ref":"{reference}"}}"#
            ),
            format!(
                r#"{{"topic":"phoenix","event":"phx_reply","payload":{ok},"ref":"{reference}"}}"#
            ),
        ),
        false => (
            format!(r#"[null,"{reference}","phoenix","heartbeat",{{}}]"#),
            format!(r#"[null,"{reference}","phoenix","phx_reply",{ok}]"#),
        ),
    }
}
