//! A node of two workers that serves the fixture channels, for transcripts on real transports.
//!
//! It runs in the test's own process; its clients are as far away as any.

use std::sync::Arc;
use std::time::Duration;

use fanfare::config::Settings;
use fanfare::gateway::{Gateway, Started};
use fanfare::transport::{Mount, Open};

use super::fixture_channels;

/// How long a poll waits, and a post for a callback that a transcript holds up.
pub const WINDOW: Duration = Duration::from_millis(300);

/// Starts the node; it ends with what is returned.
pub fn start() -> Started {
    let mut settings = Settings {
        workers: 2,
        limits: fixture_channels::limits(),
        ..Settings::default()
    };
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.store.url = String::from("sqlite::memory:");
    settings.make_secret();
    let router = Arc::new(fixture_channels::router());
    let limits = Arc::new(settings.limits.clone());
    let mut mount = Mount::new("/socket", router, Arc::new(Open), limits);
    mount.longpoll_window = WINDOW;
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
