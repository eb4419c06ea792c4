//! The verdict on relayed messages: order of each publisher, losses that no `gap` told.
//!
//! It judges a receiver's connections one by one: nothing is promised across them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::story::{Event, Ledger, Sound, Story};

/// What was found; all but `told` are 0 when the promise held.
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
}

impl RelayVerdict {
    /// Whether the promise held.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.disordered == 0
    }
}

impl fmt::Display for RelayVerdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lost, twice, order) = (self.lost, self.duplicated, self.disordered);
        match self.is_clean() {
            true => write!(out, "clean(told:{})", self.told),
            false => write!(
                out,
                "lost:{lost},duplicated:{twice},disordered:{order}(told:{})",
                self.told
            ),
        }
    }
}

/// A publisher's connection.
type Voice = (u32, u32);

/// One listener's connection to a relay topic.
#[derive(Default)]
struct Session {
    since: u32,
    is_open: bool,
    gaps: bool,
    heard: HashMap<Voice, Vec<u32>>,
}

/// Acknowledged messages of a topic by publisher's connection: number to the time of sending.
type Said = HashMap<u32, BTreeMap<Voice, BTreeMap<u32, u32>>>;

/// Judges the relayed messages of a run.
pub fn judge(ledger: &Ledger) -> RelayVerdict {
    let mut verdict = RelayVerdict::default();
    let said = said(ledger);
    let nothing = BTreeMap::new();
    for story in &ledger.stories {
        let said = said.get(&story.relay).unwrap_or(&nothing);
        for session in sessions(story) {
            session_verdict(&session, said, &mut verdict);
        }
    }
    verdict
}

fn said(ledger: &Ledger) -> Said {
    let mut said = Said::new();
    for story in &ledger.stories {
        let mut sent: HashMap<Sound, u32> = HashMap::new();
        for (at, event) in &story.events {
            match event {
                Event::Said(sound) => {
                    sent.insert(*sound, *at);
                }
                Event::SaidOk(sound) => {
                    let voice = (sound.author, sound.connection);
                    let topic = said.entry(story.relay).or_default();
                    let at = sent.get(sound).copied().unwrap_or(*at);
                    topic.entry(voice).or_default().insert(sound.number, at);
                }
                _ => {}
            }
        }
    }
    said
}

fn sessions(story: &Story) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for (at, event) in &story.events {
        let open = sessions.last_mut().filter(|session| session.is_open);
        match (event, open) {
            (Event::Listening, _) => sessions.push(Session {
                since: *at,
                is_open: true,
                ..Session::default()
            }),
            (Event::Heard(sound), Some(session)) => {
                let voice = (sound.author, sound.connection);
                session.heard.entry(voice).or_default().push(sound.number);
            }
            (Event::RelayGap, Some(session)) => session.gaps = true,
            (Event::Ended(_), Some(session)) => session.is_open = false,
            _ => {}
        }
    }
    sessions
}

fn session_verdict(
    session: &Session,
    said: &BTreeMap<Voice, BTreeMap<u32, u32>>,
    verdict: &mut RelayVerdict,
) {
    for (voice, said) in said {
        let heard = session.heard.get(voice).map_or(&[][..], Vec::as_slice);
        let mut unique = BTreeSet::new();
        let mut last = 0;
        for number in heard {
            if !unique.insert(*number) {
                verdict.duplicated += 1;
            } else if *number < last {
                verdict.disordered += 1;
            }
            last = last.max(*number);
        }
        // What was under way when the connection ended is not missed: only an open one has an end.
        let due = said
            .iter()
            .filter(|(number, at)| **at > session.since && (session.is_open || **number <= last));
        let missed = due.filter(|(number, _)| !unique.contains(number)).count() as u64;
        match session.gaps {
            true => verdict.told += missed,
            false => verdict.lost += missed,
        }
    }
}
