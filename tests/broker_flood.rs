//! Floods that exceed what the broker keeps: what arrives and what is told lost is what was sent.
//!
//! Nothing paces the publisher but its own queue.

#[path = "support/broker_node.rs"]
mod broker_node;
mod support;

use std::time::Duration;

use broker_node::{Node, number, topic};
use fanfare::broker::{Config, Notice};
use fanfare::protocol::Topic;
use support::redis::Redis;

/// Floods a node with more than its peer's ring and Redis' output limit hold, as fast as the queue takes it.
///
/// What arrives and what is told lost must add up to what was sent, on every topic.
async fn check_flood(options: &[&str], config: impl Fn(Config) -> Config, letters: usize) {
    const TOPICS: usize = 100;
    let redis = Redis::start_with(options);
    let config = config(broker_node::config(&redis.url()));
    let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
    let topics: Vec<Topic> = (0..TOPICS).map(|n| topic(&format!("room:{n}"))).collect();
    for topic in &topics {
        a.subscribe(topic).await;
    }
    let sending = topics.clone();
    let publishing = tokio::spawn(async move {
        for n in 0..letters {
            b.publish_patiently(&sending[n % TOPICS], n / TOPICS).await;
        }
        b
    });
    let (mut next, mut lost) = (vec![0; TOPICS], vec![0; TOPICS]);
    let at = |topic: &Topic| topics.iter().position(|one| one == topic).unwrap();
    let each = letters / TOPICS;
    // A hole is told before the letter that follows it, and the last word on a topic is a letter or a hole.
    while (0..TOPICS).any(|at| next[at] + lost[at] < each) {
        match a.notice().await {
            Notice::Delivery(delivery) => {
                let at = at(&delivery.topic);
                let n = number(&delivery);
                assert_eq!(n, next[at] + lost[at], "on {}", delivery.topic);
                next[at] += 1;
            }
            Notice::Hole { topic, missed } => {
                let missed = missed.expect("the origin lives and knows how many");
                lost[at(&topic)] += usize::try_from(missed).unwrap();
            }
            Notice::Connected | Notice::Disconnected => {}
        }
    }
    publishing.await.unwrap();
    let (received, lost): (usize, usize) = (next.iter().sum(), lost.iter().sum());
    eprintln!(
        "{letters} sent, {received} received, {lost} told lost, {} healed, {} reconnects",
        a.metrics.healed.get(),
        a.metrics.reconnects.get()
    );
    assert_eq!(received + lost, letters);
    assert_eq!(a.metrics.lost.get(), lost as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_beyond_the_ring_is_received_or_told_lost_to_the_letter() {
    let limit = ["--client-output-buffer-limit", "pubsub 2mb 2mb 1"];
    let small = |config| Config {
        ring_letters: 2_000,
        ..config
    };
    check_flood(&limit, small, 200_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaced_flood_with_the_defaults_is_received_or_told_lost() {
    check_flood(&[], |config| config, 400_000).await;
}

/// Prints how long letters take from the queue to Redis' answer, which is what a reply that waits for it would add.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: it prints, and claims little"]
async fn how_long_redis_takes_to_have_a_letter() {
    let redis = Redis::start();
    let room = topic("room:a");
    for burst in [1, 5, 20] {
        let node = Node::connect(&broker_node::config(&redis.url())).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        for n in 0..3_000 {
            ticks.tick().await;
            for _ in 0..burst {
                node.publish_patiently(&room, n).await;
            }
        }
        let took = &node.metrics.publish_seconds;
        while took.get_sample_count() < 3_000 * burst {
            ticks.tick().await;
        }
        let mean_us = took.get_sample_sum() / took.get_sample_count() as f64 * 1e6;
        let proto = prometheus::core::Metric::metric(took);
        let share = |bucket: &prometheus::proto::Bucket| {
            let share = bucket.cumulative_count() as f64 / took.get_sample_count() as f64;
            format!("{} ms {:.1} %", bucket.upper_bound() * 1e3, share * 100.0)
        };
        let shares: Vec<String> = proto.get_histogram().get_bucket()[..9]
            .iter()
            .map(share)
            .collect();
        eprintln!(
            "{burst} a ms: mean {mean_us:.0} us; within {}",
            shares.join(", ")
        );
    }
}
