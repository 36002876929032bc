//! From the rows of the snapshot statement to a snapshot. The same for both dialects.

use hashbrown::HashMap;
use sqlx::{ColumnIndex, Decode, Error, FromRow, Row, Type};

use super::{
    StoreError,
    rows::{MarkerRow, OrderRow, unreadable},
};
use crate::domain::{Epoch, Position, Snapshot, SnapshotQuery, UserId};

/// A row of `progress`, under the column names that the snapshot statement gives it.
#[derive(Debug, FromRow)]
pub(super) struct PositionRow {
    partition: i32,
    #[sqlx(rename = "order_id")]
    log_id: String,
    #[sqlx(rename = "version_number")]
    generation: i64,
    #[sqlx(rename = "log_offset")]
    next_offset: i64,
}

/// What is bound for how many listed orders are read: one more than is allowed tells that there are too many.
pub(super) fn limit(asked: &SnapshotQuery) -> i64 {
    asked.most_listed.map_or(i64::MAX, |most| i64::try_from(most).map_or(i64::MAX, |most| most.saturating_add(1)))
}

/// Sorts rows by their `kind`: positions (0), orders (1), markers (2), and how many orders were
/// listed by user (3).
pub(super) fn gather<'r, R: Row>(asked: &SnapshotQuery, rows: &'r [R]) -> Result<Snapshot, StoreError>
where
    for<'q> &'q str: ColumnIndex<R>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    PositionRow: FromRow<'r, R>,
    OrderRow: FromRow<'r, R>,
    MarkerRow: FromRow<'r, R>,
{
    let (mut positions, mut listed) = (Vec::new(), Vec::new());
    let (mut histories, mut unreadable_values) = (HashMap::with_capacity(rows.len()), 0);
    for row in rows {
        match row.try_get("kind")? {
            3 => {
                let (user, orders): (String, i64) = (row.try_get("order_id")?, row.try_get("log_offset")?);
                let user = UserId::parse(&user).map_err(unreadable)?;
                listed.push((user, usize::try_from(orders).map_err(unreadable)?));
            }
            0 => positions.push(PositionRow::from_row(row)?.into_position()?),
            1 => {
                let (history, unreadable) =
                    OrderRow::from_row(row).and_then(OrderRow::into_history).map_err(of_order(row))?;
                histories.extend([history]);
                unreadable_values += unreadable;
            }
            _ => {
                let history = MarkerRow::from_row(row).and_then(MarkerRow::into_history).map_err(of_order(row))?;
                histories.extend([history]);
            }
        }
    }
    let all: usize = listed.iter().map(|(_, orders)| orders).sum();
    if let Some(most) = asked.most_listed.filter(|most| all > *most) {
        return Err(StoreError::TooMuch { most, listed });
    }
    positions.sort_unstable_by_key(|position| position.partition);
    Ok(Snapshot::new(asked, positions, histories).with_unreadable_values(unreadable_values))
}

/// Says of an error whose row it is about.
fn of_order<'r, R: Row>(row: &'r R) -> impl FnOnce(Error) -> StoreError
where
    for<'q> &'q str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    move |error| match row.try_get("order_id") {
        Ok(order) => StoreError::Unreadable { order, error },
        Err(_) => error.into(),
    }
}

impl PositionRow {
    fn into_position(self) -> Result<Position, Error> {
        let generation = i32::try_from(self.generation).map_err(unreadable)?;
        Ok(Position {
            partition: self.partition,
            epoch: Epoch::of(&self.log_id, generation),
            next_offset: self.next_offset,
        })
    }
}
