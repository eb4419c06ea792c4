//! The parts of a long-poll request: which `token` is the session's and which the user's.
//!
//! It decides from the request's head alone.

use std::net::SocketAddr;

use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::http::request::Parts;

use super::{Session, Token, TokenKey};
use crate::channel::ConnectInfo;
use crate::transport::handshake::{check_origin, connect_info, negotiate, query_pairs, text};
use crate::transport::{Mount, Opening, Refusal};

/// The session token of newer clients; it wins over the query's.
const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");

/// The user's token of clients with `authToken`, raw; on every GET.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-authtoken");

/// A request of an allowed origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// What the connect hook may know.
    pub info: ConnectInfo,
    /// The session that the client has, as far as its token says so, and the token.
    pub session: Option<(Session, String)>,
    /// Whether the client takes frames as JSON objects, not as strings: phoenix.js 1.2.
    pub takes_objects: bool,
    /// The query without the session's token, decoded.
    query: Vec<(String, String)>,
}

impl Asking {
    /// Checks the origin and finds the session.
    ///
    /// A client with a token of its own sends `token` twice: the user's, then the session's. The last one
    /// that is ours is the session's; one that is not is only taken off when an earlier one is left.
    ///
    /// # Errors
    /// [`Refusal`] 403 for a refused origin.
    pub fn read(
        parts: &Parts,
        peer: SocketAddr,
        mount: &Mount,
        key: &TokenKey,
        now_s: u64,
    ) -> Result<Self, Refusal> {
        let mut info = connect_info(parts, peer);
        check_origin(parts, &info, mount)?;
        if mount.auth_token {
            let offered = parts.headers.get(&AUTH_TOKEN);
            info.auth_token = offered.map(|value| value.as_bytes().to_vec());
        }
        let mut query = query_pairs(&info.query);
        let given = text(&parts.headers, &SESSION_TOKEN).map(str::to_owned);
        let in_query = take_token(&mut query, key, now_s, given.is_some());
        let session = given
            .or(in_query)
            .and_then(|token| match key.verify(&token, now_s) {
                Token::Valid(session) => Some((session, token)),
                Token::Expired | Token::Foreign => None,
            });
        let takes_objects = takes_objects(&query, text(&parts.headers, &CONTENT_TYPE));
        Ok(Self {
            info,
            session,
            takes_objects,
            query,
        })
    }
}

/// Recognises phoenix.js up to 1.2: it speaks V1 and sends the type of a body with polls that have none.
///
/// Until 1.3 Phoenix sent a poll's V1 frames as objects, since then as strings. Clients from 1.3 on speak V2;
/// others that speak V1 expect strings and send no such header with a GET.
fn takes_objects(query: &[(String, String)], content_type: Option<&str>) -> bool {
    let version = query.iter().rfind(|(name, _)| name == "vsn");
    version.is_none_or(|(_, version)| version.starts_with("1."))
        && content_type.is_some_and(|kind| kind.starts_with("application/json"))
}

/// Takes the session's token out of a query, so that it is never taken for the user's.
fn take_token(
    query: &mut Vec<(String, String)>,
    key: &TokenKey,
    now_s: u64,
    in_header: bool,
) -> Option<String> {
    let tokens = query.iter().filter(|(name, _)| name == "token").count();
    let last = query.iter().rposition(|(name, _)| name == "token")?;
    let ours = match key.verify(&query[last].1, now_s) {
        Token::Valid(_) | Token::Expired => true,
        Token::Foreign => tokens > 1 && !in_header,
    };
    ours.then(|| query.remove(last).1)
}

/// Checks the version of a client that asks for a new session.
///
/// # Errors
/// [`Refusal`] 403 for a version that is not served.
pub fn open(asking: Asking, variables: Vec<(String, String)>) -> Result<Opening, Refusal> {
    let (serializer, params) = negotiate(asking.query, variables)?;
    Ok(Opening {
        serializer,
        params,
        info: asking.info,
        subprotocol: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Session = Session {
        node: 1,
        worker: 2,
        slot: 3,
        serial: 4,
        secret: 5,
    };

    /// Reads a query in which `<S>` stands for a session's token and `<E>` for an expired one; what is left of
    /// the query's tokens, and whether the query's session was taken.
    fn check(query: &str, in_header: bool, users: &[&str], taken: bool) {
        let key = TokenKey::new("a secret");
        let now_s = 10 * super::super::MAX_AGE_S;
        let query = query
            .replace("<S>", &key.sign(&SESSION, now_s))
            .replace("<E>", &key.sign(&SESSION, 0));
        let mut pairs = query_pairs(&query);
        let found = take_token(&mut pairs, &key, now_s, in_header);
        let valid = |token: String| key.verify(&token, now_s) == Token::Valid(SESSION);
        assert_eq!(found.is_some_and(valid), taken, "{query}");
        let tokens = pairs.iter().filter(|(name, _)| name == "token");
        let left: Vec<_> = tokens.map(|(_, value)| value.as_str()).collect();
        assert_eq!(left, users, "{query}");
    }

    #[test]
    fn the_last_token_is_the_sessions() {
        check("vsn=2.0.0&", false, &[], false);
        check("token=user&vsn=2.0.0&", false, &["user"], false);
        check("vsn=2.0.0&token=<S>", false, &[], true);
        check("token=user&&vsn=2.0.0&token=<S>", false, &["user"], true);
    }

    #[test]
    fn a_dead_session_is_never_the_users_token() {
        check("token=<E>", false, &[], false);
        check("token=user&token=<E>", false, &["user"], false);
        check(
            "token=user&token=of-another-secret",
            false,
            &["user"],
            false,
        );
    }

    #[test]
    fn objects_are_for_v1_polls_that_name_a_type() {
        for (query, kind, expected) in [
            ("vsn=1.0.0", Some("application/json"), true),
            ("", Some("application/json"), true),
            ("vsn=1.0.0", None, false),
            ("vsn=1.0.0", Some("text/plain"), false),
            ("vsn=2.0.0", Some("application/json"), false),
        ] {
            assert_eq!(
                takes_objects(&query_pairs(query), kind),
                expected,
                "{query} {kind:?}"
            );
        }
    }

    #[test]
    fn with_the_header_the_querys_tokens_are_the_users() {
        check("token=user", true, &["user"], false);
        check("token=a&token=b", true, &["a", "b"], false);
        check("token=user&token=<S>", true, &["user"], true);
    }
}
