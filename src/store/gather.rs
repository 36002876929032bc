//! From the rows of the snapshot statement to a snapshot. The same for both dialects.

use hashbrown::HashMap;
use sqlx::{ColumnIndex, Decode, Error, FromRow, Row, Type};

use super::{
    StoreError,
    lists::{EndRow, Lists},
    rows::{MarkerRow, OrderRow, unreadable},
};
use crate::domain::{Epoch, Position, Snapshot, SnapshotQuery};

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

/// Sorts rows by their `kind`: positions (0), orders (1), markers (2), and ends of lists (3).
pub(super) fn gather<'r, R: Row>(asked: &SnapshotQuery, lists: &Lists, rows: &'r [R]) -> Result<Snapshot, StoreError>
where
    for<'q> &'q str: ColumnIndex<R>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    PositionRow: FromRow<'r, R>,
    OrderRow: FromRow<'r, R>,
    MarkerRow: FromRow<'r, R>,
    EndRow: FromRow<'r, R>,
{
    let (mut positions, mut ends) = (Vec::new(), Vec::new());
    let (mut histories, mut unreadable_values) = (HashMap::with_capacity(rows.len()), 0);
    for row in rows {
        match row.try_get("kind")? {
            0 => positions.push(PositionRow::from_row(row)?.into_position()?),
            1 => {
                let read = |mut row: OrderRow| {
                    if let Some(lifecycle) = &asked.lifecycle {
                        row.terminal = lifecycle.is_terminal(&row.status);
                    }
                    row.into_history()
                };
                let (history, unreadable) = OrderRow::from_row(row).and_then(read).map_err(of_order(row))?;
                histories.extend([history]);
                unreadable_values += unreadable;
            }
            3 => ends.push(EndRow::from_row(row)?),
            _ => {
                let history = MarkerRow::from_row(row).and_then(MarkerRow::into_history).map_err(of_order(row))?;
                histories.extend([history]);
            }
        }
    }
    positions.sort_unstable_by_key(|position| position.partition);
    Ok(lists.cut(Snapshot::new(asked, positions, histories), ends).with_unreadable_values(unreadable_values))
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
