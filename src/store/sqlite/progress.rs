//! Topics and the progress of their partitions.

use sqlx::{
    Sqlite, query,
    query::Query,
    query_as,
    sqlite::{SqliteArguments, SqliteConnection},
};

use crate::{
    domain::{Halt, Progress},
    store::{
        HaltFinding, KeptDeadLetter, MAX_DEAD_LETTERS_READ, MAX_KEPT_DEAD_LETTERS, ProgressReading, Relocation,
        StoreError, TopicOpening,
        reading::{ProgressRow, ReadingRow},
    },
};

const OPEN_TOPIC: &str = "insert into topics (topic, partition_count) values (?1, ?2) on conflict do nothing";

const OPEN_PARTITION: &str = "
    insert into progress (topic, partition, log_id, generation, next_offset) values (?1, ?2, ?3, 0, ?4)
    on conflict do nothing";

const PARTITIONS: &str = "
    select partition, log_id, generation, next_offset, last_offset, last_digest
    from progress where topic = ?1 order by partition";

/// The partitions of this log that the topic has now: rows of others stay.
const LIVES: &str = "
    select p.partition, p.log_id, p.generation, p.next_offset, p.last_offset, p.last_digest
    from progress p join topics t on t.topic = p.topic
    where p.topic = ?1 and p.log_id = ?2 and p.partition < t.partition_count";

/// Rows of four kinds: partitions, the topic, where those went on that lost records, dead letters.
const READING: &str = "
    select partition, log_id, generation, next_offset, last_offset, last_digest,
           null as partition_count, null as dead_letter, null as epoch, halted
    from progress where topic = ?1
    union all
    select null, null, null, null, null, null, partition_count, last_dead_letter, null, null
    from topics where topic = ?1
    union all
    select partition, null, null, max(to_offset), null, null, null, null, epoch, null
    from lost_ranges where topic = ?1 group by epoch, partition
    union all
    select * from (select partition, null, null, log_offset, null, null, null, id, epoch, null
                   from dead_letters where topic = ?1 and id > ?2 and code in ('rejected_by_store', 'unordered')
                   order by id limit ?3)";

const RELOCATE: &str = "
    update progress
    set log_id = ?8, generation = ?9, next_offset = ?10, last_offset = ?11, last_digest = ?12, halted = null,
        updated_at = cast(unixepoch('subsec') * 1000 as integer)
    where topic = ?1 and partition = ?2 and log_id = ?3 and generation = ?4 and next_offset = ?5
      and last_offset is ?6 and last_digest is ?7";

const SET_HALT: &str = "
    update progress set halted = ?8
    where topic = ?1 and partition = ?2 and log_id = ?3 and generation = ?4 and next_offset = ?5
      and last_offset is ?6 and last_digest is ?7";

const LOST_RANGE: &str = "
    insert into lost_ranges (topic, epoch, partition, from_offset, to_offset) values (?1, ?2, ?3, ?4, ?5)";

const RECOUNT: &str = "update topics set partition_count = ?2 where topic = ?1";

const DEAD_LETTERS_OF: &str = "
    select partition, log_offset, code, message, recorded_at, held
    from dead_letters where topic = ?1 and key = ?2 order by id desc limit ?3";

pub(super) async fn open_topic(
    connection: &mut SqliteConnection,
    opening: &TopicOpening,
) -> Result<Vec<Progress>, StoreError> {
    query(OPEN_TOPIC).bind(&opening.topic).bind(opening.partition_count).execute(&mut *connection).await?;
    for (partition, low_watermark) in &opening.low_watermarks {
        query(OPEN_PARTITION)
            .bind(&opening.topic)
            .bind(partition)
            .bind(&opening.log_id)
            .bind(low_watermark)
            .execute(&mut *connection)
            .await?;
    }
    partitions(connection, &opening.topic).await
}

pub(super) async fn partitions(connection: &mut SqliteConnection, topic: &str) -> Result<Vec<Progress>, StoreError> {
    let rows: Vec<ProgressRow> = query_as(PARTITIONS).bind(topic).fetch_all(connection).await?;
    Ok(rows.into_iter().map(Progress::from).collect())
}

/// The lives that the partitions of this log are in.
pub(super) async fn lives(
    connection: &mut SqliteConnection,
    topic: &str,
    log_id: &str,
) -> Result<Vec<Progress>, StoreError> {
    let rows: Vec<ProgressRow> = query_as(LIVES).bind(topic).bind(log_id).fetch_all(connection).await?;
    Ok(rows.into_iter().map(Progress::from).collect())
}

pub(super) async fn read(
    connection: &mut SqliteConnection,
    topic: &str,
    after_dead_letter: i64,
) -> Result<ProgressReading, StoreError> {
    let rows: Vec<ReadingRow> =
        query_as(READING).bind(topic).bind(after_dead_letter).bind(MAX_DEAD_LETTERS_READ).fetch_all(connection).await?;
    Ok(ProgressReading::of(rows)?)
}

pub(super) async fn relocate(connection: &mut SqliteConnection, relocation: &Relocation) -> Result<(), StoreError> {
    let Relocation { topic, from, to, lost_range, partition_count } = relocation;
    let moved = where_it_stands(RELOCATE, topic, from)
        .bind(&to.log_id)
        .bind(to.generation)
        .bind(to.next_offset)
        .bind(to.last_record.map(|record| record.offset))
        .bind(to.last_record.map(|record| record.digest.cast_signed()))
        .execute(&mut *connection)
        .await?;
    if moved.rows_affected() != 1 {
        return Err(StoreError::LostPartition { partition: from.partition });
    }
    if let Some((start, end)) = lost_range {
        query(LOST_RANGE)
            .bind(topic)
            .bind(from.epoch().0.cast_signed())
            .bind(from.partition)
            .bind(start)
            .bind(end)
            .execute(&mut *connection)
            .await?;
    }
    if let Some(count) = partition_count {
        query(RECOUNT).bind(topic).bind(count).execute(connection).await?;
    }
    Ok(())
}

pub(super) async fn set_halt(connection: &mut SqliteConnection, finding: &HaltFinding) -> Result<(), StoreError> {
    let HaltFinding { topic, at, halt } = finding;
    where_it_stands(SET_HALT, topic, at).bind(halt.map(Halt::as_str)).execute(connection).await?;
    Ok(())
}

/// A statement about a partition that stands here: the first seven parameters.
fn where_it_stands<'q>(
    statement: &'static str,
    topic: &'q str,
    at: &'q Progress,
) -> Query<'q, Sqlite, SqliteArguments> {
    query(statement)
        .bind(topic)
        .bind(at.partition)
        .bind(&at.log_id)
        .bind(at.generation)
        .bind(at.next_offset)
        .bind(at.last_record.map(|record| record.offset))
        .bind(at.last_record.map(|record| record.digest.cast_signed()))
}

pub(super) async fn dead_letters_of(
    connection: &mut SqliteConnection,
    topic: &str,
    keys: &[Vec<u8>],
) -> sqlx::Result<Vec<KeptDeadLetter>> {
    let mut dead_letters = Vec::new();
    for key in keys {
        let found = query_as(DEAD_LETTERS_OF).bind(topic).bind(key).bind(MAX_KEPT_DEAD_LETTERS);
        dead_letters.extend(found.fetch_all(&mut *connection).await?);
    }
    Ok(dead_letters)
}
