//! A record as a row: the one shape that both databases write and read.
//!
//! It knows columns and SQL text; it never touches a connection.

use uuid::Uuid;

use super::{Range, StoreError};
use crate::channel::{Author, Body, NewRecord, Record};
use crate::clock::UnixMicros;
use crate::protocol::Topic;

/// The table that a record's row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Gameplays,
    Messages,
    Annotations,
    Records,
}

/// The tables in the order of their numbers in SQL, from 0.
pub(super) const TABLES: [Table; 4] = [
    Table::Gameplays,
    Table::Messages,
    Table::Annotations,
    Table::Records,
];

impl Table {
    pub(super) fn of(body: &Body) -> Self {
        match body {
            Body::Score { .. } => Self::Gameplays,
            Body::Message { .. } => Self::Messages,
            Body::Annotation { .. } => Self::Annotations,
            Body::Custom { .. } => Self::Records,
        }
    }

    /// Its number in SQL, the place in [`TABLES`].
    pub(super) fn number(self) -> i16 {
        match self {
            Self::Gameplays => 0,
            Self::Messages => 1,
            Self::Annotations => 2,
            Self::Records => 3,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gameplays => "gameplays",
            Self::Messages => "messages",
            Self::Annotations => "annotations",
            Self::Records => "records",
        }
    }

    /// The table's own columns as the expressions of [`Cells`], in order: two numbers, three texts.
    fn cells(self) -> [&'static str; 5] {
        const NO_NUMBER: &str = "cast(null as bigint)";
        const NO_TEXT: &str = "cast(null as text)";
        match self {
            Self::Gameplays => ["game_id", "player_score", NO_TEXT, NO_TEXT, NO_TEXT],
            Self::Messages => [NO_NUMBER, NO_NUMBER, "room", "name", "message"],
            Self::Annotations => ["video_id", "at", "body", NO_TEXT, NO_TEXT],
            Self::Records => [
                NO_NUMBER,
                NO_NUMBER,
                "event",
                "cast(payload as text)",
                NO_TEXT,
            ],
        }
    }
}

/// A body as cells: what its table's own columns hold, in one shape for all four tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cells<T> {
    pub numbers: [Option<i64>; 2],
    pub texts: [Option<T>; 3],
}

impl<'a> From<&'a Body> for Cells<&'a str> {
    fn from(body: &'a Body) -> Self {
        let (numbers, texts): ([Option<i64>; 2], [Option<&str>; 3]) = match body {
            Body::Score {
                game_id,
                player_score,
            } => ([Some(*game_id), Some(*player_score)], [None; 3]),
            Body::Message {
                room,
                name,
                message,
            } => ([None; 2], [Some(room), Some(name), Some(message)]),
            Body::Annotation { video_id, body, at } => {
                ([Some(*video_id), Some(*at)], [Some(body), None, None])
            }
            Body::Custom { event, payload } => ([None; 2], [Some(event), Some(payload), None]),
        };
        Self { numbers, texts }
    }
}

/// A row as it was read.
#[derive(Debug)]
pub(super) struct Row {
    pub table: i32,
    pub seq: i64,
    pub uid: Uuid,
    pub client_key: Option<String>,
    pub player_id: Option<String>,
    pub username: Option<String>,
    pub inserted_at: UnixMicros,
    pub cells: Cells<String>,
}

impl Row {
    /// Makes the record that the row holds.
    ///
    /// A player whose row is missing goes by its id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for a row that no [`Table`] can hold: a schema of another program.
    pub(super) fn into_record(self, topic: &Topic) -> Result<Record, StoreError> {
        let author = self.player_id.map(|id| Author {
            username: self.username.unwrap_or_else(|| id.clone()),
            id,
        });
        let table = usize::try_from(self.table)
            .ok()
            .and_then(|number| TABLES.get(number));
        let body = table
            .and_then(|table| body_of(*table, self.cells))
            .ok_or_else(|| StoreError::Unavailable(String::from("a row has an unknown shape")))?;
        Ok(Record {
            id: Some(id_of(self.seq)),
            record: NewRecord {
                topic: topic.clone(),
                uid: self.uid,
                client_key: self.client_key,
                author,
                inserted_at: self.inserted_at,
                body,
            },
        })
    }
}

fn body_of(table: Table, cells: Cells<String>) -> Option<Body> {
    let [number_a, number_b] = cells.numbers;
    let [text_a, text_b, text_c] = cells.texts;
    Some(match table {
        Table::Gameplays => Body::Score {
            game_id: number_a?,
            player_score: number_b?,
        },
        Table::Messages => Body::Message {
            room: text_a?,
            name: text_b?,
            message: text_c?,
        },
        Table::Annotations => Body::Annotation {
            video_id: number_a?,
            body: text_a?,
            at: number_b?,
        },
        Table::Records => Body::Custom {
            event: text_a?,
            payload: text_b?,
        },
    })
}

