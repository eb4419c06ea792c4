//! What a broker over Redis does when Redis, or the way to it, fails.
//!
//! Every wait is for a notice, with a deadline.

#[path = "support/broker_node.rs"]
mod broker_node;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_node::{Node, config, letter, number, topic};
use fanfare::broker::{Broker, BrokerError, Config, Metrics, Notice, RedisBroker, Subscribed};
use fanfare::protocol::Topic;
use futures_util::future::join_all;
use support::redis::Redis;

fn rooms(count: usize) -> Vec<Topic> {
    (0..count).map(|n| topic(&format!("room:{n}"))).collect()
}

/// Publishes on every topic from one node and waits for it on the other, past what arrived before.
async fn check_all_arrive(from: &Node, to: &mut Node, topics: &[Topic]) {
    for (n, topic) in topics.iter().enumerate() {
        from.publish_patiently(topic, n).await;
    }
    for (n, topic) in topics.iter().enumerate() {
        assert_eq!(to.number_on(topic).await, n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_redis_gets_every_topic_back() {
    let mut redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, mut b) = (Node::connect(&config).await, Node::connect(&config).await);
    let topics = rooms(10_000);
    join_all(topics.iter().map(|topic| a.subscribe(topic))).await;
    redis.kill();
    a.until(&Notice::Disconnected).await;
    b.until(&Notice::Disconnected).await;
    assert!(!a.broker.connected());
    assert_eq!(a.metrics.connected.get(), 0);
    let late = topic("room:late");
    assert_eq!(a.broker.subscribe(&late).await, Ok(Subscribed::Deferred));
    a.broker.unsubscribe(&topics[0]);
    redis.restart();
    a.until(&Notice::Connected).await;
    b.until(&Notice::Connected).await;
    assert!(a.broker.connected());
    assert_eq!(a.metrics.connected.get(), 1);
    assert!(a.metrics.reconnects.get() >= 1);
    let again = [&topics[1..], &[late]].concat();
    check_all_arrive(&b, &mut a, &again).await;
    assert!(
        redis
            .command(&["PUBSUB", "NUMSUB", "fanfare:t:room:0"])
            .ends_with(":0\r\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_redis_is_noticed_within_five_seconds() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, mut b) = (Node::connect(&config).await, Node::connect(&config).await);
    let topics = rooms(100);
    join_all(topics.iter().map(|topic| a.subscribe(topic))).await;
    redis.pause();
    let paused = Instant::now();
    a.until(&Notice::Disconnected).await;
    b.until(&Notice::Disconnected).await;
    assert!(
        paused.elapsed() < Duration::from_secs(5),
        "{:?}",
        paused.elapsed()
    );
    // Long enough for an attempt to reconnect to fail too.
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(paused.elapsed())).await;
    assert!(!a.broker.connected());
    redis.resume();
    a.until(&Notice::Connected).await;
    b.until(&Notice::Connected).await;
    check_all_arrive(&b, &mut a, &topics).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_listening_link_is_made_anew() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, mut b) = (Node::connect(&config).await, Node::connect(&config).await);
    let topics = rooms(100);
    join_all(topics.iter().map(|topic| a.subscribe(topic))).await;
    for _ in 0..10 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        for node in [&mut a, &mut b] {
            node.until(&Notice::Disconnected).await;
            node.until(&Notice::Connected).await;
        }
        check_all_arrive(&b, &mut a, &topics).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_missing_was_told_as_a_hole() {
    let redis = Redis::start();
    let config = config(&redis.url());
    // It keeps next to nothing, so that what passes while the link of the other one is away is gone.
    let forgetful = Config {
        ring_letters: 16,
        ..config.clone()
    };
    let (mut a, b) = (
        Node::connect(&config).await,
        Node::connect(&forgetful).await,
    );
    let room = topic("room:a");
    a.subscribe(&room).await;
    let publishing = tokio::spawn(async move {
        for n in 0.. {
            b.publish_patiently(&room, n).await;
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut expected, mut holes, mut hole_told) = (0, 0, false);
    let mut kill_at = 1_000;
    while holes < 5 {
        match a.notice().await {
            Notice::Delivery(delivery) => {
                let n = number(&delivery);
                assert!(n >= expected, "{n} again or out of order");
                assert_eq!(n > expected, hole_told, "{n} instead of {expected}");
                holes += u64::from(hole_told);
                (expected, hole_told) = (n + 1, false);
                if n >= kill_at {
                    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                    kill_at = usize::MAX;
                }
            }
            Notice::Hole { topic, .. } => {
                assert_eq!(topic.as_str(), "room:a");
                hole_told = true;
            }
            Notice::Connected => kill_at = expected + 1_000,
            Notice::Disconnected => {}
        }
    }
    publishing.abort();
    assert!(a.metrics.lost.get() >= holes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_publishing_link_neither_loses_nor_repeats() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let room = topic("room:a");
    a.subscribe(&room).await;
    let publishing = tokio::spawn(async move {
        for n in 0..100_000 {
            b.publish_patiently(&room, n).await;
        }
        b
    });
    for n in 0..100_000 {
        assert_eq!(number(&a.delivery().await), n);
        if n % 10_000 == 5_000 {
            redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
    }
    let b = publishing.await.unwrap();
    assert!(b.metrics.reconnects.get() >= 1);
    assert_eq!(a.metrics.lost.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publish_queue_is_bounded_and_survives_a_short_silence() {
    let redis = Redis::start();
    let small = Config {
        publish_queue: 1_000,
        ..config(&redis.url())
    };
    let (mut a, b) = (Node::connect(&small).await, Node::connect(&small).await);
    let room = topic("room:a");
    a.subscribe(&room).await;
    redis.pause();
    for n in 0..1_000 {
        b.publish(&room, n);
    }
    assert_eq!(
        b.broker.publish(&room, letter(1_000)),
        Err(BrokerError::Full)
    );
    assert_eq!(b.metrics.refused.get(), 1);
    redis.resume();
    for n in 0..1_000 {
        assert_eq!(number(&a.delivery().await), n);
    }
    b.publish_patiently(&room, 1_000).await;
    assert_eq!(number(&a.delivery().await), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_the_publish_queue_are_bounded() {
    let redis = Redis::start();
    let small = Config {
        publish_queue_bytes: 1_000,
        ..config(&redis.url())
    };
    let node = Node::connect(&small).await;
    redis.pause();
    let large = || broker_node::with(fanfare::protocol::Payload::json(vec![b' '; 600]));
    assert_eq!(node.broker.publish(&topic("a"), large()), Ok(()));
    assert_eq!(
        node.broker.publish(&topic("a"), large()),
        Err(BrokerError::Full)
    );
    assert_eq!(node.broker.publish(&topic("a"), letter(1)), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_redis_does_not_acknowledge_is_refused_and_withdrawn() {
    let redis = Redis::start();
    let hasty = Config {
        join_timeout: Duration::from_millis(300),
        ..config(&redis.url())
    };
    let node = Node::connect(&hasty).await;
    let room = topic("room:a");
    redis.pause();
    let waits = join_all((0..3).map(|_| node.broker.subscribe(&room))).await;
    assert!(
        waits.contains(&Err(BrokerError::Unacknowledged)),
        "{waits:?}"
    );
    redis.resume();
    node.subscribe(&topic("room:b")).await;
    let deadline = Instant::now() + broker_node::PATIENCE;
    while !redis
        .command(&["PUBSUB", "NUMSUB", "fanfare:t:room:a"])
        .ends_with(":0\r\n")
    {
        assert!(Instant::now() < deadline, "it stays subscribed");
    }
    node.subscribe(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_closes_without_redis_ends_at_once() {
    let mut redis = Redis::start();
    let mut node = Node::connect(&config(&redis.url())).await;
    redis.kill();
    node.until(&Notice::Disconnected).await;
    node.publish(&topic("room:a"), 1);
    node.broker.close();
    tokio::time::timeout(Duration::from_secs(5), node.running)
        .await
        .unwrap()
        .unwrap();
}

/// A URL that cannot work is refused in one line that names what is wrong, within 10 s.
async fn check_refused(url: Option<String>, expected: &str) {
    let config = Config {
        url,
        ..Config::default()
    };
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let started = Instant::now();
    let Err(cause) = RedisBroker::connect(&config, Arc::new(|_: Notice| {}), metrics).await else {
        panic!("{expected}: connected");
    };
    let said = cause.to_string();
    assert!(
        said.contains(expected) && !said.contains("sesame") && !said.contains('\n'),
        "{said}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_cannot_work_is_refused_clearly() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let mut redis = Redis::start();
    redis.kill();
    check_refused(None, "no redis url").await;
    check_refused(
        Some("http://:sesame@localhost".into()),
        "url cannot be used",
    )
    .await;
    check_refused(
        Some("redis://:sesame@127.0.0.1:port/".into()),
        "url cannot be used",
    )
    .await;
    check_refused(
        Some("redis://:sesame@127.0.0.1/first".into()),
        "url cannot be used",
    )
    .await;
    check_refused(
        Some(format!("redis://:sesame@127.0.0.1:{}", redis.port())),
        "cannot use redis at 127.0.0.1:",
    )
    .await;
    check_refused(Some(format!("redis://:sesame@{silent}")), "does not answer").await;
    let hangs_up = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = hangs_up.local_addr().unwrap();
    std::thread::spawn(move || hangs_up.accept().map(drop));
    let url = format!("redis://:sesame@{at}");
    check_refused(Some(url), "closed the connection").await;
}
