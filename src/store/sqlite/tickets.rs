//! One-time tickets.

use sqlx::{query, query_as, query_scalar, sqlite::SqliteConnection};

use crate::store::UsedTicket;

const ISSUE: &str = "
    insert into tickets (digest, claims, expires_at)
    values (?1, ?2, cast(unixepoch('subsec') * 1000 as integer) + ?3)
    returning expires_at";

const FIND: &str = "
    select claims from tickets where digest = ?1 and expires_at > cast(unixepoch('subsec') * 1000 as integer)";

const USE: &str = "
    delete from tickets where digest = ?1 and expires_at > cast(unixepoch('subsec') * 1000 as integer)
    returning claims, expires_at";

const RESTORE: &str = "
    insert into tickets (digest, claims, expires_at) values (?1, ?2, ?3) on conflict (digest) do nothing";

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

pub(super) async fn use_up(connection: &mut SqliteConnection, digest: &[u8]) -> sqlx::Result<Option<UsedTicket>> {
    let used: Option<(String, i64)> = query_as(USE).bind(digest).fetch_optional(connection).await?;
    Ok(used.map(|(claims, expires_at)| UsedTicket { digest: digest.to_vec(), claims, expires_at }))
}

pub(super) async fn restore(connection: &mut SqliteConnection, ticket: &UsedTicket) -> sqlx::Result<()> {
    let UsedTicket { digest, claims, expires_at } = ticket;
    query(RESTORE).bind(digest).bind(claims).bind(expires_at).execute(connection).await.map(drop)
}

pub(super) async fn forget(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    Ok(query(FORGET).execute(connection).await?.rows_affected())
}
