//! The dialects that servers speak: what a client says, and what it hears.
//!
//! Pure: text in, text out. It knows no connection and counts nothing.

use clap::ValueEnum;
use memchr::memmem::find;

use crate::stamp;

/// A protocol above WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// Phoenix Channels, version 2 of the serializer.
    Phoenix,
    /// None: each text message goes to everybody on the same path, as `floor` does.
    Raw,
    /// Socket.IO 4, with a server that knows `join` and `msg`.
    Socketio,
    /// Centrifugo's JSON protocol.
    Centrifugo,
}

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The TCP connection is being made.
    Connecting,
    /// The upgrade is asked for.
    Upgrading,
    /// The server's greeting is waited for.
    Greeting,
    /// The answers to joins are waited for.
    Joining,
    /// Joined everywhere.
    Ready,
    /// Refused, closed, or never opened.
    Dead,
}

/// What a message means to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something that was published, with its stamp in nanoseconds.
    Delivery(u64),
    /// The answer to a push or heartbeat that was stamped so.
    Answer(u64),
    /// One of the joins is answered.
    Joined,
    /// The server is ready to be joined.
    Greeted,
    /// The server asks for a sign of life: answer with this.
    Alive(&'static str),
    /// Something was refused or has crashed.
    Refused,
    /// Anything else.
    Nothing,
}

impl Dialect {
    /// Returns the path that a socket is opened on.
    pub fn path(self, topic: &str, query: &str) -> String {
        match self {
            Self::Phoenix if query.is_empty() => String::from("/socket/websocket?vsn=2.0.0"),
            Self::Phoenix => format!("/socket/websocket?vsn=2.0.0&{query}"),
            Self::Raw => format!("/{topic}"),
            Self::Socketio => String::from("/socket.io/?EIO=4&transport=websocket"),
            Self::Centrifugo => String::from("/connection/websocket"),
        }
    }

    /// Says what follows an upgrade.
    pub fn after_upgrade(self) -> State {
        match self {
            Self::Phoenix => State::Joining,
            Self::Raw => State::Ready,
            Self::Socketio | Self::Centrifugo => State::Greeting,
        }
    }

    /// Returns what is said before the server greets; `None` when the server is first.
    pub fn greeting(self) -> Option<&'static str> {
        match self {
            Self::Centrifugo => Some(r#"{"id":1,"connect":{}}"#),
            Self::Phoenix | Self::Raw | Self::Socketio => None,
        }
    }

