//! The JSON that clients see: `presence_state` and `presence_diff`.
//!
//! It only writes; no lock is held while a fetch hook runs.

use std::sync::Arc;

use super::entry::without;
use super::room::{Diff, Shown};
use crate::protocol::{Payload, Topic};

/// Adds fields next to `metas`: (topic, key) to a JSON object; anything else adds nothing.
///
/// A field named `metas` is dropped. Called once a key for each listing and each side of a diff.
pub type Fetch = Arc<dyn Fn(&Topic, &str) -> Option<Payload> + Send + Sync>;

/// Bytes to set aside for one meta without its fields.
const META_BYTES_GUESS: usize = 64;

/// Writes a listing: `{"<key>":{"metas":[{…,"phx_ref":"…"}]}}`.
pub(super) fn state(topic: &Topic, list: &[Shown], fetch: Option<&Fetch>) -> Payload {
    let mut out = Vec::with_capacity(guess(list));
    write(topic, list, fetch, &mut out);
    Payload::json(out)
}

/// Writes a diff: `{"joins":{…},"leaves":{…}}`.
pub(super) fn diff(topic: &Topic, diff: &Diff, fetch: Option<&Fetch>) -> Payload {
    let mut out = Vec::with_capacity(guess(&diff.joins) + guess(&diff.leaves) + 32);
    out.extend_from_slice(b"{\"joins\":");
    write(topic, &diff.joins, fetch, &mut out);
    out.extend_from_slice(b",\"leaves\":");
    write(topic, &diff.leaves, fetch, &mut out);
    out.push(b'}');
    Payload::json(out)
}

fn guess(list: &[Shown]) -> usize {
    let fields: usize = list.iter().map(|one| one.entry.meta.as_str().len()).sum();
    fields + list.len() * META_BYTES_GUESS + 2
}

fn write(topic: &Topic, list: &[Shown], fetch: Option<&Fetch>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, metas) in list.chunk_by(|a, b| a.key == b.key).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let key = metas[0].key.as_str();
        serde_json::to_writer(&mut *out, key).expect("text is JSON and memory takes it");
        out.extend_from_slice(b":{\"metas\":[");
        for (index, one) in metas.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            one.entry.write(one.id.node, out);
        }
        out.push(b']');
        if let Some(fetch) = fetch {
            write_fetched(fetch(topic, key), out);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn write_fetched(fetched: Option<Payload>, out: &mut Vec<u8>) {
    let fields = fetched
        .as_ref()
        .and_then(Payload::as_json)
        .and_then(|text| without(text, &["metas"]));
    if let Some(fields) = fields {
        let inner = fields[1..fields.len() - 1].trim();
        if !inner.is_empty() {
            out.push(b',');
            out.extend_from_slice(inner.as_bytes());
        }
    }
}
