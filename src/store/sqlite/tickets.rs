//! One-time tickets.

use sqlx::{query, query_scalar, sqlite::SqliteConnection};

const ISSUE: &str = "
    insert into tickets (digest, claims, expires_at)
    values (?1, ?2, cast(unixepoch('subsec') * 1000 as integer) + ?3)
    returning expires_at";

const FIND: &str = "
    select claims from tickets where digest = ?1 and expires_at > cast(unixepoch('subsec') * 1000 as integer)";

const USE: &str = "
    delete from tickets where digest = ?1 and expires_at > cast(unixepoch('subsec') * 1000 as integer)";

const FORGET: &str = "delete from tickets where expires_at <= cast(unixepoch('subsec') * 1000 as integer)";

pub(super) async fn issue(
    connection: &mut SqliteConnection,
    digest: &[u8],
    claims: &str,
    lifetime_millis: i64,
) -> sqlx::Result<i64> {
    query_scalar(ISSUE).bind(digest).bind(claims).bind(lifetime_millis).fetch_one(connection).await
}

pub(super) async fn find(connection: &mut SqliteConnection, digest: &[u8]) -> sqlx::Result<Option<String>> {
    query_scalar(FIND).bind(digest).fetch_optional(connection).await
}

pub(super) async fn use_up(connection: &mut SqliteConnection, digest: &[u8]) -> sqlx::Result<bool> {
    Ok(query(USE).bind(digest).execute(connection).await?.rows_affected() == 1)
}

pub(super) async fn forget(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    Ok(query(FORGET).execute(connection).await?.rows_affected())
}
