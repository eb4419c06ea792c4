//! What a generator is told to do.
//!
//! It only holds the numbers; nothing here opens or measures anything.

use std::net::{IpAddr, SocketAddr};

use clap::Args;

use crate::dialect::Dialect;

/// Opens sockets, joins topics, publishes, and prints one line of JSON.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// What the server speaks.
    #[arg(long, value_enum, default_value = "phoenix")]
    pub dialect: Dialect,
    /// Where it listens; sockets go round robin over several (nodes of one cluster).
    #[arg(long, default_value = "127.0.0.1:4000", value_delimiter = ',')]
    pub addr: Vec<SocketAddr>,
    /// The first address that sockets come from; each further 8,000 come from the next. Needed beyond 28,000
    /// sockets to one port; meanwhile few ports are left to programs that choose no address.
    #[arg(long)]
    pub from: Option<IpAddr>,
    /// How many sockets.
    #[arg(long, default_value_t = 1_000)]
    pub sockets: usize,
    /// How many topics; sockets are spread evenly over them.
    #[arg(long, default_value_t = 1)]
    pub topics: usize,
    /// The topic; with several, their number comes behind it.
    #[arg(long, default_value = "bench:")]
    pub topic: String,
    /// Topics besides, that each socket joins and has for itself.
    #[arg(long, default_value_t = 0)]
    pub own_topics: usize,
    /// The event of a publish.
    #[arg(long, default_value = "m")]
    pub event: String,
    /// The payload of a publish; MSG becomes a text with a stamp.
    #[arg(long, default_value = r#"{"message":"MSG"}"#)]
    pub payload: String,
    /// The payload of a join.
    #[arg(long, default_value = "{}")]
    pub join_payload: String,
    /// More of the query, such as token=….
    #[arg(long, default_value = "")]
    pub query: String,
    /// Bytes of the stamped text.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// Publishes a second over all topics; 0: none.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Publishes of the rate after which it stops; 0: when the time is over.
    #[arg(long, default_value_t = 0)]
    pub publishes: u64,
    /// Closed loop: publishes of a topic that are not delivered to everybody yet; instead of a rate.
    #[arg(long, default_value_t = 0)]
    pub window: u64,
    /// Closed loop: pushes of each socket that are not answered yet; instead of a rate.
    #[arg(long, default_value_t = 0)]
    pub in_flight: u64,
    /// Publishes to each topic by other generators that are to arrive here too.
    #[arg(long, default_value_t = 0)]
    pub foreign: u64,
    /// Seconds between two heartbeats of a socket; 0: none.
    #[arg(long, default_value_t = 0.0)]
    pub heartbeat: f64,
    /// Seconds to publish and beat.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Idle seconds after the joins.
    #[arg(long, default_value_t = 1.0)]
    pub settle: f64,
    /// Sockets that are being opened at once.
    #[arg(long, default_value_t = 200)]
    pub opening: usize,
    /// The first sockets, that never read once they have joined: slow consumers.
    #[arg(long, default_value_t = 0)]
    pub stalled: usize,
    /// Says `ready` once all have joined, and waits for a line on standard input.
    #[arg(long)]
    pub gate: bool,
    /// At the end all sockets close and come back at once, under the stock client's backoff.
    #[arg(long)]
    pub rejoin: bool,
    /// At the end all sockets close; memory is read again so many seconds later.
    #[arg(long)]
    pub leave: Option<f64>,
    /// The server's processes, for CPU and memory; their children count too.
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
}

impl Plan {
    /// Returns the name of a shared topic.
    pub fn topic(&self, number: usize) -> String {
        match self.topics {
            1 => self.topic.clone(),
            _ => format!("{}{number}", self.topic),
        }
    }

    /// Returns the name of a socket's own topic.
    pub fn own_topic(&self, socket: usize, number: usize) -> String {
        format!("{}own:{socket}:{number}", self.topic)
    }
}
