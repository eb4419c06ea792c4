//! A batch that is all new and all of one table: it is numbered here and stored without a look at what there is.
//!
//! Its records have no `client_key`, and their uids were made for them, so that only an attempt that was stored
//! although it seemed to fail can have them already. The table's unique uids notice that, and nothing is stored twice.

use std::sync::LazyLock;

use tokio_postgres::Row as Line;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::Failure;
use super::super::moment::Moment;
use super::{Place, Plan};
use crate::store::row::{Cells, TABLES, Table};

/// The statement of each table, by its number.
///
/// Arguments: the topics and how many records each gets; then one array a column, one element a record: the place of
/// its topic among them, its number among the topic's new ones from 1, uid, player, time, and the table's own columns.
/// Answer: the place of each topic from 0, and its last seq before.
static STATEMENTS: LazyLock<[String; 4]> = LazyLock::new(|| TABLES.map(statement));

/// The first argument of a table's own columns.
const OWN_FIRST: usize = 8;

/// A table's own columns, in the order of [`Cells`]: those that are numbers, and those that are texts.
fn own_columns(table: Table) -> (&'static [&'static str], &'static [&'static str]) {
    match table {
        Table::Gameplays => (&["game_id", "player_score"], &[]),
        Table::Messages => (&[], &["room", "name", "message"]),
        Table::Annotations => (&["video_id", "at"], &["body"]),
        Table::Records => (&[], &["event", "payload"]),
    }
}

fn statement(table: Table) -> String {
    let (numbers, texts) = own_columns(table);
    let typed = numbers
        .iter()
        .map(|name| (name, "bigint"))
        .chain(texts.iter().map(|name| (name, "text")));
    let (mut names, mut values, mut arrays) = (String::new(), String::new(), String::new());
    for (nth, (name, kind)) in typed.enumerate() {
        names += &format!(", {name}");
        values += match *name {
            "payload" => ", i.payload::json".into(),
            name => format!(", i.{name}"),
        }
        .as_str();
        arrays += &format!(", ${}::{kind}[]", OWN_FIRST + nth);
    }
    let table = table.name();
    format!(
        "with places as materialized (
           select n.nth - 1 as nth, t.topic, t.last_seq, n.records
           from unnest($1::text[], $2::bigint[]) with ordinality as n (topic, records, nth)
           join topics t on t.topic = n.topic
         ), stored as (
           insert into {table} (topic, seq, uid, player_id, inserted_at{names})
           select p.topic, p.last_seq + i.number, i.uid, i.player_id, i.inserted_at{values}
           from unnest($3::bigint[], $4::bigint[], $5::uuid[], $6::text[], $7::timestamptz[]{arrays})
             as i (topic_nth, number, uid, player_id, inserted_at{names})
           join places p on p.nth = i.topic_nth
         ), numbered as (
           update topics t set last_seq = t.last_seq + p.records from places p where t.topic = p.topic
         )
         select nth, last_seq from places"
    )
}

/// The arguments of a table's statement, one vector a column.
pub(super) struct Columns<'a> {
    table: Table,
    topics: Vec<&'a str>,
    counts: Vec<i64>,
    topic_nths: Vec<i64>,
    numbers_in_topic: Vec<i64>,
    uids: Vec<Uuid>,
    player_ids: Vec<Option<&'a str>>,
    times: Vec<Moment>,
    numbers: [Vec<i64>; 2],
    texts: [Vec<&'a str>; 3],
    /// The place in the batch of each record.
    ords: Vec<usize>,
    records: usize,
}

impl<'a> Columns<'a> {
    /// Makes the columns of a batch; `None` for one that has keys, or records of several tables.
    pub(super) fn of(plan: &Plan<'a>) -> Option<Self> {
        let table = Table::of(&plan.batch.first()?.body);
        let topics = plan.topics();
        let mut columns = Self {
            table,
            counts: vec![0; topics.len()],
            topics,
            topic_nths: Vec::new(),
            numbers_in_topic: Vec::new(),
            uids: Vec::new(),
            player_ids: Vec::new(),
            times: Vec::new(),
            numbers: Default::default(),
            texts: Default::default(),
            ords: Vec::new(),
            records: plan.batch.len(),
        };
        for (ord, topic, record) in plan.uniques() {
            if record.client_key.is_some() || Table::of(&record.body) != table {
                return None;
            }
            let count = &mut columns.counts[topic];
            *count += 1;
            columns.numbers_in_topic.push(*count);
            columns.topic_nths.push(i64::try_from(topic).ok()?);
            columns.ords.push(ord);
            columns.uids.push(record.uid);
            let author = record.author.as_ref();
            columns
                .player_ids
                .push(author.map(|author| author.id.as_str()));
            columns.times.push(Moment(record.inserted_at));
            let cells = Cells::from(&record.body);
            for (column, number) in columns.numbers.iter_mut().zip(cells.numbers) {
                column.extend(number);
            }
            for (column, text) in columns.texts.iter_mut().zip(cells.texts) {
                column.extend(text);
            }
        }
        Some(columns)
    }

    pub(super) fn statement(&self) -> &'static str {
        &STATEMENTS[usize::from(self.table.number().unsigned_abs())]
    }

    pub(super) fn arguments(&self) -> Vec<&(dyn ToSql + Sync)> {
        let (numbers, texts) = own_columns(self.table);
        let mut arguments: Vec<&(dyn ToSql + Sync)> = vec![
            &self.topics,
            &self.counts,
            &self.topic_nths,
            &self.numbers_in_topic,
            &self.uids,
            &self.player_ids,
            &self.times,
        ];
        for column in &self.numbers[..numbers.len()] {
            arguments.push(column);
        }
        for column in &self.texts[..texts.len()] {
            arguments.push(column);
        }
        arguments
    }

    /// Reads the places of the batch's records: where their topics ended, and their number after that.
    pub(super) fn places(&self, lines: &[Line]) -> Result<Vec<Option<Place>>, Failure> {
        let mut ends = vec![None; self.topics.len()];
        for line in lines {
            let nth: i64 = line.try_get(0)?;
            if let Some(end) = usize::try_from(nth).ok().and_then(|nth| ends.get_mut(nth)) {
                *end = Some(line.try_get::<_, i64>(1)?);
            }
        }
        let mut places = vec![None; self.records];
        let in_topics = self.topic_nths.iter().zip(&self.numbers_in_topic);
        for (ord, (topic, number)) in self.ords.iter().zip(in_topics) {
            let end = usize::try_from(*topic).ok().and_then(|topic| ends[topic]);
            places[*ord] = end.map(|end| Place {
                seq: end + number,
                known: None,
            });
        }
        Ok(places)
    }
}
