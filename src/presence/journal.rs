//! What this node still has to tell the others: changes, repeats, snapshots, heartbeats.
//!
//! It numbers and cuts messages; it never looks at what other nodes hold.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::gossip::{Change, END, FRAME_BYTES, Gossip};
use super::local::Table;

/// Bytes of sent changes that are kept to be repeated; older ones need a snapshot.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Messages of a snapshot in one go; the rest waits for the next, so that the broker is not flooded.
const SNAPSHOT_MESSAGES_MAX: usize = 4;

/// The outgoing side of a node.
pub(super) struct Journal {
    node: u64,
    message_bytes_max: usize,
    /// The presences that changed since the last delta, with the version of their last change.
    unsent: BTreeMap<u64, u64>,
    sent: Sent,
    /// The number from which the snapshot under way goes on.
    cursor: Option<u64>,
    /// A snapshot was asked for when one was under way.
    again: bool,
    /// Kept deltas after this version are to be repeated.
    repeat: Option<u64>,
    heartbeat: Heartbeat,
}

/// What the others were told.
#[derive(Default)]
struct Sent {
    version: u64,
    /// The highest number of a presence that was told, or could have been.
    seq: u64,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

struct Kept {
    from: u64,
    bytes: Bytes,
}

/// Whether a heartbeat is due, in rising urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heartbeat {
    /// None.
    Idle,
    /// One is due.
    Due,
    /// One is due, and the others should answer with theirs.
    Ask,
}

impl Journal {
    /// A journal that announces its node and asks who else is there.
    pub(super) fn new(node: u64, message_bytes_max: usize) -> Self {
        Self {
            node,
            message_bytes_max,
            unsent: BTreeMap::new(),
            sent: Sent::default(),
            cursor: None,
            again: false,
            repeat: None,
            heartbeat: Heartbeat::Ask,
        }
    }

    /// Notes that a presence was tracked or updated.
    pub(super) fn note(&mut self, seq: u64, version: u64) {
        self.unsent.insert(seq, version);
    }

    /// Notes that a presence is gone; one that nobody was told of needs no mention.
    pub(super) fn note_gone(&mut self, seq: u64, version: u64) {
        if seq > self.sent.seq {
            self.unsent.remove(&seq);
        } else {
            self.unsent.insert(seq, version);
        }
    }

    /// Notes that another node wants what it misses.
    pub(super) fn requested(&mut self, from: Option<u64>) {
        // It tells the other node at once whether the answer made it complete.
        self.beat(Heartbeat::Due);
        if from == Some(self.sent.version) {
            return;
        }
        let known = from.filter(|from| self.sent.kept.iter().any(|kept| kept.from == *from));
        match known {
            Some(from) => self.repeat = Some(self.repeat.map_or(from, |at| at.min(from))),
            None => match self.cursor {
                None | Some(0) => self.cursor = Some(0),
                Some(_) => self.again = true,
            },
        }
    }

    /// Makes a heartbeat due.
    pub(super) fn beat(&mut self, heartbeat: Heartbeat) {
        self.heartbeat = self.heartbeat.max(heartbeat);
    }

    /// Says whether there is something to be told.
    pub(super) fn is_due(&self) -> bool {
        let changes = !self.unsent.is_empty() || self.repeat.is_some();
        changes || self.cursor.is_some() || self.heartbeat != Heartbeat::Idle
    }

    /// Takes what is to be told now; `alone`: nobody holds a copy that deltas would keep up.
    pub(super) fn take(&mut self, table: &Table, alone: bool, out: &mut Vec<Bytes>) {
        if let Some(from) = self.repeat.take() {
            let repeated = self.sent.kept.iter().filter(|kept| kept.from >= from);
            out.extend(repeated.map(|kept| kept.bytes.clone()));
        }
        if alone {
            self.skip(table);
        } else {
            self.flush(table, out);
        }
        match std::mem::replace(&mut self.heartbeat, Heartbeat::Idle) {
            Heartbeat::Idle => {}
            beat @ (Heartbeat::Due | Heartbeat::Ask) => {
                let ask = beat == Heartbeat::Ask;
                out.push(self.heartbeat(table, ask));
            }
        }
        for _ in 0..SNAPSHOT_MESSAGES_MAX {
            if let Some(first) = self.cursor {
                out.push(self.snapshot(table, first));
            }
        }
    }

    fn heartbeat(&self, table: &Table, ask: bool) -> Bytes {
        let beat = Gossip::Heartbeat {
            version: self.sent.version,
            count: table.entries.len() as u64,
            digest: table.digest,
            ask,
        };
        beat.encode(self.node)
    }

    /// Moves on as if the changes had been told.
    fn skip(&mut self, table: &Table) {
        if self.sent.version != table.version {
            self.unsent.clear();
            self.sent.kept.clear();
            self.sent.kept_bytes = 0;
            self.told(table);
        }
    }

    fn told(&mut self, table: &Table) {
        self.sent.version = table.version;
        if let Some(last) = table.entries.keys().next_back() {
            self.sent.seq = self.sent.seq.max(*last);
        }
    }

    fn flush(&mut self, table: &Table, out: &mut Vec<Bytes>) {
        if self.sent.version == table.version {
            return;
        }
        let mut order: Vec<(u64, u64)> = std::mem::take(&mut self.unsent)
            .into_iter()
            .map(|(seq, version)| (version, seq))
            .collect();
        order.sort_unstable();
        let mut from = self.sent.version;
        let mut to = from;
        let mut bytes = FRAME_BYTES;
        let mut changes = Vec::new();
        for (version, seq) in order {
            let change = match table.entries.get(&seq) {
                Some(own) => Change::Set(own.clone()),
                None => Change::Gone { seq },
            };
            if bytes + change.bytes() > self.message_bytes_max && !changes.is_empty() {
                self.emit(from, to, std::mem::take(&mut changes), out);
                from = to;
                bytes = FRAME_BYTES;
            }
            bytes += change.bytes();
            changes.push(change);
            to = version;
        }
        self.emit(from, table.version, changes, out);
        self.told(table);
    }

    fn emit(&mut self, from: u64, to: u64, changes: Vec<Change>, out: &mut Vec<Bytes>) {
        let bytes = Gossip::Delta { from, to, changes }.encode(self.node);
        out.push(bytes.clone());
        let sent = &mut self.sent;
        sent.kept_bytes += bytes.len();
        sent.kept.push_back(Kept { from, bytes });
        while sent.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = sent.kept.pop_front() else {
                break;
            };
            sent.kept_bytes -= oldest.bytes.len();
        }
    }

    /// Writes the presences from a number on, as many as fit, and moves the cursor behind them.
    fn snapshot(&mut self, table: &Table, first: u64) -> Bytes {
        let mut bytes = FRAME_BYTES;
        let mut all = Vec::new();
        let mut end = END;
        for (seq, own) in table.entries.range(first..) {
            if bytes + own.bytes() > self.message_bytes_max && !all.is_empty() {
                end = *seq;
                break;
            }
            bytes += own.bytes();
            all.push(own.clone());
        }
        self.cursor = match end {
            END => std::mem::take(&mut self.again).then_some(0),
            next => Some(next),
        };
        let snapshot = Gossip::Snapshot {
            version: self.sent.version,
            first,
            end,
            all,
        };
        snapshot.encode(self.node)
    }
}
