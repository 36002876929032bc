//! One-time tickets. Time is the database's, so that instances whose clocks differ agree on a ticket's end.

use sqlx::{postgres::PgConnection, query, query_as, query_scalar};

use crate::store::UsedTicket;

const ISSUE: &str = "
    insert into tickets (digest, claims, expires_at)
    values ($1, $2, now() + $3 * interval '1 millisecond')
    returning (extract(epoch from expires_at) * 1000)::bigint";

const FIND: &str = "select claims from tickets where digest = $1 and expires_at > now()";

const USE: &str = "
    delete from tickets where digest = $1 and expires_at > now()
    returning claims, (extract(epoch from expires_at) * 1000)::bigint";

/// Waits for whoever may be about to have removed it.
const RESTORE: &str = "
    insert into tickets (digest, claims, expires_at) values ($1, $2, to_timestamp($3 / 1000))
    on conflict (digest) do nothing";

/// Skips what another instance is removing at this moment.
const FORGET: &str = "
    delete from tickets where digest in (
        select digest from tickets where expires_at <= now() order by digest for update skip locked)";

pub(super) async fn issue(
    connection: &mut PgConnection,
    digest: &[u8],
    claims: &str,
    lifetime_millis: i64,
) -> sqlx::Result<i64> {
    query_scalar(ISSUE)
        .persistent(false)
        .bind(digest)
        .bind(claims)
        .bind(lifetime_millis as f64)
        .fetch_one(connection)
        .await
}

pub(super) async fn find(connection: &mut PgConnection, digest: &[u8]) -> sqlx::Result<Option<String>> {
    query_scalar(FIND).persistent(false).bind(digest).fetch_optional(connection).await
}

/// Of several who use it at once, the row's lock lets one delete it; the others find it gone.
pub(super) async fn use_up(connection: &mut PgConnection, digest: &[u8]) -> sqlx::Result<Option<UsedTicket>> {
    let used: Option<(String, i64)> = query_as(USE).persistent(false).bind(digest).fetch_optional(connection).await?;
    Ok(used.map(|(claims, expires_at)| UsedTicket { digest: digest.to_vec(), claims, expires_at }))
}

pub(super) async fn restore(connection: &mut PgConnection, ticket: &UsedTicket) -> sqlx::Result<()> {
    let UsedTicket { digest, claims, expires_at } = ticket;
    let restored = query(RESTORE).persistent(false).bind(digest).bind(claims).bind(*expires_at as f64);
    restored.execute(connection).await.map(drop)
}

pub(super) async fn forget(connection: &mut PgConnection) -> sqlx::Result<u64> {
    Ok(query(FORGET).persistent(false).execute(connection).await?.rows_affected())
}
