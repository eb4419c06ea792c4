//! The token that a channel has of its own, and how a client renews a token in place.
//!
//! It verifies nothing; the node does. What ends a channel or a socket in time is the worker's.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;

use super::{AuthError, Authenticated, Context, Player};
use crate::protocol::{Payload, Reply};

/// Whom a verified token speaks for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) player: Rc<Player>,
    pub(crate) name: Option<Rc<str>>,
    pub(crate) expires_at: Option<u64>,
}

impl From<Authenticated> for Token {
    fn from(found: Authenticated) -> Self {
        Self {
            player: Rc::new(found.player),
            name: found.name.map(Rc::from),
            expires_at: found.expires_at,
        }
    }
}

/// The place of a channel's own token, which its join payload brought; most channels have none.
///
/// Shared by the context, wherever its turn has taken it, and the socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnToken(Rc<RefCell<Option<Token>>>);

impl OwnToken {
    pub(crate) fn token(&self) -> Option<Token> {
        self.0.borrow().clone()
    }

    pub(crate) fn set(&self, token: Token) {
        self.0.replace(Some(token));
    }

    /// Replaces the copy of the player, when it is the same one.
    pub(crate) fn refresh(&self, fresh: &Player) {
        if let Some(token) = self.0.borrow_mut().as_mut()
            && token.player.id == fresh.id
        {
            token.player = Rc::new(fresh.clone());
        }
    }

    /// Says whether there is a token that has ended.
    pub(crate) fn has_ended(&self, now_s: u64) -> bool {
        let token = self.0.borrow();
        let end = token.as_ref().and_then(|token| token.expires_at);
        end.is_some_and(|end| end <= now_s)
    }
}

/// Answers `access_token {"token": …}` (or `{"access_token": …}`): `{}`, or why nothing was changed.
pub(super) async fn renew(context: &mut Context, payload: &Payload) -> Reply {
    let Some(token) = asked(payload) else {
        return Reply::error(Payload::from_value(&serde_json::json!({
            "reason": "invalid",
            "errors": {"token": "must be a string"},
        })));
    };
    match context.renew(token).await {
        Ok(()) => Reply::ok_empty(),
        Err(AuthError::Unauthorized) => Reply::reason("unauthorized"),
        Err(AuthError::Unavailable) => Reply::reason("unavailable"),
    }
}

fn asked(payload: &Payload) -> Option<String> {
    let mut fields: Value = serde_json::from_slice(payload.as_json()?).ok()?;
    let found = ["token", "access_token"]
        .into_iter()
        .find_map(|name| Some(fields.get_mut(name)?.take()));
    match found? {
        Value::String(token) => Some(token),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}
