//! Nodes that come, go and die, and a Redis that restarts: everybody agrees again, and nobody is a ghost.
//!
//! How long each agreement took is printed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::roster::{Watcher, keys, member, members, node};
use crate::support::redis::Redis;

/// Nodes that can talk agree within this.
const AGREE: Duration = Duration::from_secs(2);
/// A node that was killed is forgotten within this: the lease of 10 s, and what it takes to notice.
const DEAD: Duration = Duration::from_secs(15);

fn agree(what: &str, watchers: &mut [Watcher], expected: &BTreeSet<String>, limit: Duration) {
    for watcher in watchers {
        let took = watcher.until(expected, limit);
        println!("{what}: {took:?}");
    }
}

#[test]
fn three_nodes_agree_within_two_seconds_and_members_leave_once() {
    let redis = Redis::start();
    let mut nodes = [(); 3].map(|()| node(&redis));
    let mut watchers: Vec<Watcher> = (0..3)
        .map(|at| Watcher::new(&nodes[at], &format!("{}", 900 + at)))
        .collect();
    let crowds: Vec<_> = (0..3u32)
        .map(|at| members(&nodes[at as usize], at * 10..at * 10 + 5))
        .collect();
    let all =
        |hosts: &[u32]| keys((900..903).chain(hosts.iter().flat_map(|at| at * 10..at * 10 + 5)));
    agree("three nodes", &mut watchers, &all(&[0, 1, 2]), AGREE);
    // Whoever comes now is told of everybody at once.
    let mut late = Watcher::new(&nodes[0], "0");
    assert_eq!(late.here(), all(&[0, 1, 2]));
    // Only its own listing has shown it so far; the others hear of its leave only after its join.
    late.listen(Duration::from_millis(300));
    drop(late);
    for watcher in &mut watchers {
        watcher.listen(Duration::from_millis(300));
        watcher.forget();
    }
    // A node that is told to go takes its members along, one by one and each once.
    let gone = watchers.pop().expect("the third");
    assert_eq!(nodes[2].end("TERM", DEAD), Some(0), "{}", nodes[2].log());
    drop((gone, crowds));
    let left = keys([900, 901]);
    agree("after SIGTERM and the crowds", &mut watchers, &left, AGREE);
    for watcher in &mut watchers {
        // Goodbyes, heartbeats and leases that are still under way must change nothing.
        watcher.listen(Duration::from_secs(3));
        let names: Vec<&String> = watcher.left.iter().map(|(key, _)| key).collect();
        let once: BTreeSet<&String> = names.iter().copied().collect();
        assert_eq!((names.len(), once.len()), (16, 16), "{names:?}");
        assert_eq!(watcher.joined, [], "somebody came back who never did");
    }
}

#[test]
fn a_killed_nodes_members_leave_everywhere_and_no_ghost_stays() {
    let redis = Redis::start();
    let mut nodes = [(); 3].map(|()| node(&redis));
    let mut watchers: Vec<Watcher> = (0..2)
        .map(|at| Watcher::new(&nodes[at], &format!("{}", 900 + at)))
        .collect();
    let crowd = members(&nodes[2], 0..8);
    let everybody = keys((0..8).chain([900, 901]));
    agree("before the kill", &mut watchers, &everybody, AGREE);
    watchers.iter_mut().for_each(Watcher::forget);
    nodes[2].kill();
    drop(crowd);
    // Half of them are back on another node before anybody has noticed.
    let back = members(&nodes[0], 0..4);
    let living = keys((0..4).chain([900, 901]));
    agree("after SIGKILL", &mut watchers, &living, DEAD);
    for watcher in &mut watchers {
        let joined: BTreeSet<&String> = watcher.joined.iter().map(|(key, _)| key).collect();
        assert_eq!(joined.len(), 4, "{:?}", watcher.joined);
        assert_eq!((watcher.joined.len(), watcher.left.len()), (4, 8));
    }
    // A node that starts now hears of nobody who is dead.
    let fresh = node(&redis);
    let mut late = Watcher::new(&fresh, "902");
    let expected = keys((0..4).chain([900, 901, 902]));
    println!("a fresh node: {:?}", late.until(&expected, AGREE));
    drop(back);
    agree(
        "after they left",
        &mut watchers,
        &keys([900, 901, 902]),
        AGREE,
    );
}

#[test]
fn a_restart_of_redis_heals_by_itself() {
    let mut redis = Redis::start();
    let nodes = [(); 2].map(|()| node(&redis));
    let mut watchers: Vec<Watcher> = (0..2)
        .map(|at| Watcher::new(&nodes[at], &format!("{}", 900 + at)))
        .collect();
    let crowd = [members(&nodes[0], 0..4), members(&nodes[1], 10..14)];
    let before = keys((0..4).chain(10..14).chain([900, 901]));
    agree("before the restart", &mut watchers, &before, AGREE);
    redis.kill();
    nodes[0].await_log("the broker is not connected", Duration::from_secs(10));
    // People come and go meanwhile; each node knows its own.
    let [mut here, there] = crowd;
    here.truncate(2);
    drop(there);
    let _new = member(&nodes[1], "20");
    redis.restart();
    let after = keys([0, 1, 20, 900, 901]);
    agree(
        "after the restart",
        &mut watchers,
        &after,
        Duration::from_secs(8),
    );
    for watcher in &mut watchers {
        watcher.listen(Duration::from_secs(2));
        assert_eq!(watcher.here(), after);
        // Those who stayed were never told to be gone.
        let left: Vec<&String> = watcher.left.iter().map(|(key, _)| key).collect();
        assert_eq!(left.len(), 6, "{left:?}");
    }
}
