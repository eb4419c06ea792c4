//! The connect hook of the gateway's own socket: who may come in.
//!
//! A token that is given must be good; without one a client is a guest, where guests are allowed.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::ports::SharedPorts;
use crate::channel::{Accepted, AuthError, ConnectInfo, Params, Ports};
use crate::config::Anonymous;
use crate::transport::{Connect, Denied};

/// The connect hook.
pub(super) struct Door {
    pub(super) ports: SharedPorts,
    pub(super) anonymous: Anonymous,
}

impl Connect for Door {
    fn connect<'a>(
        &'a self,
        params: &'a Params,
        info: &'a ConnectInfo,
    ) -> BoxFuture<'a, Result<Accepted, Denied>> {
        async move {
            let offered = info.auth_token.as_deref().map(String::from_utf8_lossy);
            // An empty parameter is what a client without a token sends.
            let token = offered
                .as_deref()
                .or(params.last("token"))
                .filter(|token| !token.is_empty());
            match (token, self.anonymous) {
                (Some(token), _) => self.admit(token).await,
                (None, Anonymous::Allow) => Ok(Accepted::default()),
                (None, Anonymous::Deny) => Err(Denied::forbidden()),
            }
        }
        .boxed()
    }
}

impl Door {
    async fn admit(&self, token: &str) -> Result<Accepted, Denied> {
        let denied = |error| match error {
            AuthError::Unauthorized => Denied::forbidden(),
            AuthError::Unavailable => Denied::unavailable(),
        };
        let found = self
            .ports
            .authenticate(token.to_owned())
            .await
            .map_err(denied)?;
        Ok(Accepted {
            socket_id: Some(format!("user:{}", found.player.id)),
            player: Some(found.player),
            name: found.name,
            expires_at: found.expires_at,
        })
    }
}
