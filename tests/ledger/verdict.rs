//! The verdict on records: lost, duplicated, out of order, unreported, unstored, undelivered.
//!
//! It is a pure function of the ledger; it knows nothing about how a run was made.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::story::{Event, Gap, Ledger, Name, Room, Row, Story};

/// Records that a fresh join is sent, as the nodes are configured.
pub const HISTORY: u64 = 10;

/// How many findings are kept to be shown.
const SHOWN_MAX: usize = 12;

/// What was found; all numbers are 0 when the promise held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Ids that a client never got and no gap covers.
    pub lost: u64,
    /// Receipts of an id that the client had.
    pub duplicated: u64,
    /// Receipts behind a later id, and a publisher's records stored out of its order.
    pub disordered: u64,
    /// Jumps over ids, and resets, that were not told; and gaps that say what is not so.
    pub unreported: u64,
    /// Acknowledgements that the database does not bear out, or that differ among themselves.
    pub unstored: u64,
    /// Rows that nobody got.
    pub undelivered: u64,
    /// Rows that are a second copy, or that nobody sent, and places that are missing in a table.
    pub misstored: u64,
    /// Receipts that differ from the row, or from what others got under the same id.
    pub altered: u64,
    /// Records that were sent and never answered.
    pub unanswered: u64,
    /// Ids that gaps covered, which is no fault.
    pub gap_ids: u64,
    /// The first findings, in words.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether the promise held.
    pub fn is_clean(&self) -> bool {
        self.counts().iter().all(|(_, count)| *count == 0)
    }

    fn counts(&self) -> [(&'static str, u64); 9] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("disordered", self.disordered),
            ("unreported", self.unreported),
            ("unstored", self.unstored),
            ("undelivered", self.undelivered),
            ("misstored", self.misstored),
            ("altered", self.altered),
            ("unanswered", self.unanswered),
        ]
    }

    fn note(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < SHOWN_MAX {
            self.findings.push(finding());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return out.write_str("clean");
        }
        let found = self.counts().into_iter().filter(|(_, count)| *count > 0);
        let words: Vec<String> = found.map(|(what, n)| format!("{what}:{n}")).collect();
        out.write_str(&words.join(","))
    }
}

/// Judges the records of a run.
pub fn judge(ledger: &Ledger) -> Verdict {
    let mut verdict = Verdict::default();
    let mut copies = Copies::default();
    for story in &ledger.stories {
        Reader::read(story, ledger, &mut copies, &mut verdict);
    }
    let sent = sends(ledger);
    for story in &ledger.stories {
        acknowledgements(story, ledger, &sent, &mut verdict);
    }
    for (number, room) in ledger.rooms.iter().enumerate() {
        let restored = ledger.wiped_ms.is_some();
        rows(number as u32, room, &sent, &copies, restored, &mut verdict);
    }
    verdict
}

/// What was received, by anybody: (room, epoch, id) to uid and name.
#[derive(Default)]
struct Copies<'a>(HashMap<(u32, &'a str, u64), (u128, Name)>);

/// One client's way through its room.
struct Reader<'a> {
    story: &'a Story,
    /// The last id that is accounted for; `None` before the first join.
    position: Option<u64>,
    epoch: Option<Arc<str>>,
    told: Vec<Gap>,
    /// Ids that were jumped over.
    missing: BTreeSet<u64>,
}

impl<'a> Reader<'a> {
    fn read(story: &'a Story, ledger: &'a Ledger, copies: &mut Copies<'a>, verdict: &mut Verdict) {
        let mut reader = Self {
            story,
            position: None,
            epoch: None,
            told: Vec::new(),
            missing: BTreeSet::new(),
        };
        // Receipts name no epoch, so the one of the reader is borrowed from the story.
        let mut epoch: Option<&'a str> = None;
        for (at, event) in &story.events {
            match event {
                Event::Joined {
                    epoch: joined,
                    last_id,
                    gaps,
                } => {
                    reader.join(*at, joined, *last_id, gaps, verdict);
                    epoch = Some(joined);
                }
                Event::Told(gap) => {
                    reader.take_gap(gap);
                    epoch = match (gap.reset, &gap.epoch) {
                        (true, Some(told)) => Some(told),
                        (true, None) | (false, _) => epoch,
                    };
                }
                Event::Received { id, uid, name } => {
                    reader.receive(*at, *id, verdict);
                    let key = (story.room, epoch.unwrap_or(""), *id);
                    let first = copies.0.entry(key).or_insert((*uid, *name));
                    if *first != (*uid, *name) {
                        verdict.altered += 1;
                        verdict.note(|| reader.says(*at, &format!("id {id} is another record")));
                    }
                }
                Event::Rejected(why) => {
                    verdict.unanswered += 1;
                    verdict.note(|| reader.says(*at, &format!("was rejected: {why}")));
                }
                Event::Sent(_)
                | Event::Acked { .. }
                | Event::Refused(_)
                | Event::Listening
                | Event::Said(_)
                | Event::SaidOk(_)
                | Event::Heard(_)
                | Event::RelayGap
                | Event::Opened { .. }
                | Event::Stalled
                | Event::Ended(_) => {}
            }
        }
        reader.finish(ledger, verdict);
    }

