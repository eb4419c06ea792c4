//! What every broker promises, over the local one and over a real Redis.
//!
//! Nothing here breaks on purpose; faults are in `broker_faults`.

#[path = "support/broker_node.rs"]
mod broker_node;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_node::{Node, config, letter, number, topic, with};
use bytes::Bytes;
use fanfare::broker::envelope::Envelope;
use fanfare::broker::{
    Broker, Config, Letter, LocalBroker, Metrics, Notice, RedisBroker, Subscribed, node_topic,
    nodes_topic,
};
use fanfare::protocol::Payload;
use futures_util::future::join_all;
use support::https::Certificates;
use support::redis::Redis;

/// What holds for one node of any broker.
async fn check_single_node(broker: &dyn Broker) {
    let lobby = topic("room:lobby");
    assert!(broker.connected());
    for _ in 0..2 {
        assert_eq!(broker.subscribe(&lobby).await, Ok(Subscribed::Acknowledged));
    }
    assert_eq!(
        broker.subscribe(&nodes_topic()).await,
        Ok(Subscribed::Acknowledged)
    );
    assert_eq!(broker.publish(&lobby, letter(1)), Ok(()));
    broker.unsubscribe(&lobby);
    broker.unsubscribe(&lobby);
    assert_eq!(broker.subscribe(&lobby).await, Ok(Subscribed::Acknowledged));
}

#[tokio::test]
async fn a_single_local_node_is_a_broker() {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    check_single_node(&LocalBroker::new(&metrics)).await;
    assert_eq!(metrics.connected.get(), 1);
}

