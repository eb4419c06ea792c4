//! People who come and go at random while a node dies and Redis restarts: in the end all lists are one.
//!
//! Its dice have a fixed seed, which is printed; what the machine does in between has none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::roster::{ROOM, Watcher, member, node};
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::redis::Redis;

const SEED: u64 = 20_240_229;
/// Sockets; two of them, two tabs, are one player.
const TABS: usize = 16;
/// Comings and goings in each part of the story.
const STEPS: usize = 60;
/// The lease of a dead node, what it takes to notice, and to meet again after Redis was away.
const AGREE: Duration = Duration::from_secs(20);

/// Pseudo-random numbers (a linear congruence, its upper bits).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Everybody who may be in the room, and on which node they are.
struct People {
    dice: Dice,
    tabs: [Option<(usize, Socket)>; TABS],
}

impl People {
    /// Lets people come to these nodes, and go: by a leave, or by a connection that ends.
    fn stir(&mut self, nodes: &[Node]) {
        for _ in 0..STEPS {
            let tab = self.dice.below(TABS);
            let at = self.dice.below(nodes.len());
            match self.tabs[tab].take() {
                None => {
                    let player = (tab / 2).to_string();
                    self.tabs[tab] = Some((at, member(&nodes[at], &player)));
                }
                Some((_, mut socket)) => {
                    if self.dice.below(2) == 0 {
                        let (status, _) = socket.call(ROOM, "phx_leave", &json!({}));
                        assert_eq!(status, "ok");
                    }
                }
            }
        }
    }

    /// Takes away who was on a node that is no more; how many.
    fn lose(&mut self, node: usize) -> usize {
        let mut lost = 0;
        for tab in &mut self.tabs {
            if tab.as_ref().is_some_and(|(at, _)| *at == node) {
                *tab = None;
                lost += 1;
            }
        }
        lost
    }

    /// How often each player is there.
    fn here(&self) -> BTreeMap<String, usize> {
        let mut here = BTreeMap::new();
        for (tab, _) in (0..).zip(&self.tabs).filter(|(_, tab)| tab.is_some()) {
            let tab: usize = tab;
            *here.entry((tab / 2).to_string()).or_insert(0) += 1;
        }
        here
    }
}

#[test]
fn whoever_comes_and_goes_meanwhile_all_lists_are_one_in_the_end() {
    println!("seed {SEED}");
    let mut redis = Redis::start();
    let mut nodes = [(); 3].map(|()| node(&redis));
    let watcher = |at| Watcher::new(&nodes[at], &format!("{}", 900 + at)).forgiving();
    let mut watchers = [watcher(0), watcher(1)];
    let mut people = People {
        dice: Dice(SEED),
        tabs: [const { None }; TABS],
    };
    people.stir(&nodes);
    nodes[2].kill();
    assert!(people.lose(2) > 0, "nobody was on the killed node");
    let survivors = &nodes[..2];
    people.stir(survivors);
    redis.kill();
    survivors[0].await_log("the broker is not connected", Duration::from_secs(10));
    people.stir(survivors);
    redis.restart();
    people.stir(survivors);
    let mut expected = people.here();
    assert!(expected.len() > 2, "hardly anybody is left: {expected:?}");
    expected.extend([900, 901].map(|watcher| (watcher.to_string(), 1)));
    for watcher in &mut watchers {
        println!("agreed after {:?}", watcher.until_counted(&expected, AGREE));
    }
    let [first, second] = &watchers;
    assert_eq!(first.refs(), second.refs());
    for (at, node) in survivors.iter().enumerate() {
        let late = Watcher::new(node, &format!("{}", 910 + at));
        let mut told = late.refs().clone();
        told.retain(|player, _| expected.contains_key(player));
        assert_eq!(&told, first.refs(), "what node {at} tells who joins now");
    }
}
