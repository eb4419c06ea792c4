//! The public keys of a node, and how they stay fresh: files and a URL, read again and again.
//!
//! Keys that were read stay until a newer set is there. It never verifies with a key of another scheme.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use rustls::ClientConfig;
use tokio::sync::{Notify, watch};

use super::config::Config;
use super::key_url::{KEY_SET_BYTES_MAX, KeyUrl};
use super::public_key::{PublicKey, Scheme};
use super::{TokenError, jwk, spki};
use crate::tls;

/// How often a file is looked at; it is read only when it changed.
const FILE_POLL: Duration = Duration::from_secs(5);

/// How soon a URL that failed is tried again, and the least time between fetches for unknown keys.
const URL_REST: Duration = Duration::from_secs(10);

/// The least time between reads of a file for unknown keys.
const FILE_REST: Duration = Duration::from_secs(1);

/// How long a token with an unknown key may wait for the keys to be read again.
const RENEWAL_WAIT: Duration = Duration::from_secs(2);

/// Where keys come from.
#[derive(Debug)]
enum Place {
    Pem(PathBuf),
    Jwks(PathBuf),
    Url {
        url: KeyUrl,
        tls: Arc<ClientConfig>,
        every: Duration,
    },
}

/// What tells that a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    file: (u64, u64),
    bytes: u64,
}

/// The public keys of a node.
pub struct Keyring(Vec<Source>);

/// One place and the keys that it had last.
struct Source {
    place: Place,
    keys: RwLock<Arc<[PublicKey]>>,
    stamp: Mutex<Option<Stamp>>,
    trouble: Mutex<Option<String>>,
    asked: Notify,
    /// Whether it was asked a moment ago, so that it may not be asked again yet.
    rests: AtomicBool,
    rounds: watch::Sender<()>,
}

impl Keyring {
    /// Takes the places that the settings name; no key is read yet.
    ///
    /// # Errors
    /// The setting and one line, when the file of the authority can't be used.
    pub fn new(config: &Config) -> Result<Self, (&'static str, String)> {
        let pem = config.public_key_file.clone().map(Place::Pem);
        let jwks = config.jwks_file.clone().map(Place::Jwks);
        let url = config.jwks_url.clone().map(|url| {
            let tls = tls::client(config.jwks_ca_file.as_deref());
            Ok(Place::Url {
                url,
                tls: tls.map_err(|why| ("auth.jwks_ca_file", why))?,
                every: config.jwks_refresh,
            })
        });
        let places = [pem, jwks, url.transpose()?];
        Ok(Self(
            places.into_iter().flatten().map(Source::new).collect(),
        ))
    }

    /// Says whether there is no place that keys could come from.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the files; the URL is left for [`Keyring::refresh`].
    ///
    /// # Errors
    /// The setting and one line, for the first file that can't be used.
    pub fn read_files(&self) -> Result<(), (&'static str, String)> {
        for source in &self.0 {
            let (setting, keys) = match &source.place {
                Place::Pem(path) => ("auth.public_key_file", source.read(path, spki::read)),
                Place::Jwks(path) => ("auth.jwks_file", source.read(path, jwk::read)),
                Place::Url { .. } => continue,
            };
            source.replace(keys.map_err(|why| (setting, why))?);
        }
        Ok(())
    }

    /// Reads every place now; the number of keys that are known then.
    ///
    /// # Errors
    /// One line for the first place that failed; the others were read, and its old keys stay.
    pub async fn refresh(&self) -> Result<usize, String> {
        let read = join_all(self.0.iter().map(|source| source.refresh(true))).await;
        read.into_iter().collect::<Result<(), String>>()?;
        Ok(self.0.iter().map(|source| source.keys.read().len()).sum())
    }

    /// Keeps the keys fresh: files when they change, the URL at its interval, both for unknown keys.
    pub async fn run(&self) {
        join_all(self.0.iter().map(Source::run)).await;
    }

    /// Asks for the keys to be read again and waits until they are, for at most 2 s.
    ///
    /// Returns at once when they were asked for a moment ago: 10 s for the URL, 1 s for a file.
    pub async fn renewed(&self) {
        let asked = self.0.iter().filter_map(Source::ask);
        let rounds: Vec<_> = asked.collect();
        let all = join_all(rounds.into_iter().map(|mut round| async move {
            // The sender lives as long as this keyring.
            let _ = round.changed().await;
        }));
        // What is late comes for the client's next attempt.
        let _ = tokio::time::timeout(RENEWAL_WAIT, all).await;
    }

