//! The players that were loaded lately, so that a crowd that reconnects does not ask the store one by one.
//!
//! It loads nothing itself, and never keeps a copy that is older than a change it was told of.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry};

use crate::channel::Player;

/// The most players that are remembered; then the half that came first is forgotten.
pub const PLAYERS_MAX: usize = 10_000;

/// How long a copy is good without being told of a change, such as one by SQL past the nodes.
pub const PLAYER_TTL: Duration = Duration::from_secs(30);

/// A bounded memory of players by id.
pub struct PlayerCache {
    inner: Mutex<Inner>,
    loaded: IntCounterVec,
}

#[derive(Default)]
struct Inner {
    young: HashMap<String, Kept>,
    old: HashMap<String, Kept>,
    /// How many changes there were.
    changes: u64,
    /// The changes there were when something was last forgotten.
    forgotten_at: u64,
}

struct Kept {
    player: Player,
    until: Instant,
    /// Which change brought it; 0 for one that was loaded.
    change: u64,
}

/// When a load began: what it finds is void when the player was changed meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct LoadStart(u64);

impl PlayerCache {
    /// Registers `fanfare_players_loaded_total{from}`: `cache` or `store`.
    ///
    /// # Errors
    /// When a family of that name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(
            "fanfare_players_loaded_total",
            "Players that tokens named, by where they were found",
        );
        let loaded = IntCounterVec::new(opts, &["from"])?;
        registry.register(Box::new(loaded.clone()))?;
        for from in ["cache", "store"] {
            loaded.with_label_values(&[from]);
        }
        Ok(Self {
            inner: Mutex::default(),
            loaded,
        })
    }

    /// Returns a player that is remembered, and counts it as found here.
    pub fn find(&self, id: &str, now: Instant) -> Option<Player> {
        let found = self.newest(id, now);
        if found.is_some() {
            self.loaded.with_label_values(&["cache"]).inc();
        }
        found
    }

    /// Returns a player that is remembered.
    pub fn newest(&self, id: &str, now: Instant) -> Option<Player> {
        let mut inner = self.inner.lock();
        if let Some(kept) = inner.old.remove(id) {
            inner.keep(kept);
        }
        let kept = inner.young.get(id)?;
        (kept.until > now).then(|| kept.player.clone())
    }

    /// Is called before a player is read from the store.
    pub fn load_starts(&self) -> LoadStart {
        self.loaded.with_label_values(&["store"]).inc();
        LoadStart(self.inner.lock().changes)
    }

    /// Takes what a load found; returns the newer copy when the player was changed meanwhile.
    pub fn loaded(&self, player: Player, start: LoadStart, now: Instant) -> Player {
        let mut inner = self.inner.lock();
        let known = inner.young.get(&player.id);
        let known = known.or_else(|| inner.old.get(&player.id));
        if let Some(newer) = known.filter(|kept| kept.change > start.0) {
            return newer.player.clone();
        }
        if inner.forgotten_at <= start.0 {
            inner.keep(Kept {
                player: player.clone(),
                until: now + PLAYER_TTL,
                change: 0,
            });
        }
        player
    }

    /// Takes a player's fresh row, after it was changed on any node.
    pub fn changed(&self, player: &Player, now: Instant) {
        let mut inner = self.inner.lock();
        inner.changes += 1;
        let kept = Kept {
            player: player.clone(),
            until: now + PLAYER_TTL,
            change: inner.changes,
        };
        inner.old.remove(&player.id);
        inner.keep(kept);
    }

    /// Forgets everybody: changes on other nodes may have been missed.
    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.changes += 1;
        inner.forgotten_at = inner.changes;
        inner.young.clear();
        inner.old.clear();
    }
}

impl Inner {
    fn keep(&mut self, kept: Kept) {
        if self.young.len() >= PLAYERS_MAX / 2 && !self.young.contains_key(&kept.player.id) {
            self.forgotten_at = self.changes;
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(kept.player.id.clone(), kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(id: &str, rating: i64) -> Player {
        Player {
            id: id.to_owned(),
            username: id.to_owned(),
            rating,
        }
    }

    fn cache() -> (PlayerCache, Instant) {
        let cache = PlayerCache::register(&Registry::new()).unwrap();
        (cache, crate::clock::now())
    }

    fn rating(cache: &PlayerCache, id: &str, now: Instant) -> Option<i64> {
        cache.newest(id, now).map(|player| player.rating)
    }

    #[test]
    fn a_player_is_remembered_for_a_while() {
        let (cache, now) = cache();
        assert_eq!(rating(&cache, "a", now), None);
        let start = cache.load_starts();
        cache.loaded(player("a", 1), start, now);
        assert_eq!(rating(&cache, "a", now + PLAYER_TTL / 2), Some(1));
        assert_eq!(rating(&cache, "a", now + PLAYER_TTL), None);
    }

    #[test]
    fn a_change_during_a_load_wins() {
        let (cache, now) = cache();
        let start = cache.load_starts();
        cache.changed(&player("a", 2), now);
        assert_eq!(cache.loaded(player("a", 1), start, now).rating, 2);
        assert_eq!(rating(&cache, "a", now), Some(2));
        let start = cache.load_starts();
        assert_eq!(cache.loaded(player("a", 3), start, now).rating, 3);
        assert_eq!(rating(&cache, "a", now), Some(3));
    }

    #[test]
    fn what_was_read_before_a_clear_is_not_kept() {
        let (cache, now) = cache();
        let start = cache.load_starts();
        cache.clear();
        assert_eq!(cache.loaded(player("a", 1), start, now).rating, 1);
        assert_eq!(rating(&cache, "a", now), None);
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_whom_it_is_asked_for() {
        let (cache, now) = cache();
        let regular = cache.load_starts();
        cache.loaded(player("regular", 1), regular, now);
        for number in 0..3 * PLAYERS_MAX {
            let start = cache.load_starts();
            cache.loaded(player(&number.to_string(), 1), start, now);
            if number % 100 == 0 {
                assert_eq!(rating(&cache, "regular", now), Some(1), "{number}");
            }
        }
        let inner = cache.inner.lock();
        assert!(inner.young.len() + inner.old.len() <= PLAYERS_MAX);
    }

    #[test]
    fn a_change_that_was_forgotten_still_voids_an_old_load() {
        let (cache, now) = cache();
        let start = cache.load_starts();
        cache.changed(&player("a", 2), now);
        for number in 0..PLAYERS_MAX {
            let start = cache.load_starts();
            cache.loaded(player(&number.to_string(), 1), start, now);
        }
        cache.loaded(player("a", 1), start, now);
        assert_eq!(rating(&cache, "a", now), None);
    }
}
