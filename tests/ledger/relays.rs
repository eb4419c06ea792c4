//! The verdict on relayed messages: order of each publisher, losses that no `gap` told.
//!
//! It judges a receiver's connections one by one: nothing is promised across them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::story::{Event, Kill, Ledger, Sound, Story};

/// How long before its end a node may have taken what it had not handed on: only it knew of that.
const UNTOLD_MS: u32 = 2_500;

/// How many findings are kept to be shown.
const SHOWN_MAX: usize = 12;

/// What was found; `lost`, `duplicated` and `disordered` are 0 when the promise held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayVerdict {
    /// Acknowledged messages that a listener missed and was not told about.
    pub lost: u64,
    /// Messages that a listener got twice on one connection.
    pub duplicated: u64,
    /// Messages behind a later one of the same publisher's connection.
    pub disordered: u64,
    /// Acknowledged messages that a listener missed, and a `gap` told.
    pub told: u64,
    /// Those that a node had taken shortly before it was killed, which the manual excepts.
    pub untold: u64,
    /// The first findings, in words.
    pub findings: Vec<String>,
}

impl RelayVerdict {
    /// Whether the promise held.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.disordered == 0
    }

    fn note(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < SHOWN_MAX {
            self.findings.push(finding());
        }
    }
}

impl fmt::Display for RelayVerdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_clean() {
            true => out.write_str("clean")?,
            false => write!(
                out,
                "lost:{},duplicated:{},disordered:{}",
                self.lost, self.duplicated, self.disordered
            )?,
        }
        write!(out, "(told:{},untold:{})", self.told, self.untold)
    }
}

/// A publisher's connection.
type Voice = (u32, u32);

/// One listener's connection to a relay topic; places count the entries of its story.
#[derive(Default)]
struct Session {
    since: u32,
    begins: usize,
    is_open: bool,
    /// The places of gaps.
    gaps: Vec<usize>,
    /// Numbers and places, by voice.
    heard: HashMap<Voice, Vec<(u32, usize)>>,
}

impl Session {
    /// Whether a gap was told after the last message of the voice before a missing one.
    fn was_told(&self, heard: &[(u32, usize)], missing: u32) -> bool {
        let before = heard.iter().filter(|(number, _)| *number < missing);
        let last = before.map(|(_, place)| *place).max();
        let last = last.unwrap_or(self.begins);
        self.gaps.iter().any(|gap| *gap > last)
    }
}

/// What one publisher's connection said: number to the time of sending.
#[derive(Default)]
struct Sayings {
    at: BTreeMap<u32, u32>,
    /// When the node that it was on was killed.
    killed: Option<u32>,
}

/// Acknowledged messages by topic and publisher's connection.
type Said = HashMap<u32, BTreeMap<Voice, Sayings>>;

/// Judges the relayed messages of a run.
pub fn judge(ledger: &Ledger) -> RelayVerdict {
    let mut verdict = RelayVerdict::default();
    let said = said(ledger);
    let nothing = BTreeMap::new();
    for story in &ledger.stories {
        let said = said.get(&story.relay).unwrap_or(&nothing);
        for session in sessions(story) {
            session_verdict(story.client, &session, said, &mut verdict);
        }
    }
    verdict
}

fn said(ledger: &Ledger) -> Said {
    let mut said = Said::new();
    for story in &ledger.stories {
        let mut sent: HashMap<Sound, u32> = HashMap::new();
        let mut killed = None;
        for (at, event) in &story.events {
            match event {
                Event::Opened { node } => killed = next_kill(&ledger.kills, *node, *at),
                Event::Said(sound) => {
                    sent.insert(*sound, *at);
                }
                Event::SaidOk(sound) => {
                    let voice = (sound.author, sound.connection);
                    let topic = said.entry(story.relay).or_default();
                    let sayings = topic.entry(voice).or_default();
                    let at = sent.get(sound).copied().unwrap_or(*at);
                    sayings.at.insert(sound.number, at);
                    sayings.killed = killed;
                }
                _ => {}
            }
        }
    }
    said
}

/// When a node that a client connected to was killed after that.
fn next_kill(kills: &[Kill], node: usize, since: u32) -> Option<u32> {
    let later = kills.iter().filter(|kill| kill.node == node);
    later.map(|kill| kill.at).filter(|at| *at >= since).min()
}

fn sessions(story: &Story) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for (place, (at, event)) in story.events.iter().enumerate() {
        let open = sessions.last_mut().filter(|session| session.is_open);
        match (event, open) {
            (Event::Listening, _) => sessions.push(Session {
                since: *at,
                begins: place,
                is_open: true,
                ..Session::default()
            }),
            (Event::Heard(sound), Some(session)) => {
                let voice = (sound.author, sound.connection);
                let heard = session.heard.entry(voice).or_default();
                heard.push((sound.number, place));
            }
            (Event::RelayGap, Some(session)) => session.gaps.push(place),
            (Event::Ended(_), Some(session)) => session.is_open = false,
            _ => {}
        }
    }
    sessions
}

fn session_verdict(
    client: u32,
    session: &Session,
    said: &BTreeMap<Voice, Sayings>,
    verdict: &mut RelayVerdict,
) {
    for (voice, sayings) in said {
        let heard = session.heard.get(voice).map_or(&[][..], Vec::as_slice);
        let mut unique = BTreeSet::new();
        let mut last = 0;
        for (number, _) in heard {
            if !unique.insert(*number) {
                verdict.duplicated += 1;
                verdict.note(|| format!("client {client} heard {number} of {voice:?} again"));
            } else if *number < last {
                verdict.disordered += 1;
                verdict
                    .note(|| format!("client {client} heard {number} of {voice:?} after {last}"));
            }
            last = last.max(*number);
        }
        // What was under way when the connection ended is not missed: only an open one has an end.
        let due = sayings
            .at
            .iter()
            .filter(|(number, at)| **at > session.since && (session.is_open || **number <= last));
        for (number, at) in due.filter(|(number, _)| !unique.contains(number)) {
            let dies = |killed: u32| (killed.saturating_sub(UNTOLD_MS)..=killed).contains(at);
            if session.was_told(heard, *number) {
                verdict.told += 1;
            } else if sayings.killed.is_some_and(dies) {
                verdict.untold += 1;
            } else {
                verdict.lost += 1;
                let since = session.since;
                verdict.note(|| {
                    format!(
                        "client {client}, listening since {since} ms, missed {number} of {voice:?}, \
                         said at {at} ms, and was not told"
                    )
                });
            }
        }
    }
}
