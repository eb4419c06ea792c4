//! Every reason for which the server closes a connection, in one table.
//!
//! Never 1000: clients of 1.6.3 to 1.8.15 don't come back after it.

/// Why the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// 1001: nothing was received for `limits.idle_seconds`.
    Idle,
    /// 1001: a disconnect by socket id.
    Disconnected,
    /// 1002: the peer broke RFC 6455.
    Protocol,
    /// 1007: a text message was not UTF-8.
    NotUtf8,
    /// 1008: ten malformed messages.
    Malformed,
    /// 1008: the message rate limit was exceeded for long.
    RateLimited,
    /// 1008: the token has expired.
    TokenExpired,
    /// 1009: a frame or message above its limit.
    TooBig,
    /// 1011: a fault of the gateway.
    Internal,
    /// 1012: the node is going away; come back.
    Restart,
    /// 1013: the client reads too slowly, its outbox is full.
    Slow,
}

impl CloseReason {
    /// Every reason, for tables of metrics.
    pub const ALL: [CloseReason; 11] = [
        Self::Idle,
        Self::Disconnected,
        Self::Protocol,
        Self::NotUtf8,
        Self::Malformed,
        Self::RateLimited,
        Self::TokenExpired,
        Self::TooBig,
        Self::Internal,
        Self::Restart,
        Self::Slow,
    ];

    /// Returns the close code (RFC 6455, section 7.4.1, and the IANA registry).
    pub fn code(self) -> u16 {
        match self {
            Self::Idle | Self::Disconnected => 1001,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::Malformed | Self::RateLimited | Self::TokenExpired => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Restart => 1012,
            Self::Slow => 1013,
        }
    }

    /// Returns the text that goes with the code, at most 123 bytes.
    pub fn text(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Disconnected => "disconnected",
            Self::Protocol => "protocol error",
            Self::NotUtf8 => "text is not utf-8",
            Self::Malformed => "too many malformed messages",
            Self::RateLimited => "rate limited",
            Self::TokenExpired => "token expired",
            Self::TooBig => "message too big",
            Self::Internal => "internal error",
            Self::Restart => "service restart",
            Self::Slow => "too slow",
        }
    }
}