    /// Verifies a signature with a key of that scheme: the one that `kid` names, else those without a name.
    ///
    /// Without a `kid` every key of the scheme is tried; a node has at most 96.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`] without any place, [`TokenError::UnknownKey`] when a set may have the
    /// key by now, [`TokenError::Forged`].
    pub fn verify(
        &self,
        scheme: Scheme,
        kid: Option<&str>,
        text: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenError> {
        if self.is_empty() {
            return Err(TokenError::Unsigned);
        }
        let sets: Vec<Arc<[PublicKey]>> = self
            .0
            .iter()
            .map(|source| source.keys.read().clone())
            .collect();
        let of_scheme = || {
            let all = sets.iter().flat_map(|set| set.iter());
            all.filter(|key| key.scheme() == scheme)
        };
        let named = kid.is_some_and(|kid| of_scheme().any(|key| key.kid() == Some(kid)));
        let mut tried = of_scheme().filter(|key| match (kid, named) {
            (None, _) => true,
            (Some(_), true) => key.kid() == kid,
            (Some(_), false) => key.kid().is_none(),
        });
        if tried.any(|key| key.verifies(text, signature)) {
            return Ok(());
        }
        let known = named || kid.is_none() && of_scheme().next().is_some();
        let grows = self.0.iter().any(|source| match source.place {
            Place::Pem(_) => false,
            Place::Jwks(_) | Place::Url { .. } => true,
        });
        match known || !grows {
            true => Err(TokenError::Forged),
            false => Err(TokenError::UnknownKey),
        }
    }
}

impl Source {
    fn new(place: Place) -> Self {
        Self {
            place,
            keys: RwLock::new(Arc::from([])),
            stamp: Mutex::new(None),
            trouble: Mutex::new(None),
            asked: Notify::new(),
            rests: AtomicBool::new(false),
            rounds: watch::channel(()).0,
        }
    }

    /// Asks for a read; nothing while it rests.
    fn ask(&self) -> Option<watch::Receiver<()>> {
        let round = self.rounds.subscribe();
        self.asked.notify_one();
        (!self.rests.load(Ordering::Acquire)).then_some(round)
    }

    async fn run(&self) {
        let (poll, rest) = match &self.place {
            Place::Pem(_) | Place::Jwks(_) => (FILE_POLL, FILE_REST),
            Place::Url { every, .. } => (*every, URL_REST),
        };
        loop {
            let pause = match self.trouble.lock().is_some() {
                true => poll.min(URL_REST),
                false => poll,
            };
            let asked = tokio::time::timeout(pause, self.asked.notified()).await;
            // What failed is in the log, and will be tried again.
            let _ = self.refresh(asked.is_ok()).await;
            self.rests.store(asked.is_ok(), Ordering::Release);
            self.rounds.send_replace(());
            if asked.is_ok() {
                tokio::time::sleep(rest).await;
                self.rests.store(false, Ordering::Release);
            }
        }
    }

    /// Reads the place, a file only when it changed or is `asked` for.
    async fn refresh(&self, asked: bool) -> Result<(), String> {
        let read = match &self.place {
            Place::Pem(path) | Place::Jwks(path) if !asked && self.is_unchanged(path) => {
                return Ok(());
            }
            Place::Pem(path) => self.read(path, spki::read),
            Place::Jwks(path) => self.read(path, jwk::read),
            Place::Url { url, tls, .. } => {
                let fetched = url.fetch(tls).await;
                let read = fetched.and_then(|json| jwk::read(&json));
                read.map_err(|why| format!("{url} {why}"))
            }
        };
        match read {
            Ok(keys) => {
                self.replace(keys);
                Ok(())
            }
            Err(why) => {
                let mut trouble = self.trouble.lock();
                if trouble.as_ref() != Some(&why) {
                    tracing::warn!(%why, "keys cannot be read, the old ones stay");
                }
                *trouble = Some(why.clone());
                Err(why)
            }
        }
    }

    fn replace(&self, keys: Vec<PublicKey>) {
        let healed = self.trouble.lock().take().is_some();
        let mut known = self.keys.write();
        if healed || known[..] != keys[..] {
            let (place, count) = (self.name(), keys.len());
            tracing::info!(%place, keys = count, "keys are read");
            *known = keys.into();
        }
    }

    fn name(&self) -> String {
        match &self.place {
            Place::Pem(path) | Place::Jwks(path) => path.display().to_string(),
            Place::Url { url, .. } => url.to_string(),
        }
    }

    fn is_unchanged(&self, path: &Path) -> bool {
        let last = *self.stamp.lock();
        last.is_some() && stamp(path).ok() == last
    }

    /// Reads a small file. The stamp is taken first, so that a change meanwhile is seen at the next look.
    fn read(
        &self,
        path: &Path,
        parse: fn(&[u8]) -> Result<Vec<PublicKey>, String>,
    ) -> Result<Vec<PublicKey>, String> {
        let shown = path.display();
        let stamped = stamp(path).map_err(|error| format!("{shown}: {error}"))?;
        let keys = bounded(path)
            .map_err(|error| format!("{shown}: {error}"))
            .and_then(|text| parse(&text).map_err(|why| format!("{shown} {why}")));
        *self.stamp.lock() = keys.is_ok().then_some(stamped);
        keys
    }
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let about = std::fs::metadata(path)?;
    Ok(Stamp {
        modified: (about.mtime(), about.mtime_nsec()),
        file: (about.dev(), about.ino()),
        bytes: about.len(),
    })
}

fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path)?;
    let read = file
        .take(KEY_SET_BYTES_MAX as u64 + 1)
        .read_to_end(&mut text)?;
    match read > KEY_SET_BYTES_MAX {
        true => Err(std::io::Error::other("is larger than 256 KiB")),
        false => Ok(text),
    }
}
