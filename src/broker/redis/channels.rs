//! The names of the Redis channels of a lane, and the commands for them.
//!
//! A lane of a cluster has all its channels in one slot, by a hash tag after the prefix.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushKind, RedisError};

use crate::broker::NODES;
use crate::broker::repair::To;
use crate::protocol::Topic;

/// The names of the Redis channels.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) nodes: String,
    /// What starts the name of one node's channel.
    node: String,
    /// This node's channel.
    pub(super) own: String,
    topics: String,
    sharded: bool,
}

/// What a push of Redis is about.
pub(super) enum Push {
    /// A publish.
    Message,
    /// A channel is subscribed.
    Subscribed,
    /// A channel is not subscribed any more.
    Unsubscribed,
    /// Nothing that was asked for.
    Other,
}

impl Push {
    pub(super) fn of(kind: &PushKind) -> Self {
        match kind {
            PushKind::Message | PushKind::SMessage => Self::Message,
            PushKind::Subscribe | PushKind::SSubscribe => Self::Subscribed,
            PushKind::Unsubscribe | PushKind::SUnsubscribe => Self::Unsubscribed,
            _ => Self::Other,
        }
    }
}

impl Channels {
    /// Names the channels of a node; with the tag of a lane they are sharded.
    pub(super) fn new(prefix: &str, tag: Option<&str>, incarnation: u64) -> Self {
        let prefix = match tag {
            Some(tag) => format!("{prefix}{{{tag}}}"),
            None => prefix.to_owned(),
        };
        let node = format!("{prefix}!node:");
        Self {
            nodes: format!("{prefix}{NODES}"),
            own: format!("{node}{incarnation:016x}"),
            node,
            topics: format!("{prefix}t:"),
            sharded: tag.is_some(),
        }
    }

    pub(super) fn of(&self, topic: &Topic) -> String {
        match topic.as_str() {
            NODES => self.nodes.clone(),
            topic => format!("{}{topic}", self.topics),
        }
    }

    pub(super) fn to(&self, to: To) -> String {
        match to {
            To::Nodes => self.nodes.clone(),
            To::Node(incarnation) => format!("{}{incarnation:016x}", self.node),
        }
    }

    /// Returns the user topic of a channel; none for the node channels.
    pub(super) fn topic<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel)
            .ok()?
            .strip_prefix(&self.topics)
    }

    /// Adds a publish to a pipeline.
    pub(super) fn publish(&self, pipeline: &mut Pipeline, channel: &str, message: &[u8]) {
        let name = if self.sharded { "SPUBLISH" } else { "PUBLISH" };
        pipeline.cmd(name).arg(channel).arg(message).ignore();
    }

    /// Subscribes channels; the first poll puts it on the wire.
    pub(super) fn subscribe(
        &self,
        mut connection: MultiplexedConnection,
        channels: Vec<String>,
    ) -> BoxFuture<'static, Result<(), RedisError>> {
        if self.sharded {
            return each("SSUBSCRIBE", connection, channels);
        }
        async move { connection.subscribe(channels).await }.boxed()
    }

    /// Unsubscribes channels; the first poll puts it on the wire.
    pub(super) fn unsubscribe(
        &self,
        mut connection: MultiplexedConnection,
        channels: Vec<String>,
    ) -> BoxFuture<'static, Result<(), RedisError>> {
        if self.sharded {
            return each("SUNSUBSCRIBE", connection, channels);
        }
        async move { connection.unsubscribe(channels).await }.boxed()
    }
}

/// A command a channel in one flush: the crate counts the answers of one command with many channels only where it knows it.
fn each(
    name: &'static str,
    mut connection: MultiplexedConnection,
    channels: Vec<String>,
) -> BoxFuture<'static, Result<(), RedisError>> {
    let mut pipeline = redis::pipe();
    for channel in channels {
        pipeline.cmd(name).arg(channel).ignore();
    }
    async move { pipeline.exec_async(&mut connection).await }.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(channels: &Channels, topic: &str, channel: &str, back: Option<&str>) {
        assert_eq!(channels.of(&topic.try_into().unwrap()), channel);
        assert_eq!(channels.topic(channel.as_bytes()), back);
    }

    #[test]
    fn a_user_topic_cannot_take_the_node_channel() {
        let channels = Channels::new("fanfare:", None, 0xAB);
        check(&channels, "room:a", "fanfare:t:room:a", Some("room:a"));
        check(
            &channels,
            "t:!nodes",
            "fanfare:t:t:!nodes",
            Some("t:!nodes"),
        );
        check(&channels, NODES, "fanfare:!nodes", None);
        assert_eq!(channels.own, "fanfare:!node:00000000000000ab");
        assert_eq!(channels.own, channels.to(To::Node(0xAB)));
        assert_eq!(channels.topic(channels.own.as_bytes()), None);
    }

    #[test]
    fn the_channels_of_a_lane_are_in_the_slot_of_its_tag_whatever_the_topic() {
        let channels = Channels::new("fanfare:", Some("7"), 0xAB);
        let topic = "room:{b}";
        check(&channels, topic, "fanfare:{7}t:room:{b}", Some(topic));
        assert_eq!(channels.own, "fanfare:{7}!node:00000000000000ab");
        assert_eq!(channels.nodes, "fanfare:{7}!nodes");
    }
}
