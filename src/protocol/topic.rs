//! A topic: the name of a stream of messages.
//!
//! A `Topic` is checked once, at the edge, and cannot be malformed afterwards.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest topic and event name, in bytes, unless configured otherwise (`limits.topic_bytes`).
pub const TOPIC_BYTES_DEFAULT: usize = 1024;

/// A topic name such as `room:lobby`: not empty, shared, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// Why a text is not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicError {
    /// The text is empty.
    Empty,
    /// The text is longer than the limit, in bytes.
    TooLong,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic cannot be empty",
            Self::TooLong => "the topic is too long",
        })
    }
}

impl std::error::Error for TopicError {}

impl Topic {
    /// Checks a text against a length limit in bytes.
    ///
    /// # Errors
    /// [`TopicError`] when the text is empty or longer than `bytes_max`.
    pub fn parse(text: &str, bytes_max: usize) -> Result<Self, TopicError> {
        match text.len() {
            0 => Err(TopicError::Empty),
            n if n > bytes_max => Err(TopicError::TooLong),
            _ => Ok(Self(Arc::from(text))),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what follows `prefix`, when the topic starts with it.
    ///
    /// # Examples
    /// ```
    /// use fanfare::protocol::Topic;
    /// let topic: Topic = "score:chess".try_into().unwrap();
    /// assert_eq!(topic.after("score:"), Some("chess"));
    /// ```
    pub fn after(&self, prefix: &str) -> Option<&str> {
        self.0.strip_prefix(prefix)
    }
}

impl TryFrom<&str> for Topic {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, TopicError> {
        Self::parse(text, TOPIC_BYTES_DEFAULT)
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
