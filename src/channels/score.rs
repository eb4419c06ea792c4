//! `score:<game slug>`: the scores of a game, newest sent at a join.
//!
//! It keeps no score itself; players save, guests at most watch.

use std::sync::Arc;

use serde::Deserialize;

use super::admission;
use super::fields::{self, Faults, Raw, refusal, storable};
use super::past::{self, Response};
use super::saving;
use super::served::Served;
use crate::channel::{Body, Channel, Context, JoinResult, Outcome};
use crate::protocol::{Payload, Reply};

/// The channel of a game.
pub(super) struct Score {
    served: Arc<Served>,
    game_id: Option<i64>,
}

#[derive(Deserialize)]
struct SaveScore<'a> {
    #[serde(borrow)]
    player_score: Raw<'a>,
    #[serde(borrow)]
    client_key: Raw<'a>,
}

impl Score {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self {
            served,
            game_id: None,
        }
    }

    async fn find_game(&self, context: &Context) -> Result<i64, Payload> {
        let slug = self.served.name(context.topic());
        if slug.is_empty() || !storable(slug) {
            return Err(refusal("unknown game"));
        }
        let create = self.served.auto_create;
        let found = context.ports().game(slug.to_owned(), create).await;
        let found = found.map_err(|error| Reply::from(error).response)?;
        found.map_or_else(|| Err(refusal("unknown game")), |game| Ok(game.id))
    }

    fn save_score(&self, context: &mut Context, payload: &Payload) -> Result<Outcome, Payload> {
        let (Some(_), Some(game_id)) = (context.player(), self.game_id) else {
            return Err(refusal("unauthorized"));
        };
        let sent: SaveScore<'_> = fields::object(payload)?;
        let mut faults = Faults::default();
        let player_score = faults.integer("player_score", sent.player_score);
        let client_key = faults.client_key(sent.client_key, true);
        let body = faults.settle(Body::Score {
            game_id,
            player_score,
        })?;
        Ok(saving::save(context, &self.served, body, client_key))
    }
}

impl Channel for Score {
    /// Replies `{game_id, scores, last_id, epoch, gap?, gaps?}`.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let served = &self.served;
        let position = admission::admit(context, &payload, served).await?;
        let game_id = self.find_game(context).await?;
        let history = past::recall(context, position, served).await?;
        admission::appear(context, served, &[]).await?;
        self.game_id = Some(game_id);
        Ok(Response::new()
            .number("game_id", game_id)
            .records("scores", &history.records)
            .end(&history))
    }

    /// Takes `save_score {player_score, client_key?}` from players.
    async fn handle_in(&mut self, context: &mut Context, event: &str, sent: Payload) -> Outcome {
        match event {
            "save_score" => saving::settle(self.save_score(context, &sent)),
            _ => saving::unknown_event(),
        }
    }
}