    fn join(
        &mut self,
        at: u32,
        epoch: &Arc<str>,
        last_id: u64,
        gaps: &[Gap],
        verdict: &mut Verdict,
    ) {
        self.untrue_gaps(at, verdict);
        let reset = gaps.iter().any(|gap| gap.reset);
        match (&self.epoch, reset) {
            (None, _) => self.position = Some(last_id.saturating_sub(HISTORY)),
            (Some(known), false) if known != epoch => {
                verdict.unreported += 1;
                verdict.note(|| self.says(at, "joined another epoch and no reset was told"));
                self.restart();
            }
            (Some(_), true) => self.restart(),
            (Some(_), false) => {}
        }
        self.epoch = Some(epoch.clone());
        self.told.extend(gaps.iter().cloned());
    }

    fn take_gap(&mut self, gap: &Gap) {
        if gap.reset {
            self.restart();
            self.epoch = gap.epoch.clone();
        }
        self.told.push(gap.clone());
    }

    /// The ids of the former epoch are void.
    fn restart(&mut self) {
        self.position = Some(0);
        self.missing.clear();
        self.told.clear();
    }

    /// The next id that is due, behind the gaps that were told.
    fn due(&mut self, verdict: &mut Verdict) -> u64 {
        let mut due = self.position.unwrap_or(0) + 1;
        while let Some(at) = self.told.iter().position(|gap| gap.from == due) {
            let gap = self.told.remove(at);
            verdict.gap_ids += (gap.to + 1).saturating_sub(gap.from);
            due = due.max(gap.to + 1);
            self.position = Some(due - 1);
        }
        due
    }

    /// Forgets the gaps that were told; one that covers what arrived, or nothing yet, was not true.
    fn untrue_gaps(&mut self, at: u32, verdict: &mut Verdict) {
        self.due(verdict);
        let untrue = std::mem::take(&mut self.told);
        if !untrue.is_empty() {
            verdict.unreported += untrue.len() as u64;
            verdict.note(|| self.says(at, &format!("gaps cover what is not missing: {untrue:?}")));
        }
    }

    fn receive(&mut self, at: u32, id: u64, verdict: &mut Verdict) {
        let due = self.due(verdict);
        if id < due {
            if self.missing.remove(&id) || self.position.is_none() {
                verdict.disordered += 1;
                verdict.note(|| self.says(at, &format!("got {id} when {due} was due")));
            } else {
                verdict.duplicated += 1;
                verdict.note(|| self.says(at, &format!("got {id} again, {due} was due")));
            }
            return;
        }
        if id > due {
            verdict.unreported += 1;
            verdict.note(|| self.says(at, &format!("got {id} when {due} was due")));
            self.missing.extend(due..id);
        }
        self.position = Some(id);
    }

    fn finish(mut self, ledger: &Ledger, verdict: &mut Verdict) {
        let room = &ledger.rooms[self.story.room as usize];
        if self.epoch.is_none() {
            verdict.lost += room.last_id;
            verdict.note(|| self.says(0, "never joined"));
            return;
        }
        if self.epoch.as_ref() != Some(&room.epoch) {
            verdict.unreported += 1;
            verdict.note(|| self.says(0, "ended in another epoch than the store's"));
            return;
        }
        let due = self.due(verdict);
        let tail = (room.last_id + 1).saturating_sub(due);
        if tail > 0 {
            verdict.note(|| self.says(0, &format!("never got {due} to {}", room.last_id)));
        }
        verdict.lost += tail + self.missing.len() as u64;
        self.untrue_gaps(0, verdict);
    }

    fn says(&self, at: u32, what: &str) -> String {
        let Story { client, room, .. } = self.story;
        format!("client {client} in room {room} at {at} ms: {what}")
    }
}

/// When each record was sent last before its first acknowledgement, and in which room.
fn sends(ledger: &Ledger) -> HashMap<Name, (u32, u32)> {
    let mut sent: HashMap<Name, (u32, u32)> = HashMap::new();
    for story in &ledger.stories {
        let mut acked = HashSet::new();
        for (at, event) in &story.events {
            match event {
                Event::Sent(number) if !acked.contains(number) => {
                    let name = Name {
                        author: story.client,
                        number: *number,
                    };
                    sent.insert(name, (story.room, *at));
                }
                Event::Acked { number, .. } => {
                    acked.insert(*number);
                }
                _ => {}
            }
        }
    }
    sent
}

