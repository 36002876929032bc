//! The schema on PostgreSQL: brought up to date, and compared with what this binary knows.

use sqlx::{
    Connection, Executor, Postgres,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::PgConnection,
};

use crate::store::{StoreError, schema::compare};

/// Any number; others who migrate wait for it.
const LOCK: &str = "select pg_advisory_xact_lock(7236837498237)";

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    // The built-in lock belongs to a session, which a pooler in transaction mode hands to somebody else.
    migrator.set_locking(false);
    migrator
}

/// Runs all new migrations in one transaction, on a connection that is closed afterwards.
pub(super) async fn migrate(mut connection: PoolConnection<Postgres>) -> Result<(), StoreError> {
    connection.close_on_drop();
    let mut transaction = connection.begin().await?;
    check_encoding(&mut transaction).await?;
    // The migrator prepares statements under names, which behind a pooler outlive this connection.
    transaction.execute("deallocate all").await?;
    transaction.execute(LOCK).await?;
    match migrator().run_direct(None, &mut *transaction, false).await {
        Err(MigrateError::VersionMissing(_)) => return check(&mut transaction).await,
        outcome => outcome?,
    }
    transaction.execute("deallocate all").await?;
    Ok(transaction.commit().await?)
}

/// Refuses a database that cannot hold all text: the migrations' own comments may be what it fails at first.
async fn check_encoding(connection: &mut PgConnection) -> Result<(), StoreError> {
    let asked = "select current_database()::text, current_setting('server_encoding')";
    let (database, encoding): (String, String) = sqlx::query_as(asked).persistent(false).fetch_one(connection).await?;
    if encoding == "UTF8" { Ok(()) } else { Err(StoreError::Encoding { database, encoding }) }
}

/// Compares the schema with this binary's.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    check_encoding(connection).await?;
    let exists = "select to_regclass('_sqlx_migrations') is not null";
    let version = "select coalesce(max(version), 0) from _sqlx_migrations where success";
    let found = if sqlx::query_scalar(exists).persistent(false).fetch_one(&mut *connection).await? {
        sqlx::query_scalar(version).persistent(false).fetch_one(connection).await?
    } else {
        0
    };
    compare(found, &migrator())
}
