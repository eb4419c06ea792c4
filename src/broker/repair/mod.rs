//! Finding and filling holes: what makes the broker reliable although Redis pub/sub is not.
//!
//! Pure: two state machines, one for what a node publishes and one for what it receives. They never do I/O.
//!
//! A publisher numbers its letters, per topic, and keeps the newest in a ring. A receiver that sees a hole holds
//! back what comes after it and asks the origin. A lost last letter is found by announcements. After every
//! subscription all living origins are asked where they stand: so there is a baseline, and what was published
//! after the subscription was sent is not missed, even when nothing of it arrives.

mod chain;
mod holes;
mod map;
pub mod message;
mod origins;
pub mod published;
pub mod reliability;
pub mod ring;
mod rounds;
#[cfg(test)]
mod simulation;
mod subscription;

pub use chain::Told;
pub use message::Message;
pub use published::Published;
pub use reliability::{Reliability, To};
