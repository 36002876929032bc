//! Statements on held dead letters and replays.

use sqlx::{query, query_as, query_scalar, sqlite::SqliteConnection};

use crate::{
    domain::Epoch,
    store::{
        RecordId, Replay, StoreError, StoredDeadLetter,
        replays::{HeldRow, MAX_HELD_READ, ReplayRow},
    },
};

const HELD: &str = "
    select id, partition, log_offset, code, message, recorded_at, key, value, headers,
           created_at as created_at_millis
    from dead_letters where topic = ?1 and held and id > ?2 order by id limit ?3";

const EPOCH: &str = "
    select epoch from dead_letters
    where topic = ?1 and partition = ?2 and log_offset = ?3 and coalesce(recorded_at, -1) = ?4
    order by id desc limit 1";

const REPLAYS: &str = "
    select partition, log_offset, recorded_at, begun_at as begun_at_millis,
           sent_partition, sent_offset
    from replays where topic = ?1";

const BEGIN: &str = "
    insert into replays (topic, partition, log_offset, recorded_at) values (?1, ?2, ?3, ?4)
    on conflict (topic, partition, log_offset, recorded_at) do update
    set begun_at = cast(unixepoch('subsec') * 1000 as integer), sent_partition = null, sent_offset = null where ?5";

const SENT: &str = "
    update replays set sent_partition = ?5, sent_offset = ?6
    where topic = ?1 and partition = ?2 and log_offset = ?3 and recorded_at = ?4";

const NOT_SENT: &str = "
    delete from replays where topic = ?1 and partition = ?2 and log_offset = ?3 and recorded_at = ?4";

pub(super) async fn held(
    connection: &mut SqliteConnection,
    topic: &str,
    after: i64,
) -> Result<Vec<StoredDeadLetter>, StoreError> {
    let statement = query_as(HELD).bind(topic).bind(after).bind(MAX_HELD_READ);
    let rows: Vec<HeldRow> = statement.fetch_all(connection).await?;
    Ok(rows.into_iter().map(HeldRow::into_dead_letter).collect::<Result<_, _>>()?)
}

pub(super) async fn epoch(
    connection: &mut SqliteConnection,
    topic: &str,
    record: RecordId,
) -> Result<Option<Epoch>, StoreError> {
    let statement = query_scalar(EPOCH).bind(topic).bind(record.partition).bind(record.offset);
    let epoch: Option<i64> = statement.bind(record.timestamp_millis).fetch_optional(connection).await?;
    Ok(epoch.map(|epoch| Epoch(epoch.cast_unsigned())))
}

pub(super) async fn all(connection: &mut SqliteConnection, topic: &str) -> Result<Vec<Replay>, StoreError> {
    let rows: Vec<ReplayRow> = query_as(REPLAYS).bind(topic).fetch_all(connection).await?;
    Ok(rows.into_iter().map(ReplayRow::into_replay).collect::<Result<_, _>>()?)
}

pub(super) async fn begin(
    connection: &mut SqliteConnection,
    topic: &str,
    record: RecordId,
    again: bool,
) -> Result<bool, StoreError> {
    let statement = query(BEGIN).bind(topic).bind(record.partition).bind(record.offset);
    let done = statement.bind(record.timestamp_millis).bind(again).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn end(
    connection: &mut SqliteConnection,
    topic: &str,
    record: RecordId,
    sent_to: Option<(i32, i64)>,
) -> Result<(), StoreError> {
    let statement = query(if sent_to.is_some() { SENT } else { NOT_SENT });
    let statement = statement.bind(topic).bind(record.partition).bind(record.offset).bind(record.timestamp_millis);
    let statement = match sent_to {
        Some((partition, offset)) => statement.bind(partition).bind(offset),
        None => statement,
    };
    statement.execute(connection).await?;
    Ok(())
}