/// Reads a place from a column, which never holds a negative one.
pub(super) fn id_of(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

/// Writes a place for a column; what is beyond the column's range is beyond every topic too.
pub(super) fn seq_of(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// The player and key that make a repeated record known; guests have none.
pub(super) fn key_of(record: &NewRecord) -> Option<(&str, &str)> {
    let author = record.author.as_ref()?;
    Some((&author.id, record.client_key.as_deref()?))
}

/// Which end of a range is kept when it holds too many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Newest,
    Oldest,
}

/// A range as the arguments of [`slice_sql`]: which end, first seq, last seq, count.
pub(super) fn bounds(range: Range) -> (Keep, i64, i64, i64) {
    let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    match range {
        Range::Recent { count } => (Keep::Newest, 0, i64::MAX, limit(count)),
        // After the last possible place there is nothing; the empty range says so without an overflow.
        Range::After { after, count } => match seq_of(after).checked_add(1) {
            Some(from) => (Keep::Newest, from, i64::MAX, limit(count)),
            None => (Keep::Newest, 1, 0, 0),
        },
        Range::Between { from, to, count } => {
            (Keep::Oldest, seq_of(from), seq_of(to), limit(count))
        }
    }
}

/// The statement that reads a topic's head and records in one snapshot, for both databases.
///
/// Arguments: 1 topic, 2 first seq, 3 last seq, 4 count. `mark` precedes an argument's number. Columns:
/// last_seq, epoch, table, seq, uid, client_key, player_id, username, inserted_at, and the [`Cells`];
/// no row for an unknown topic, one row of nulls after the head for a topic without such records.
pub(super) fn slice_sql(mark: char, keep: Keep) -> String {
    let order = match keep {
        Keep::Newest => "desc",
        Keep::Oldest => "asc",
    };
    let parts = TABLES.map(|table| {
        let (number, name) = (table.number(), table.name());
        let [number_a, number_b, text_a, text_b, text_c] = table.cells();
        format!(
            "select * from (select {number} as kind, seq, uid, client_key, player_id, inserted_at, \
             {number_a} as number_a, {number_b} as number_b, \
             {text_a} as text_a, {text_b} as text_b, {text_c} as text_c \
             from {name} where topic = {mark}1 and seq between {mark}2 and {mark}3 \
             order by seq {order} limit {mark}4) as {name}_part"
        )
    });
    let union = parts.join(" union all ");
    format!(
        "select t.last_seq, t.epoch, r.kind, r.seq, r.uid, r.client_key, r.player_id, p.username, \
         r.inserted_at, r.number_a, r.number_b, r.text_a, r.text_b, r.text_c \
         from topics t \
         left join (select * from ({union}) as u order by seq {order} limit {mark}4) as r on 1 = 1 \
         left join players p on p.id = r.player_id \
         where t.topic = {mark}1 order by r.seq"
    )
}

/// The newest seq that any record of a topic has, for a topic whose own row is missing.
pub(super) fn newest_seq_sql(topic: &str) -> String {
    let parts = TABLES.map(|table| {
        let name = table.name();
        format!("select max(seq) as seq from {name} where topic = {topic}")
    });
    format!(
        "(select coalesce(max(seq), 0) from ({}) as newest)",
        parts.join(" union all ")
    )
}

/// Refuses what only some databases could store, so that all of them behave alike.
///
/// # Errors
/// [`StoreError::Refused`] for a text with a NUL character.
pub(super) fn check_text<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<(), StoreError> {
    match texts.into_iter().any(|text| text.contains('\0')) {
        true => Err(StoreError::Refused(String::from(
            "a text holds a NUL character",
        ))),
        false => Ok(()),
    }
}

/// Refuses a record that holds a text that not every database could store.
///
/// # Errors
/// As [`check_text`].
pub(super) fn check(record: &NewRecord) -> Result<(), StoreError> {
    let cells = Cells::from(&record.body);
    let author = record.author.as_ref();
    check_text(
        [record.topic.as_str()]
            .into_iter()
            .chain(record.client_key.as_deref())
            .chain(author.map(|author| author.id.as_str()))
            .chain(cells.texts.into_iter().flatten()),
    )
}

/// Makes a random epoch: 16 hexadecimal digits.
///
/// # Errors
/// [`StoreError::Unavailable`] when the system has no randomness to give.
pub(super) fn random_epoch() -> Result<String, StoreError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_survives_its_cells() {
        let bodies = [
            Body::Score {
                game_id: 1,
                player_score: 2,
            },
            Body::Message {
                room: "r".into(),
                name: "n".into(),
                message: "m".into(),
            },
            Body::Annotation {
                video_id: 1,
                body: "b".into(),
                at: 2,
            },
            Body::Custom {
                event: "e".into(),
                payload: "{}".into(),
            },
        ];
        for (body, table) in bodies.into_iter().zip(TABLES) {
            assert_eq!(Table::of(&body), table);
            assert_eq!(TABLES[usize::try_from(table.number()).unwrap()], table);
            let cells = Cells::from(&body);
            let owned = Cells {
                numbers: cells.numbers,
                texts: cells.texts.map(|text| text.map(str::to_owned)),
            };
            assert_eq!(body_of(table, owned), Some(body));
        }
    }

    #[test]
    fn bounds_never_overflow() {
        let end = Range::After {
            after: u64::MAX,
            count: 5,
        };
        assert_eq!(bounds(end), (Keep::Newest, 1, 0, 0));
        let all = Range::Between {
            from: 0,
            to: u64::MAX,
            count: usize::MAX,
        };
        assert_eq!(bounds(all), (Keep::Oldest, 0, i64::MAX, i64::MAX));
    }

    #[test]
    fn epochs_are_short_and_differ() {
        let (one, other) = (random_epoch().unwrap(), random_epoch().unwrap());
        assert_eq!(one.len(), 16);
        assert_ne!(one, other);
    }
}
