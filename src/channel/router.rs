//! From a topic to the channel that serves it: exact names and prefixes, first match wins.
//!
//! It makes channels; it keeps none.

use std::fmt;
use std::sync::Arc;

use super::Channel;
use super::behaviour::AnyChannel;
use crate::protocol::Topic;

/// A topic pattern: an exact name, or a prefix ending in `*`. Case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This topic only.
    Exact(String),
    /// Every topic that starts so.
    Prefix(String),
}

/// A `*` that is not at the end, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError(String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad topic pattern {:?}: a name, or a prefix ending in *",
            self.0
        )
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it is empty or has a `*` before its end.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (prefix, wild) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if text.is_empty() || prefix.contains('*') {
            return Err(PatternError(text.to_owned()));
        }
        Ok(match wild {
            true => Self::Prefix(prefix.to_owned()),
            false => Self::Exact(prefix.to_owned()),
        })
    }

    /// Says whether a topic fits.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => name == topic,
            Self::Prefix(prefix) => topic.starts_with(prefix.as_str()),
        }
    }
}

type Factory = Arc<dyn Fn() -> Box<dyn AnyChannel> + Send + Sync>;

struct Route {
    pattern: Pattern,
    kind: &'static str,
    make: Factory,
}

/// The routes of a socket, in the order they were declared.
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
}

impl Router {
    /// Starts without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route: a pattern, the kind that metrics name, and how to make its channel.
    ///
    /// # Errors
    /// [`PatternError`] for a bad pattern.
    pub fn channel<C: Channel>(
        mut self,
        pattern: &str,
        kind: &'static str,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Result<Self, PatternError> {
        self.routes.push(Route {
            pattern: Pattern::parse(pattern)?,
            kind,
            make: Arc::new(move || Box::new(make())),
        });
        Ok(self)
    }

    /// Makes the channel of a topic and names its kind; `None` when no route matches.
    pub(crate) fn make(&self, topic: &Topic) -> Option<(&'static str, Box<dyn AnyChannel>)> {
        let route = self
            .routes
            .iter()
            .find(|route| route.pattern.matches(topic.as_str()))?;
        Some((route.kind, (route.make)()))
    }

    /// Says whether some route matches.
    pub fn serves(&self, topic: &str) -> bool {
        self.routes.iter().any(|route| route.pattern.matches(topic))
    }

    /// Lists the kinds, for metrics.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.routes.iter().map(|route| route.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_phoenix_does() {
        for (pattern, topic, fits) in [
            ("room:*", "room:lobby", true),
            ("room:*", "room:", true),
            ("room:*", "Room:lobby", false),
            ("food*", "food:1", true),
            ("top", "top", true),
            ("top", "topic", false),
            ("*", "anything", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(topic),
                fits,
                "{pattern} {topic}"
            );
        }
        for bad in ["", "a*b", "**"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
