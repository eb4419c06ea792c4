//! The way into a channel: the join payload, its token, guests, and presence.
//!
//! It never reads a record; a join that is refused here has asked for nothing but its token.

use serde::Deserialize;
use uuid::Uuid;

use super::fields::{self, Faults, Raw, refusal, storable};
use super::served::Served;
use crate::channel::{AuthError, Context, Past, Position};
use crate::clock;
use crate::protocol::{Payload, Reply};

/// The name of a guest who gave none.
pub(super) const GUEST: &str = "guest";

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    last_seen_id: Raw<'a>,
    #[serde(borrow)]
    last_seen_epoch: Raw<'a>,
    #[serde(borrow)]
    last_seen_uid: Raw<'a>,
    #[serde(borrow)]
    token: Raw<'a>,
}

/// Checks a join payload and who joins; tells where the client stands.
///
/// The payload is an object: `{last_seen_id?: 0 to 2^53 - 1, last_seen_epoch?: string,
/// last_seen_uid?: UUID, token?: string}`; a token speaks for this channel only.
///
/// # Errors
/// The refusal: `invalid`, `unauthorized`, or `unavailable` when the token's player can't be loaded.
pub(super) async fn admit(
    context: &mut Context,
    payload: &Payload,
    served: &Served,
) -> Result<Position, Payload> {
    let (position, token) = read(payload)?;
    if let Some(token) = token {
        context
            .authenticate(&token)
            .await
            .map_err(|error| match error {
                AuthError::Unauthorized => refusal("unauthorized"),
                AuthError::Unavailable => refusal("unavailable"),
            })?;
    }
    match served.anonymous || context.player().is_some() {
        true => Ok(position),
        false => Err(refusal("unauthorized")),
    }
}

fn read(payload: &Payload) -> Result<(Position, Option<String>), Payload> {
    let asked: Asked<'_> = fields::object(payload)?;
    let mut faults = Faults::default();
    let position = Position {
        last_seen_id: faults.optional_integer("last_seen_id", asked.last_seen_id),
        last_seen_epoch: faults.optional_string("last_seen_epoch", asked.last_seen_epoch),
        last_seen_uid: faults.optional_uuid("last_seen_uid", asked.last_seen_uid),
    };
    let token = faults.optional_string("token", asked.token);
    faults.settle((position, token))
}

/// Returns the name shown for a player: the token's, else the user name; `None` for a guest.
pub(super) fn player_name(context: &Context) -> Option<String> {
    let player = context.player()?;
    // A token's name has been near no store yet, so it may hold what a store can't.
    let given = context.token_name();
    let given = given.filter(|name| !name.trim().is_empty() && storable(name));
    Some(given.map_or_else(|| player.username.clone(), |name| String::from(&*name)))
}

/// Tracks the client where the declaration has presence, and pushes `presence_state`.
///
/// The key is the player's id, or `guest:` and 12 random hexadecimal digits; the meta is
/// `{"name": string, "online_at": seconds since the Unix epoch}`. It is the last thing of a join
/// that may fail, so that a refused one is never seen, and `first` is pushed before the state.
///
/// # Errors
/// The refusal, when the topic can't be subscribed or the key can't be tracked.
pub(super) async fn appear(
    context: &mut Context,
    served: &Served,
    first: &[Past],
) -> Result<(), Payload> {
    if served.presence {
        track(context).await?;
    }
    for record in first {
        context.push(&record.event, record.payload.clone());
    }
    if served.presence {
        let state = context.membership().presences();
        context.push("presence_state", state);
    }
    Ok(())
}

async fn track(context: &Context) -> Result<(), Payload> {
    let key = match context.player() {
        Some(player) => player.id.clone(),
        None => format!("guest:{:.12}", Uuid::new_v4().simple().to_string()),
    };
    let name = player_name(context).unwrap_or_else(|| GUEST.to_owned());
    let meta = serde_json::json!({ "name": name, "online_at": clock::unix_s() });
    let membership = context.membership();
    // Subscribed first: no change may fall between the state and the first diff.
    let subscribed = membership.subscribe().await;
    subscribed.map_err(|error| Reply::from(error).response)?;
    let tracked = membership.track(&key, &Payload::from_value(&meta));
    tracked.map_err(|error| refusal(error.reason()))
}
