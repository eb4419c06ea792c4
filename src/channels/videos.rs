//! `videos:<video id>`: the annotations of a video, sent at a join by id.
//!
//! It keeps no annotation itself; players annotate, guests at most watch.

use std::sync::Arc;

use serde::Deserialize;

use super::admission;
use super::fields::{self, Faults, Raw, TEXT_BYTES_MAX, refusal};
use super::past::{self, Response};
use super::saving;
use super::served::Served;
use crate::channel::{Body, Channel, Context, JoinResult, Outcome};
use crate::protocol::{Payload, Reply};

/// The channel of a video.
pub(super) struct Videos {
    served: Arc<Served>,
    video_id: Option<i64>,
}

#[derive(Deserialize)]
struct NewAnnotation<'a> {
    #[serde(borrow)]
    body: Raw<'a>,
    #[serde(borrow)]
    at: Raw<'a>,
    #[serde(borrow)]
    client_key: Raw<'a>,
}

impl Videos {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self {
            served,
            video_id: None,
        }
    }

    async fn find_video(&self, context: &Context) -> Result<i64, Payload> {
        let unknown = || refusal("unknown video");
        let id = video_id(self.served.name(context.topic())).ok_or_else(unknown)?;
        let found = context.ports().video(id, self.served.auto_create).await;
        let found = found.map_err(|error| Reply::from(error).response)?;
        found.map(|video| video.id).ok_or_else(unknown)
    }

    fn new_annotation(&self, context: &mut Context, payload: &Payload) -> Result<Outcome, Payload> {
        let (Some(_), Some(video_id)) = (context.player(), self.video_id) else {
            return Err(refusal("unauthorized"));
        };
        let sent: NewAnnotation<'_> = fields::object(payload)?;
        let mut faults = Faults::default();
        let body = faults.text("body", sent.body, TEXT_BYTES_MAX);
        let at = faults.integer("at", sent.at);
        let client_key = faults.client_key(sent.client_key, true);
        let body = faults.settle(Body::Annotation { video_id, body, at })?;
        Ok(saving::save(context, &self.served, body, client_key))
    }
}

/// Reads a video's id in its one spelling, so that a video has one topic: `7`, never `07` or `+7`.
fn video_id(text: &str) -> Option<i64> {
    let id = text.parse::<i64>().ok()?;
    (id >= 0 && id.to_string() == text).then_some(id)
}

impl Channel for Videos {
    /// Replies `{annotations, last_id, epoch, gap?, gaps?}`.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let served = &self.served;
        let position = admission::admit(context, &payload, served).await?;
        let video_id = self.find_video(context).await?;
        let history = past::recall(context, position, served).await?;
        admission::appear(context, served, &[]).await?;
        self.video_id = Some(video_id);
        Ok(Response::new()
            .records("annotations", &history.records)
            .end(&history))
    }

    /// Takes `new_annotation {body, at, client_key?}` from players; `at` in milliseconds.
    async fn handle_in(&mut self, context: &mut Context, event: &str, sent: Payload) -> Outcome {
        match event {
            "new_annotation" => saving::settle(self.new_annotation(context, &sent)),
            _ => saving::unknown_event(),
        }
    }
}
