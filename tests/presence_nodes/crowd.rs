//! Ten thousand members in one room, on two nodes.
//!
//! It measures what a crowd costs its members; the numbers are printed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::roster::{ROOM, Watcher, member};
use crate::support::limited::setup;
use crate::support::node::Node;
use crate::support::redis::Redis;

const MEMBERS: usize = 10_000;
/// Joins under way at once on a node, as a load balancer would pace them.
const AT_ONCE: usize = 64;

/// How far the crowd is.
#[derive(Default)]
struct Crowd {
    joined: AtomicUsize,
    ended: AtomicUsize,
}

/// Joins as a guest, then reads and forgets until the connection ends.
async fn belong(addr: SocketAddr, crowd: Arc<Crowd>, turn: Arc<Semaphore>) {
    let permit = turn.acquire().await.expect("never closed");
    let mut stream = TcpStream::connect(addr).await.expect("the node listens");
    let head = format!(
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: {addr}\r\nupgrade: websocket\r\n\
         connection: Upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut bytes = vec![0; 64 * 1024];
    let read = stream.read(&mut bytes).await.expect("an answer");
    assert!(bytes[..read].starts_with(b"HTTP/1.1 101"), "refused");
    let join = format!(r#"["1","1","{ROOM}","phx_join",{{}}]"#);
    let length = u8::try_from(join.len()).expect("short");
    // A mask of zeros leaves the text as it is.
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(join.as_bytes());
    stream.write_all(&frame).await.expect("sent");
    let read = stream.read(&mut bytes).await.expect("a reply");
    assert!(read > 0, "closed at the join");
    crowd.joined.fetch_add(1, Ordering::Relaxed);
    drop(permit);
    loop {
        match stream.read(&mut bytes).await {
            Ok(1..) => {}
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    crowd.ended.fetch_add(1, Ordering::Relaxed);
}

/// Brings half of the members to a node, from a thread of its own.
fn gather(node: &Node, crowd: &Arc<Crowd>) {
    let (addr, crowd) = (node.clients, Arc::clone(crowd));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        let turn = Arc::new(Semaphore::new(AT_ONCE));
        runtime.block_on(async {
            let belong = |_| tokio::spawn(belong(addr, Arc::clone(&crowd), Arc::clone(&turn)));
            let all: Vec<_> = (0..MEMBERS / 2).map(belong).collect();
            for one in all {
                // The test is over before they are.
                let _ = one.await;
            }
        });
    });
}

fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, wanted).expect("the soft limit rises to the hard one");
    let enough = limit.maximum.is_none_or(|most| most > MEMBERS as u64 + 500);
    assert!(enough, "this test needs {MEMBERS} file descriptors");
}

#[test]
#[ignore = "ten thousand sockets take two minutes and most of the machine; `make faults` runs it"]
fn ten_thousand_members_are_one_push_and_a_newcomer_is_a_small_one() {
    raise_descriptors();
    let redis = Redis::start();
    let limits = "[limits]\nconnects_per_second = 100000\nidle_seconds = 600\njoin_seconds = 60\n";
    let nodes = [(); 2].map(|()| setup(limits).redis(&redis.url()).start());
    let crowd = Arc::new(Crowd::default());
    let start = Instant::now();
    for node in &nodes {
        gather(node, &crowd);
    }
    while crowd.joined.load(Ordering::Relaxed) < MEMBERS {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "the crowd is not there"
        );
        assert_eq!(crowd.ended.load(Ordering::Relaxed), 0, "some were closed");
        thread::sleep(Duration::from_millis(50));
    }
    println!("{MEMBERS} members after {:?}", start.elapsed());
    for node in &nodes {
        let began = Instant::now();
        let mut watcher = Watcher::new(node, "900");
        let state = began.elapsed();
        let (told, bytes) = (watcher.here().len(), watcher.state_bytes);
        while watcher.here().len() < MEMBERS + 1 {
            watcher.diff();
        }
        println!(
            "a newcomer: state of {told} in {bytes} bytes after {state:?}, whole after {:?}",
            began.elapsed()
        );
        watcher.listen(Duration::from_secs(1));
        watcher.forget();
        for other in &nodes {
            let began = Instant::now();
            let _one = member(other, "901");
            let bytes = watcher.diff();
            let took = began.elapsed();
            println!("one join, told in {bytes} bytes after {took:?}");
            assert!(bytes < 400, "{bytes} bytes for one join");
            assert!(took < Duration::from_secs(2), "{took:?}");
            drop(_one);
            watcher.diff();
        }
    }
    assert_eq!(crowd.ended.load(Ordering::Relaxed), 0, "some were closed");
}