#[tokio::test]
async fn a_single_redis_node_is_a_broker() {
    let redis = Redis::start();
    let node = Node::connect(&config(&redis.url())).await;
    check_single_node(&*node.broker).await;
    assert_eq!(node.metrics.connected.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_of_every_node_arrive_in_order_and_own_ones_do_not() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b, c) = (
        Node::connect(&config).await,
        Node::connect(&config).await,
        Node::connect(&config).await,
    );
    let lobby = topic("room:lobby");
    a.subscribe(&lobby).await;
    for n in 0..5_000 {
        a.publish(&lobby, 9_000_000);
        b.publish(&lobby, n);
        c.publish(&lobby, 1_000_000 + n);
    }
    let (mut of_b, mut of_c) = (0, 1_000_000);
    for _ in 0..10_000 {
        let delivery = a.delivery().await;
        let next = if number(&delivery) < 1_000_000 {
            &mut of_b
        } else {
            &mut of_c
        };
        assert_eq!(number(&delivery), *next);
        assert!(delivery.accepted_at > 0);
        *next += 1;
    }
    assert_eq!((of_b, of_c), (5_000, 1_005_000));
    assert_eq!(a.metrics.lost.get() + a.metrics.duplicates.get(), 0);
    assert_eq!(a.metrics.lag_seconds.get_sample_count(), 10_000);
    assert_eq!(b.metrics.malformed.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_after_the_acknowledgement_arrives() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    for n in 0..1_000 {
        let room = topic(&format!("room:{n}"));
        a.subscribe(&room).await;
        b.publish(&room, n);
        assert_eq!(number(&a.delivery().await), n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscribe_that_races_an_unsubscribe_wins_and_is_acknowledged_after_it() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let room = topic("room:a");
    a.subscribe(&room).await;
    for n in 0..1_000 {
        a.broker.unsubscribe(&room);
        // From "not sent yet" to "answered": the subscribe meets the unsubscribe at different stages.
        match n % 4 {
            0 => {}
            1 => tokio::task::yield_now().await,
            2 => tokio::time::sleep(Duration::from_micros(n as u64 % 400)).await,
            _ => {
                let broker = Arc::clone(&a.broker);
                let flapping = room.clone();
                let other = tokio::spawn(async move {
                    let _ = broker.subscribe(&flapping).await;
                    broker.unsubscribe(&flapping);
                });
                other.await.unwrap();
            }
        }
        a.subscribe(&room).await;
        b.publish(&room, n);
        assert_eq!(number(&a.delivery().await), n);
    }
    assert_eq!(a.metrics.lost.get() + a.metrics.duplicates.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribed_topic_is_no_longer_received_and_leaves_no_hole() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let (room, other) = (topic("room:a"), topic("room:b"));
    a.subscribe(&room).await;
    a.subscribe(&other).await;
    b.publish(&room, 1);
    assert_eq!(a.number_on(&room).await, 1);
    a.broker.unsubscribe(&room);
    let deadline = Instant::now() + broker_node::PATIENCE;
    while !redis
        .command(&["PUBSUB", "NUMSUB", "fanfare:t:room:a"])
        .ends_with(":0\r\n")
    {
        assert!(Instant::now() < deadline, "it stays subscribed");
    }
    b.publish(&room, 2);
    b.publish(&room, 3);
    b.publish(&other, 4);
    assert_eq!(number(&a.delivery().await), 4);
    a.subscribe(&room).await;
    b.publish(&room, 5);
    // What was published the moment before a subscription may arrive too, in order; the rest is no hole.
    let mut last = 1;
    while last < 5 {
        let next = number(&a.delivery().await);
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    assert_eq!((last, a.metrics.lost.get()), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_topics_are_subscribed_in_batches() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let topics: Vec<_> = (0..10_000).map(|n| topic(&format!("room:{n}"))).collect();
    join_all(topics.iter().map(|topic| a.subscribe(topic))).await;
    let calls = redis.command(&["INFO", "commandstats"]);
    let stats = calls
        .lines()
        .find(|line| line.starts_with("cmdstat_subscribe:calls="))
        .unwrap();
    let calls: usize = stats["cmdstat_subscribe:calls=".len()..]
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(calls < 200, "{calls} SUBSCRIBE commands");
    for (n, topic) in topics.iter().enumerate() {
        b.publish_patiently(topic, n).await;
    }
    for (n, topic) in topics.iter().enumerate() {
        let delivery = a.delivery().await;
        assert_eq!((number(&delivery), &delivery.topic), (n, topic));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_letter_arrives_byte_for_byte() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let room = topic("room:\u{1f389} \r\n*");
    a.subscribe(&room).await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let text = format!("{{\"text\":\"{}\"}}", "é".repeat(32 * 1024));
    let letters = [
        with(Payload::Binary(Bytes::from(all_bytes.repeat(256)))),
        with(Payload::json(text)),
        with(Payload::Binary(Bytes::new())),
        Letter::Record {
            id: u64::MAX,
            epoch: String::from("e"),
            event: String::from("save_score"),
            payload: Payload::EMPTY,
        },
        Letter::Disconnect {
            socket_id: String::from("user:42"),
        },
        Letter::Presence(Bytes::from(all_bytes.clone())),
        Letter::Ask {
            from: u64::MAX,
            request: 1,
            worker: u32::MAX,
            question: Bytes::from(all_bytes.clone()),
        },
        Letter::Answer {
            request: u64::MAX,
            answer: Bytes::from(all_bytes),
        },
    ];
    for letter in &letters {
        b.broker.publish(&room, letter.clone()).unwrap();
    }
    for letter in letters {
        let delivery = a.delivery().await;
        assert_eq!((delivery.topic, delivery.letter), (room.clone(), letter));
    }
}

#[test]
fn questions_and_answers_have_exactly_these_bytes() {
    let check = |letter: Letter, kind: u8, tail: &[u8]| {
        let envelope = Envelope {
            incarnation: 1,
            sequence: 2,
            previous: 3,
            nth: 4,
            accepted_at: 5,
            topic: node_topic(0xab),
            letter,
        };
        let mut expected = vec![0xfa, 1, kind];
        for number in 1..=5_u64 {
            expected.extend(number.to_be_bytes());
        }
        expected.extend(b"\x00\x00\x00\x16!node:00000000000000ab");
        expected.extend(tail);
        assert_eq!(envelope.encode().unwrap(), expected);
    };
    let ask = Letter::Ask {
        from: 5,
        request: 6,
        worker: 7,
        question: Bytes::from_static(b"?"),
    };
    let tail = [
        &5_u64.to_be_bytes()[..],
        &6_u64.to_be_bytes(),
        b"\x00\x00\x00\x07\x00\x00\x00\x01?",
    ];
    check(ask, 5, &tail.concat());
    let answer = Letter::Answer {
        request: 8,
        answer: Bytes::from_static(b"!"),
    };
    let tail = [&8_u64.to_be_bytes()[..], b"\x00\x00\x00\x01!"];
    check(answer, 6, &tail.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_topic_reaches_every_other_node() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, mut b, c) = (
        Node::connect(&config).await,
        Node::connect(&config).await,
        Node::connect(&config).await,
    );
    let letter = Letter::Disconnect {
        socket_id: String::from("user:42"),
    };
    a.broker.unsubscribe(&nodes_topic());
    c.broker.publish(&nodes_topic(), letter.clone()).unwrap();
    for node in [&mut a, &mut b] {
        let delivery = node.delivery().await;
        assert_eq!(
            (delivery.topic, delivery.letter),
            (nodes_topic(), letter.clone())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_keep_deployments_apart() {
    let redis = Redis::start();
    let staging = Config {
        prefix: String::from("staging:"),
        ..config(&redis.url())
    };
    let production = config(&redis.url());
    let (mut a, b, c) = (
        Node::connect(&production).await,
        Node::connect(&staging).await,
        Node::connect(&production).await,
    );
    a.subscribe(&topic("room:a")).await;
    b.publish(&topic("room:a"), 1);
    b.broker.close();
    b.running.await.unwrap();
    c.publish(&topic("room:a"), 2);
    assert_eq!(number(&a.delivery().await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_publishes_what_is_queued_and_takes_nothing_more() {
    let redis = Redis::start();
    let config = config(&redis.url());
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let room = topic("room:a");
    a.subscribe(&room).await;
    for n in 0..20_000 {
        b.publish(&room, n);
    }
    b.broker.close();
    tokio::time::timeout(broker_node::PATIENCE, b.running)
        .await
        .unwrap()
        .unwrap();
    assert!(b.broker.publish(&room, letter(0)).is_err());
    assert!(b.broker.subscribe(&room).await.is_err());
    assert!(!b.broker.connected());
    for n in 0..20_000 {
        assert_eq!(number(&a.delivery().await), n);
    }
    assert_eq!(b.metrics.publish_seconds.get_sample_count(), 20_000);
}

/// Connects two nodes and sends one message; the password must be right.
async fn check_reachable(config: &Config) {
    let (mut a, b) = (Node::connect(config).await, Node::connect(config).await);
    a.subscribe(&topic("room:a")).await;
    b.publish(&topic("room:a"), 7);
    assert_eq!(number(&a.delivery().await), 7);
}

async fn refusal(config: &Config) -> String {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    match RedisBroker::connect(config, Arc::new(|_: Notice| {}), metrics).await {
        Ok(_) => panic!("{config:?} is refused"),
        Err(cause) => cause.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_carries_user_and_password() {
    let redis = Redis::start_with(&[
        "--requirepass",
        "open sesame",
        "--user",
        "ada",
        "on",
        ">love&",
        "&fanfare:*",
        "+@all",
    ]);
    let at = format!("127.0.0.1:{}", redis.port());
    check_reachable(&config(&format!("redis://:open%20sesame@{at}/0"))).await;
    check_reachable(&config(&format!("redis://ada:love%26@{at}"))).await;
    for (userinfo, secret) in [
        (":wrongpass@", "wrongpass"),
        ("ada:wrongpass@", "wrongpass"),
        ("", "sesame"),
    ] {
        let said = refusal(&config(&format!("redis://{userinfo}{at}"))).await;
        assert!(
            said.contains(&at) && !said.contains(secret) && !said.contains('\n'),
            "{said}"
        );
    }
    let elsewhere = Config {
        prefix: String::from("other:"),
        ..config(&format!("redis://ada:love%26@{at}"))
    };
    let said = refusal(&elsewhere).await;
    assert!(
        said.contains("NOPERM") || said.contains("permission"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_verified() {
    let certificates = Certificates::new();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let redis = Redis::start_tls(&text(certificates.server()), &text(certificates.key()));
    let at = format!("127.0.0.1:{}", redis.port());
    let trusting = Config {
        ca_file: Some(certificates.authority()),
        ..config(&format!("rediss://{at}"))
    };
    check_reachable(&trusting).await;
    let said = refusal(&Config {
        ca_file: None,
        ..trusting.clone()
    })
    .await;
    assert!(said.contains("certificate"), "{said}");
    let said = refusal(&Config {
        ca_file: Some("missing.crt".into()),
        ..trusting
    })
    .await;
    assert!(said.contains("missing.crt"), "{said}");
}
