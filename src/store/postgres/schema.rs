//! Applying the Postgres migrations, one node at a time.
//!
//! It asks for no right to create tables when there is nothing to apply.

use deadpool_postgres::Object;

use super::Failure;
use crate::store::migrations;

/// The advisory lock that nodes take while they migrate: "fanfare" as a number.
const LOCK: i64 = 0x66_61_6e_66_61_72_65;

/// Applies what is missing, under a lock that ends with the transaction.
pub(super) async fn migrate(client: &Object) -> Result<(), Failure> {
    let exists: bool = client
        .query_one("select to_regclass('schema_migrations') is not null", &[])
        .await?
        .get(0);
    if exists && migrations::pending(migrations::POSTGRES, &applied(client).await?).is_empty() {
        return Ok(());
    }
    client
        .batch_execute("begin isolation level read committed read write")
        .await?;
    match apply(client).await {
        Ok(()) => Ok(client.batch_execute("commit").await?),
        Err(failure) => {
            // The first error is the one to report; a lost connection rolls back as well.
            let _ = client.batch_execute("rollback").await;
            Err(failure)
        }
    }
}

async fn apply(client: &Object) -> Result<(), Failure> {
    // Another node may be busy for longer than a statement usually may.
    client
        .batch_execute("set local statement_timeout = 0; set local lock_timeout = 0")
        .await?;
    client
        .execute("select pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    client
        .batch_execute(
            "create table if not exists schema_migrations (
                version    bigint primary key,
                name       text not null,
                applied_at timestamptz not null default now()
            )",
        )
        .await?;
    for step in migrations::pending(migrations::POSTGRES, &applied(client).await?) {
        client.batch_execute(step.sql).await?;
        client
            .execute(
                "insert into schema_migrations (version, name) values ($1, $2)",
                &[&step.version, &step.name],
            )
            .await?;
        tracing::info!(version = step.version, name = step.name, "schema migrated");
    }
    Ok(())
}

async fn applied(client: &Object) -> Result<Vec<i64>, tokio_postgres::Error> {
    let rows = client
        .query("select version from schema_migrations", &[])
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
