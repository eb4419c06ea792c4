//! How long records are kept: rules by topic, and what one step of a sweep may remove.
//!
//! It knows rules and SQL text; it never touches a connection.

use std::time::Duration;

use super::row::{self, TABLES, Table};
use crate::channel::Pattern;
use crate::clock::UnixMicros;

/// Topics that one step looks at.
pub(super) const TOPICS_MAX: usize = 256;

/// How long the records of some topics are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The topics.
    pub topics: Pattern,
    /// How long a record is kept. Default: for ever.
    pub keep_for: Option<Duration>,
    /// How many of a topic's newest records are kept. Default: all.
    pub keep_records: Option<u64>,
}

/// Rules in order; the first whose topics match is a topic's rule, and a topic without one keeps everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The youngest age at which a record may go because there are too many: until then a retry is recognised.
    pub grace: Duration,
}

impl Retention {
    /// Says whether every record is kept for ever.
    pub fn keeps_everything(&self) -> bool {
        let keeps = |rule: &Rule| rule.keep_for.is_none() && rule.keep_records.is_none();
        self.rules.iter().all(keeps)
    }

    /// What may go of a topic that ends at `last_seq`; `None` when everything is kept.
    pub(super) fn cut(&self, topic: &str, last_seq: i64, now: UnixMicros) -> Option<Cut> {
        let rule = self.rules.iter().find(|rule| rule.topics.matches(topic))?;
        if rule.keep_for.is_none() && rule.keep_records.is_none() {
            return None;
        }
        let before = |age: Duration| {
            now.saturating_sub(UnixMicros::try_from(age.as_micros()).unwrap_or(UnixMicros::MAX))
        };
        let spare = |keep: u64| last_seq.saturating_sub(row::seq_of(keep));
        Some(Cut {
            topic: topic.to_owned(),
            older_than: rule.keep_for.map_or(UnixMicros::MIN, before),
            seq_max: rule.keep_records.map_or(0, spare),
            spare_older_than: before(self.grace),
        })
    }
}

/// What may go of one topic: its oldest records, up to the first that must stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub topic: String,
    /// A record from before this may go.
    pub older_than: UnixMicros,
    /// A record up to this place may go ...
    pub seq_max: i64,
    /// ... when it is from before this.
    pub spare_older_than: UnixMicros,
}

/// One step of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who asks; the same text in each step of a sweep.
    pub holder: String,
    /// How long the asker keeps its turn without another step.
    pub lease: Duration,
    /// How long nobody sweeps after a sweep that came to its end.
    pub rest: Duration,
    /// Records to remove at most.
    pub rows_max: usize,
    /// The time by which ages are judged.
    pub now: UnixMicros,
    /// What is kept.
    pub retention: Retention,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Records that were removed.
    pub rows: u64,
    /// What is next.
    pub next: Next,
}

/// What comes after a step of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another node sweeps, or the last sweep is too recent; nothing was done.
    NotNow,
    /// There may be more: another step.
    Step,
    /// Every topic was looked at.
    Done,
}

/// Where a sweep goes on after a page of topics.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// At the same page: the step removed all that it may.
    Here,
    /// After this topic.
    After(&'a str),
    /// At the first topic, after a rest.
    Start,
}

impl<'a> Place<'a> {
    /// Decides by what was looked at and removed.
    pub(super) fn of(page: &'a [(String, i64)], rows: usize, rows_max: usize) -> Self {
        match page.last() {
            _ if rows >= rows_max => Self::Here,
            Some((last, _)) if page.len() == TOPICS_MAX => Self::After(last),
            Some(_) | None => Self::Start,
        }
    }

    /// What the asker is told.
    pub(super) fn next(&self) -> Next {
        match self {
            Self::Here | Self::After(_) => Next::Step,
            Self::Start => Next::Done,
        }
    }
}

/// The expressions of a [`Cut`] in SQL.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutSql {
    pub topic: &'static str,
    pub older_than: &'static str,
    pub seq_max: &'static str,
    pub spare_older_than: &'static str,
}

/// The query that finds the records of one topic in a table that may go, oldest first, for both databases.
///
/// `limit` is the number of records at most. It reads the index on (topic, seq) from its beginning; a topic whose
/// oldest record stays costs one probe.
pub(super) fn doomed_sql(table: Table, cut: CutSql, limit: &str) -> String {
    let name = table.name();
    let CutSql {
        topic,
        older_than,
        seq_max,
        spare_older_than,
    } = cut;
    let may_go = format!(
        "inserted_at < {older_than} or (seq <= {seq_max} and inserted_at < {spare_older_than})"
    );
    // Up to the first that must stay: the least of what was so far is 0 from there on.
    format!(
        "select id, seq from (
           select id, seq, min(case when {may_go} then 1 else 0 end) over (order by seq) as goes
           from (
             select id, seq, inserted_at from {name} where topic = {topic} order by seq limit {limit}
           ) as oldest
           where (select {may_go} from {name} where topic = {topic} order by seq limit 1)
         ) as judged
         where goes = 1"
    )
}

/// The tables that a step goes through.
pub(super) const SWEPT: [Table; 4] = TABLES;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400_000_000;
    const NOW: UnixMicros = 1_000 * DAY_US;

    fn rule(topics: &str, days: Option<u64>, keep_records: Option<u64>) -> Rule {
        Rule {
            topics: Pattern::parse(topics).unwrap(),
            keep_for: days.map(|days| Duration::from_secs(days * 86_400)),
            keep_records,
        }
    }

    fn retention() -> Retention {
        Retention {
            rules: vec![
                rule("room:hall", None, None),
                rule("room:*", Some(7), None),
                rule("game:*", None, Some(100)),
            ],
            grace: Duration::from_secs(86_400),
        }
    }

    #[test]
    fn the_first_rule_that_matches_is_a_topics_rule() {
        let cut = |topic| retention().cut(topic, 150, NOW);
        assert_eq!(cut("room:hall"), None);
        assert_eq!(cut("elsewhere"), None);
        let room = cut("room:lobby").unwrap();
        assert_eq!((room.older_than, room.seq_max), (NOW - 7 * DAY_US, 0));
        let game = cut("game:chess").unwrap();
        assert_eq!((game.older_than, game.seq_max), (UnixMicros::MIN, 50));
        assert_eq!(game.spare_older_than, NOW - DAY_US);
        assert_eq!(retention().cut("game:go", 3, NOW).unwrap().seq_max, -97);
    }

    #[test]
    fn rules_that_keep_everything_are_known_as_such() {
        assert!(!retention().keeps_everything());
        assert!(Retention::default().keeps_everything());
        let all = Retention {
            rules: vec![rule("a", None, None)],
            ..Retention::default()
        };
        assert!(all.keeps_everything());
    }

    #[test]
    fn a_sweep_goes_on_where_it_may_have_left_something() {
        let page = |count: usize| vec![(String::from("t"), 1); count];
        assert_eq!(Place::of(&page(3), 10, 10), Place::Here);
        assert_eq!(Place::of(&page(TOPICS_MAX), 9, 10), Place::After("t"));
        assert_eq!(Place::of(&page(TOPICS_MAX - 1), 9, 10), Place::Start);
        assert_eq!(Place::of(&[], 0, 10), Place::Start);
    }
}
