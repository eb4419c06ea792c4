//! A batch of which something may be stored already: each record is looked up by its uid and its key first.
//!
//! It never assumes that a record is new.

use tokio_postgres::Row as Line;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::Failure;
use super::super::moment::Moment;
use super::{Place, Plan};
use crate::store::StoreError;
use crate::store::row::{Cells, Table};

pub(super) const APPEND: &str = include_str!("known.sql");

/// The arguments of [`APPEND`], one vector a column.
#[derive(Default)]
pub(super) struct Columns<'a> {
    ords: Vec<i32>,
    kinds: Vec<i16>,
    topics: Vec<&'a str>,
    uids: Vec<Uuid>,
    client_keys: Vec<Option<&'a str>>,
    player_ids: Vec<Option<&'a str>>,
    times: Vec<Moment>,
    numbers: [Vec<Option<i64>>; 2],
    texts: [Vec<Option<&'a str>>; 3],
}

impl<'a> Columns<'a> {
    pub(super) fn of(plan: &Plan<'a>) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for (ord, _, record) in plan.uniques() {
            let ord = i32::try_from(ord)
                .map_err(|_| StoreError::Refused(String::from("the batch is too large")))?;
            columns.ords.push(ord);
            columns.kinds.push(Table::of(&record.body).number());
            columns.topics.push(record.topic.as_str());
            columns.uids.push(record.uid);
            columns.client_keys.push(record.client_key.as_deref());
            let author = record.author.as_ref();
            columns
                .player_ids
                .push(author.map(|author| author.id.as_str()));
            columns.times.push(Moment(record.inserted_at));
            let cells = Cells::from(&record.body);
            for (column, number) in columns.numbers.iter_mut().zip(cells.numbers) {
                column.push(number);
            }
            for (column, text) in columns.texts.iter_mut().zip(cells.texts) {
                column.push(text);
            }
        }
        Ok(columns)
    }

    pub(super) fn arguments(&self) -> [&(dyn ToSql + Sync); 12] {
        let [number_a, number_b] = &self.numbers;
        let [text_a, text_b, text_c] = &self.texts;
        [
            &self.ords,
            &self.kinds,
            &self.topics,
            &self.uids,
            &self.client_keys,
            &self.player_ids,
            &self.times,
            number_a,
            number_b,
            text_a,
            text_b,
            text_c,
        ]
    }
}

/// Reads the places of a batch of so many records, with the uid of the first one where they were known.
pub(super) fn places(lines: &[Line], records: usize) -> Result<Vec<Option<Place>>, Failure> {
    let mut places = vec![None; records];
    for line in lines {
        let ord: i32 = line.try_get(0)?;
        let place = usize::try_from(ord)
            .ok()
            .and_then(|ord| places.get_mut(ord));
        if let (Some(place), Some(seq)) = (place, line.try_get(1)?) {
            let known = line.try_get(2)?;
            *place = Some(Place { seq, known });
        }
    }
    Ok(places)
}