    /// Returns the `nth` join of a client, from 1; `None` where none is needed.
    pub fn join(self, nth: usize, topic: &str, payload: &str) -> Option<String> {
        match self {
            Self::Phoenix => Some(format!(
                r#"["{nth}","{nth}","{topic}","phx_join",{payload}]"#
            )),
            Self::Raw => None,
            Self::Socketio => Some(format!(r#"42["join","{topic}"]"#)),
            Self::Centrifugo => Some(format!(r#"{{"id":2,"subscribe":{{"channel":"{topic}"}}}}"#)),
        }
    }

    /// Returns a push of a payload to the topic of the first join; its ref is the time.
    pub fn publish(self, topic: &str, event: &str, payload: &str, now_ns: u64) -> String {
        match self {
            Self::Phoenix => format!(r#"["1","{now_ns}","{topic}","{event}",{payload}]"#),
            Self::Raw => payload.to_owned(),
            Self::Socketio => format!(r#"42["msg","{topic}",{payload}]"#),
            Self::Centrifugo => {
                format!(r#"{{"id":9,"publish":{{"channel":"{topic}","data":{payload}}}}}"#)
            }
        }
    }

    /// Returns a client's own sign of life, which the server answers; `None` where it has none.
    pub fn heartbeat(self, now_ns: u64) -> Option<String> {
        match self {
            Self::Phoenix => Some(format!(r#"[null,"{now_ns}","phoenix","heartbeat",{{}}]"#)),
            Self::Raw | Self::Socketio | Self::Centrifugo => None,
        }
    }

    /// Understands a text message.
    pub fn hear(self, state: State, text: &[u8]) -> Heard {
        if state == State::Ready
            && let Some(stamped) = stamp::find(text)
        {
            return Heard::Delivery(stamped);
        }
        match self {
            Self::Phoenix => hear_phoenix(state, text),
            Self::Raw => Heard::Nothing,
            Self::Socketio => hear_socketio(state, text),
            Self::Centrifugo => hear_centrifugo(state, text),
        }
    }
}

fn hear_phoenix(state: State, text: &[u8]) -> Heard {
    let has = |part: &str| find(text, part.as_bytes()).is_some();
    if has(r#""phx_error""#) || has(r#""phx_close""#) {
        return Heard::Refused;
    }
    if !has(r#""phx_reply""#) {
        return Heard::Nothing;
    }
    if !has(r#""status":"ok""#) {
        return Heard::Refused;
    }
    if state == State::Joining {
        return Heard::Joined;
    }
    // ["join_ref","ref",… or [null,"ref",…
    let quoted = if text.starts_with(b"[null") { 1 } else { 3 };
    let reference = text.split(|byte| *byte == b'"').nth(quoted);
    reference
        .and_then(stamp::number)
        .map_or(Heard::Nothing, Heard::Answer)
}

fn hear_socketio(state: State, text: &[u8]) -> Heard {
    match text {
        [b'0', ..] => Heard::Alive("40"),
        [b'2'] => Heard::Alive("3"),
        [b'4', b'0', ..] => Heard::Greeted,
        _ if state == State::Joining && find(text, b"joined").is_some() => Heard::Joined,
        _ => Heard::Nothing,
    }
}

fn hear_centrifugo(state: State, text: &[u8]) -> Heard {
    match state {
        State::Greeting => Heard::Greeted,
        State::Joining if find(text, br#""id":2"#).is_some() => Heard::Joined,
        _ if text == b"{}" => Heard::Alive("{}"),
        _ if find(text, br#""error""#).is_some() => Heard::Refused,
        _ => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, state: State, text: &str, heard: Heard) {
        assert_eq!(dialect.hear(state, text.as_bytes()), heard, "{text}");
    }

    #[test]
    fn phoenix_is_understood() {
        let hear = |state, text, heard| check(Dialect::Phoenix, state, text, heard);
        let ok = r#"["1","1","bench:0","phx_reply",{"status":"ok","response":{}}]"#;
        hear(State::Joining, ok, Heard::Joined);
        let error = r#"["1","1","b","phx_reply",{"status":"error","response":{}}]"#;
        hear(State::Joining, error, Heard::Refused);
        let pushed = r#"["1","77","b","phx_reply",{"status":"ok","response":{"id":1}}]"#;
        hear(State::Ready, pushed, Heard::Answer(77));
        let beat = r#"[null,"78","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
        hear(State::Ready, beat, Heard::Answer(78));
        hear(
            State::Ready,
            r#"["1",null,"b","phx_error",{}]"#,
            Heard::Refused,
        );
        let published = format!(r#"[null,null,"b","m",{{"x":"{}"}}]"#, stamp::write(5, 0));
        hear(State::Ready, &published, Heard::Delivery(5));
    }

    #[test]
    fn the_others_are_understood() {
        check(
            Dialect::Socketio,
            State::Greeting,
            "0{}",
            Heard::Alive("40"),
        );
        check(Dialect::Socketio, State::Greeting, "40{}", Heard::Greeted);
        check(Dialect::Socketio, State::Ready, "2", Heard::Alive("3"));
        let joined = r#"42["joined"]"#;
        check(Dialect::Socketio, State::Joining, joined, Heard::Joined);
        check(Dialect::Centrifugo, State::Greeting, "{}", Heard::Greeted);
        check(Dialect::Centrifugo, State::Ready, "{}", Heard::Alive("{}"));
        let subscribed = r#"{"id":2,"subscribe":{}}"#;
        check(
            Dialect::Centrifugo,
            State::Joining,
            subscribed,
            Heard::Joined,
        );
        check(Dialect::Raw, State::Ready, "hello", Heard::Nothing);
    }

    #[test]
    fn what_is_pushed_comes_back_as_a_delivery() {
        for dialect in Dialect::value_variants() {
            let payload = format!(r#"{{"message":"{}"}}"#, stamp::write(9, 64));
            let text = dialect.publish("t", "m", &payload, 9);
            check(*dialect, State::Ready, &text, Heard::Delivery(9));
        }
    }
}
