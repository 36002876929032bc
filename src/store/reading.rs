//! Stored rows of progress, and the one reading of progress, lost ranges and dead letters. The same for both dialects.

use sqlx::{Error, FromRow};

use super::{ProgressReading, RefusedRecord};
use crate::domain::{Epoch, Halt, LastRecord, Position, Progress};

/// A row of `progress`.
#[derive(Debug, FromRow)]
pub(super) struct ProgressRow {
    partition: i32,
    log_id: String,
    generation: i32,
    next_offset: i64,
    last_offset: Option<i64>,
    last_digest: Option<i64>,
}

impl From<ProgressRow> for Progress {
    fn from(row: ProgressRow) -> Self {
        let last_record = row.last_offset.zip(row.last_digest);
        Self {
            partition: row.partition,
            log_id: row.log_id,
            generation: row.generation,
            next_offset: row.next_offset,
            last_record: last_record.map(|(offset, digest)| LastRecord { offset, digest: digest.cast_unsigned() }),
        }
    }
}

/// A row of the reading: of a partition, of the topic (`partition_count` is not null), of a dead letter (`epoch` and
/// `dead_letter` are not null) or of what a partition lost (`epoch` alone is not null).
#[derive(Debug, FromRow)]
pub(super) struct ReadingRow {
    partition: Option<i32>,
    log_id: Option<String>,
    generation: Option<i32>,
    next_offset: Option<i64>,
    last_offset: Option<i64>,
    last_digest: Option<i64>,
    partition_count: Option<i32>,
    dead_letter: Option<i64>,
    epoch: Option<i64>,
    halted: Option<String>,
}

impl ProgressReading {
    pub(super) fn of(rows: Vec<ReadingRow>) -> Result<Self, Error> {
        let mut reading = Self::default();
        for row in rows {
            match row {
                ReadingRow { partition_count: Some(count), dead_letter: Some(last), .. } => {
                    reading.partition_count = Some(count);
                    reading.last_dead_letter = last;
                }
                ReadingRow {
                    epoch: Some(epoch),
                    dead_letter: Some(id),
                    partition: Some(partition),
                    next_offset: Some(offset),
                    ..
                } => reading.dead_letters.push(RefusedRecord {
                    id,
                    epoch: Epoch(epoch.cast_unsigned()),
                    partition,
                    offset,
                }),
                ReadingRow {
                    epoch: Some(epoch), partition: Some(partition), next_offset: Some(next_offset), ..
                } => reading.lost.push(Position { partition, epoch: Epoch(epoch.cast_unsigned()), next_offset }),
                ReadingRow {
                    partition: Some(partition),
                    log_id: Some(log_id),
                    generation: Some(generation),
                    next_offset: Some(next_offset),
                    last_offset,
                    last_digest,
                    halted,
                    ..
                } => {
                    reading.halts.extend(halted.map(|halt| (partition, Halt::of(&halt))));
                    reading.progress.push(
                        ProgressRow { partition, log_id, generation, next_offset, last_offset, last_digest }.into(),
                    );
                }
                row => return Err(Error::Decode(format!("not a row of the reading: {row:?}").into())),
            }
        }
        // A union has no order.
        reading.progress.sort_unstable_by_key(|progress| progress.partition);
        reading.dead_letters.sort_unstable_by_key(|refused| refused.id);
        Ok(reading)
    }
}
