//! From bytes to messages: mounts, origins, the WebSocket handshake and long-poll requests.
//!
//! It does no I/O of its own; the worker reads and writes.

mod config;
mod forwarded;
mod handshake;
pub mod longpoll;
mod mount;
pub mod origin;
mod proxy_header;
mod websocket;

pub use config::Config;
pub use forwarded::{Network, NotNetwork, client_address, counted_as, is_trusted};
pub use handshake::{Opening, Refusal, check_origin, connect_info, open, upgrade};
pub use mount::{Connect, Denied, Mount, Open, PathPattern};
pub use origin::{OriginPolicy, RequestOrigin};
pub use proxy_header::{NotProxyHeader, PROXY_HEADER_BYTES_MAX, ProxyHeader, read_proxy_header};
pub use websocket::{Incoming, WebSocketReader};
