//! The past of a topic in a join reply: records, position and gaps.
//!
//! Records are embedded as they are written for the live way, byte for byte.

use crate::channel::{Context, Gap, History, Past, Position};
use crate::protocol::{Payload, Reply};

use super::served::Served;

/// Reads what a join gets of the past.
///
/// # Errors
/// The refusal `unavailable`.
pub(super) async fn recall(
    context: &mut Context,
    position: Position,
    served: &Served,
) -> Result<History, Payload> {
    let found = context.history(position, served.history).await;
    found.map_err(|error| Reply::from(error).response)
}

/// A join reply that is being written.
pub(super) struct Response(String);

impl Response {
    /// Starts an object.
    pub(super) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Adds a number.
    pub(super) fn number(mut self, field: &str, number: i64) -> Self {
        self.field(field);
        self.0.push_str(&number.to_string());
        self
    }

    /// Adds a list of records' payloads.
    pub(super) fn records(mut self, field: &str, records: &[Past]) -> Self {
        self.field(field);
        self.0.push('[');
        for (place, record) in records.iter().enumerate() {
            if place > 0 {
                self.0.push(',');
            }
            self.0.push_str(&text(&record.payload));
        }
        self.0.push(']');
        self
    }

    /// Ends with `last_id`, `epoch`, and what was missed.
    ///
    /// `gap` is the first missed range, `{"from": a, "to": b}` and `"reset": true` when the
    /// client's position was void; `gaps` lists all when there are several.
    pub(super) fn end(mut self, history: &History) -> Payload {
        self.field("last_id");
        self.0.push_str(&history.last_id.to_string());
        self.field("epoch");
        let epoch = serde_json::Value::from(history.epoch.as_str());
        self.0.push_str(&epoch.to_string());
        if let Some(first) = history.gaps.first() {
            self.field("gap");
            self.0.push_str(&gap(first).to_string());
        }
        if history.gaps.len() > 1 {
            self.field("gaps");
            let all = history.gaps.iter().map(gap).collect();
            self.0.push_str(&serde_json::Value::Array(all).to_string());
        }
        self.0.push('}');
        Payload::json(self.0)
    }

    /// Starts a field; its name is one of ours and needs no escapes.
    fn field(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }
}

fn gap(gap: &Gap) -> serde_json::Value {
    let mut value = serde_json::json!({ "from": gap.from, "to": gap.to });
    if gap.reset {
        value["reset"] = true.into();
    }
    value
}

/// Returns a record's payload as text; a record's is always JSON.
fn text(payload: &Payload) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(payload.as_json().unwrap_or(b"null"))
}
