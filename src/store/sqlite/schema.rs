//! Opening an SQLite database and applying its migrations.
//!
//! It never touches a row outside `schema_migrations`.

use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::{Failure, Place};
use crate::clock;
use crate::store::StoreError;
use crate::store::migrations;

/// Statements kept prepared; all that the store uses fit.
const STATEMENTS_MAX: usize = 64;

/// Between two attempts to switch a file to WAL mode while another process does the same.
const WAL_RETRY: Duration = Duration::from_millis(10);

/// Opens the database and sets it up; `patience` is how long another process may hold it.
pub(super) fn connect(place: &Place, patience: Duration) -> Result<Connection, StoreError> {
    let (name, opened) = match place {
        Place::Memory => (String::from(":memory:"), Connection::open_in_memory()),
        Place::File(path) => (path.display().to_string(), Connection::open(path)),
    };
    opened
        .and_then(|connection| {
            connection.busy_timeout(patience)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            use_wal(&connection, patience)?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            // A file that can be read but not written would fail at the first record only.
            connection.execute_batch("begin immediate; rollback")?;
            Ok(connection)
        })
        .map_err(|error| StoreError::Unavailable(format!("can't open {name}: {error}")))
}

/// Switches to write-ahead logging. SQLite doesn't wait for other processes here, so this does.
fn use_wal(connection: &Connection, patience: Duration) -> Result<(), rusqlite::Error> {
    let begun = clock::now();
    loop {
        let switched = connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match switched {
            Ok(_) => return Ok(()),
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < patience =>
            {
                thread::sleep(WAL_RETRY);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Applies what is missing, in one exclusive transaction: another process waits, then finds nothing to do.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(
        "create table if not exists schema_migrations (
            version    integer primary key,
            name       text not null,
            applied_at integer not null
        ) strict",
    )?;
    let applied: Vec<i64> = transaction
        .prepare("select version from schema_migrations")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for step in migrations::pending(migrations::SQLITE, &applied) {
        transaction.execute_batch(step.sql)?;
        transaction.execute(
            "insert into schema_migrations (version, name, applied_at) values (?1, ?2, ?3)",
            params![step.version, step.name, clock::unix_us()],
        )?;
        tracing::info!(version = step.version, name = step.name, "schema migrated");
    }
    Ok(transaction.commit()?)
}
