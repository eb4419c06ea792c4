//! The connect hook: counts calls, denies on demand, gives sockets an id.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use fanfare::channel::{Accepted, ConnectInfo, Params};
use fanfare::transport::{Connect, Denied};
use futures_util::future::BoxFuture;

/// Calls by the `trace` parameter, on this node.
static CALLS: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

/// The connect hook of every mount.
pub struct Door;

impl Connect for Door {
    fn connect<'a>(
        &'a self,
        params: &'a Params,
        _: &'a ConnectInfo,
    ) -> BoxFuture<'a, Result<Accepted, Denied>> {
        Box::pin(std::future::ready(decide(params)))
    }
}

fn decide(params: &Params) -> Result<Accepted, Denied> {
    if let Some(trace) = params.last("trace") {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(trace.to_owned()).or_default() += 1;
    }
    if params.last("reject") == Some("true") {
        return Err(Denied::forbidden());
    }
    if params.last("ratelimit") == Some("true") {
        return Err(Denied {
            status: 429,
            body: String::from("Too many requests"),
        });
    }
    Ok(Accepted {
        socket_id: params
            .last("user_id")
            .map(|user| format!("user_sockets:{user}")),
        ..Accepted::default()
    })
}

/// Returns how often the hook was called with a `trace`.
pub fn calls(trace: &str) -> u64 {
    let calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    calls.get(trace).copied().unwrap_or(0)
}
