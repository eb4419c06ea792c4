//! Nodes that know each other: a Redis and so many of them.
//!
//! They share no database: nothing is stored in what is measured with them.

use std::io;

use super::node::{Node, NodePlan, Redis};
use super::process::ANY_CORE;
use super::settings::Settings;

/// A cluster.
pub struct Fleet {
    /// The nodes.
    pub nodes: Vec<Node>,
    redis: Redis,
}

impl Fleet {
    /// Starts a Redis and nodes with so many workers each.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(settings: &Settings, nodes: usize, workers: usize) -> io::Result<Self> {
        let redis = Redis::start()?;
        let plan = NodePlan {
            pin: ANY_CORE,
            workers,
            redis_url: Some(redis.url.clone()),
            ..NodePlan::default()
        };
        let nodes = (0..nodes).map(|_| Node::start(settings, &plan));
        Ok(Self {
            nodes: nodes.collect::<io::Result<_>>()?,
            redis,
        })
    }

    /// Returns where clients connect, with commas between.
    pub fn addresses(&self) -> String {
        let all = self.nodes.iter().map(|node| node.clients.to_string());
        all.collect::<Vec<_>>().join(",")
    }

    /// Returns the processes of nodes and Redis, with commas between.
    pub fn pids(&self) -> String {
        let nodes = self.nodes.iter().map(Node::pid);
        let all = nodes.chain([self.redis.pid()]).map(|pid| pid.to_string());
        all.collect::<Vec<_>>().join(",")
    }
}
