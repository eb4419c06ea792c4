//! The manual, page by page: what Fanfare promises, speaks, needs, and why.
//!
//! It holds no code; the pages are the Markdown files beside it, and tests keep them true.

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("channels.md")]
pub mod channels {}

#[doc = include_str!("protocol.md")]
pub mod protocol {}

#[doc = include_str!("tokens.md")]
pub mod tokens {}

#[doc = include_str!("settings.md")]
pub mod settings {}

#[doc = include_str!("operators.md")]
pub mod operators {}

#[doc = include_str!("scaling.md")]
pub mod scaling {}

#[doc = include_str!("runbook.md")]
pub mod runbook {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

/// Choices that would surprise a reader: context, choice, cost, when to look again.
pub mod decisions {
    #[doc = include_str!("decisions/0001-player-ids-are-text.md")]
    pub mod player_ids_are_text {}

    #[doc = include_str!("decisions/0002-payloads-are-stored-as-json-text.md")]
    pub mod payloads_are_stored_as_json_text {}

    #[doc = include_str!("decisions/0003-redis-resp3-needs-redis-6.md")]
    pub mod redis_resp3_needs_redis_6 {}

    #[doc = include_str!("decisions/0004-one-control-thread.md")]
    pub mod one_control_thread {}

    #[doc = include_str!("decisions/0005-v1-close-carries-the-joins-ref.md")]
    pub mod v1_close_carries_the_joins_ref {}

    #[doc = include_str!("decisions/0006-a-cluster-has-lanes.md")]
    pub mod a_cluster_has_lanes {}

    #[doc = include_str!("decisions/0007-we-read-websocket-frames-ourselves.md")]
    pub mod we_read_websocket_frames_ourselves {}

    #[doc = include_str!("decisions/0008-new-records-are-not-looked-up.md")]
    pub mod new_records_are_not_looked_up {}
}