/// Holds every acknowledgement against the rows, and a publisher's order against the ids.
fn acknowledgements(
    story: &Story,
    ledger: &Ledger,
    sent: &HashMap<Name, (u32, u32)>,
    verdict: &mut Verdict,
) {
    let room = &ledger.rooms[story.room as usize];
    let says = |what: String| format!("client {} in room {}: {what}", story.client, story.room);
    let mut answers: HashMap<u32, (u64, u128)> = HashMap::new();
    let mut numbers = BTreeSet::new();
    for (_, event) in &story.events {
        if let Event::Sent(number) = event {
            numbers.insert(*number);
        }
        let Event::Acked { number, id, uid } = event else {
            continue;
        };
        let name = Name {
            author: story.client,
            number: *number,
        };
        let may_be_gone = ledger
            .wiped_ms
            .is_some_and(|wiped| sent.get(&name).is_none_or(|(_, at)| *at <= wiped));
        if *answers.entry(*number).or_insert((*id, *uid)) != (*id, *uid) && !may_be_gone {
            verdict.unstored += 1;
            verdict.note(|| says(format!("record {number} was acknowledged in two ways")));
        }
        let row = at(room, *id).filter(|row| row.uid == *uid && row.name == name);
        if row.is_none() && !may_be_gone {
            verdict.unstored += 1;
            verdict.note(|| {
                says(format!(
                    "record {number} was acknowledged as {id}, not stored"
                ))
            });
        }
    }
    for number in numbers
        .iter()
        .filter(|number| !answers.contains_key(number))
    {
        verdict.unanswered += 1;
        verdict.note(|| says(format!("record {number} was never answered")));
    }
    if ledger.wiped_ms.is_none() {
        publisher_order(story, &answers, verdict);
    }
}

/// Records sent once, on one connection, and never refused are stored in the order of sending.
fn publisher_order(story: &Story, answers: &HashMap<u32, (u64, u128)>, verdict: &mut Verdict) {
    let mut attempts: HashMap<u32, u32> = HashMap::new();
    for (_, event) in &story.events {
        match event {
            Event::Sent(number) => *attempts.entry(*number).or_default() += 1,
            Event::Refused(number) => *attempts.entry(*number).or_default() += 1,
            _ => {}
        }
    }
    let mut last = 0;
    for (_, event) in &story.events {
        match event {
            Event::Ended(_) => last = 0,
            Event::Sent(number) if attempts[number] == 1 => {
                let Some((id, _)) = answers.get(number) else {
                    continue;
                };
                if *id <= last {
                    verdict.disordered += 1;
                    let client = story.client;
                    verdict
                        .note(|| format!("client {client}: record {number} is {id}, after {last}"));
                }
                last = *id;
            }
            _ => {}
        }
    }
}

fn at(room: &Room, id: u64) -> Option<&Row> {
    let place = room.rows.binary_search_by_key(&id, |row| row.id).ok()?;
    room.rows.get(place)
}

/// Holds a room's rows against what was sent and what was received.
fn rows(
    number: u32,
    room: &Room,
    sent: &HashMap<Name, (u32, u32)>,
    copies: &Copies<'_>,
    restored: bool,
    verdict: &mut Verdict,
) {
    let mut names = HashSet::new();
    // What an older state had was delivered in the epoch before.
    let former: HashSet<u128> = match restored {
        true => copies.0.values().map(|(uid, _)| *uid).collect(),
        false => HashSet::new(),
    };
    for (place, row) in room.rows.iter().enumerate() {
        let Row { id, uid, name, .. } = row;
        let is_sent = sent.get(name).is_some_and(|(room, _)| *room == number);
        if *id != place as u64 + 1 || !is_sent || !row.consistent || !names.insert(*name) {
            verdict.misstored += 1;
            verdict.note(|| format!("room {number} has {row:?} in place {}", place + 1));
        }
        match copies.0.get(&(number, &*room.epoch, *id)) {
            None if former.contains(uid) => {}
            None => {
                verdict.undelivered += 1;
                verdict.note(|| format!("room {number}: nobody got {id}"));
            }
            Some(copy) if *copy != (*uid, *name) => {
                verdict.altered += 1;
                verdict
                    .note(|| format!("room {number}: {id} was delivered as {copy:?}, not {row:?}"));
            }
            Some(_) => {}
        }
    }
    if room.last_id != room.rows.len() as u64 {
        verdict.misstored += 1;
        let rows = room.rows.len();
        verdict.note(|| format!("room {number} ends at {} with {rows} rows", room.last_id));
    }
}
