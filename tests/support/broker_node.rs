//! A broker as a node has it: its notices in a queue, its run in a task.
//!
//! Waiting always has a deadline and ends in a panic that says what was awaited.

#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use fanfare::broker::{
    Broker, BrokerError, Config, Delivery, Inbox, Letter, Metrics, Notice, RedisBroker, Subscribed,
};
use fanfare::protocol::{Payload, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub broker: Arc<RedisBroker>,
    pub metrics: Metrics,
    pub running: JoinHandle<()>,
    notices: mpsc::UnboundedReceiver<Notice>,
}

pub fn topic(name: &str) -> Topic {
    name.try_into().expect("it is a topic")
}

pub fn letter(number: usize) -> Letter {
    with(Payload::json(number.to_string()))
}

pub fn with(payload: Payload) -> Letter {
    Letter::Broadcast {
        event: String::from("new_message"),
        payload,
    }
}

pub fn number(delivery: &Delivery) -> usize {
    match &delivery.letter {
        Letter::Broadcast {
            payload: Payload::Json(text),
            ..
        } => std::str::from_utf8(text)
            .unwrap()
            .parse()
            .expect("the payload is a number"),
        other => panic!("{other:?} has no number"),
    }
}

pub fn config(url: &str) -> Config {
    Config {
        url: Some(url.to_owned()),
        ..Config::default()
    }
}

impl Node {
    /// Connects a node and waits until it is told so.
    pub async fn connect(config: &Config) -> Self {
        let (sender, notices) = mpsc::unbounded_channel();
        let inbox: Inbox = Arc::new(move |notice| drop(sender.send(notice)));
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let (broker, run) = RedisBroker::connect(config, inbox, metrics.clone())
            .await
            .unwrap_or_else(|cause| panic!("{cause}"));
        let running = tokio::spawn(run);
        let mut node = Self {
            broker,
            metrics,
            running,
            notices,
        };
        assert_eq!(node.notice().await, Notice::Connected);
        node
    }

    pub async fn notice(&mut self) -> Notice {
        timeout(PATIENCE, self.notices.recv())
            .await
            .expect("a notice comes in time")
            .expect("the broker lives")
    }

    /// Skips notices up to this one.
    pub async fn until(&mut self, awaited: &Notice) {
        while self.notice().await != *awaited {}
    }

    /// Returns the next notice, which must be a delivery.
    pub async fn delivery(&mut self) -> Delivery {
        match self.notice().await {
            Notice::Delivery(delivery) => delivery,
            other => panic!("{other:?} instead of a delivery"),
        }
    }

    /// Returns the number in the next delivery on a topic, skipping other topics and notices.
    pub async fn number_on(&mut self, topic: &Topic) -> usize {
        loop {
            if let Notice::Delivery(delivery) = self.notice().await
                && delivery.topic == *topic
            {
                return number(&delivery);
            }
        }
    }

    pub async fn subscribe(&self, topic: &Topic) {
        assert_eq!(
            self.broker.subscribe(topic).await,
            Ok(Subscribed::Acknowledged),
            "{topic}"
        );
    }

    pub fn publish(&self, topic: &Topic, number: usize) {
        assert_eq!(
            self.broker.publish(topic, letter(number)),
            Ok(()),
            "{topic}"
        );
    }

    /// Publishes as soon as there is room.
    pub async fn publish_patiently(&self, topic: &Topic, number: usize) {
        while self.broker.publish(topic, letter(number)) == Err(BrokerError::Full) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
