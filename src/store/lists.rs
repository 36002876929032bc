//! Parts of viewers' lists, as a snapshot statement is asked for them and answers. The same for both dialects.

use serde::Serialize;
use sqlx::FromRow;

use super::rows::OPEN;
use crate::domain::{ListPart, ListPlace, OrderId, Snapshot, SnapshotQuery};

/// Behind every id.
const LAST_ID: &str = "\u{10ffff}";

/// A part of a list, as the statement takes it. Rows of `order_viewers` are compared with these columns.
#[derive(Debug, Serialize)]
pub(super) struct Viewer<'q> {
    pub(super) user_id: &'q str,
    /// Orders that have not ended come before this `terminal_at`, others before the next.
    pub(super) before_open: i64,
    pub(super) before_ended: i64,
    /// And before this `order_id` where that is the same.
    pub(super) before_id: &'q str,
    pub(super) max_orders: i64,
}

/// All parts that one statement asks for, in the order in which it numbers them.
#[derive(Debug)]
pub(super) struct Lists {
    parts: Vec<ListPart>,
    most_of_each: usize,
}

/// A row that tells the place of an order at the end of a part, or behind it.
#[derive(Debug, FromRow)]
pub(super) struct EndRow {
    /// Counted from 1.
    #[sqlx(rename = "version_number")]
    number: i64,
    /// Counted from 1.
    #[sqlx(rename = "log_offset")]
    rank: i64,
    #[sqlx(rename = "occurred_at")]
    changed_at: i64,
    order_id: String,
}

impl Lists {
    pub(super) fn of(asked: &SnapshotQuery) -> Self {
        Self { parts: asked.lists().collect(), most_of_each: asked.most_of_each.unwrap_or(usize::MAX) }
    }

    pub(super) fn viewers(&self) -> Vec<Viewer<'_>> {
        let viewers = self.parts.iter().map(|ListPart { user, after, max_orders }| {
            let before = after.as_ref().map_or(i64::MAX, |after: &ListPlace| after.changed_at);
            Viewer {
                user_id: user.as_str(),
                before_open: before.saturating_add(OPEN),
                before_ended: before.min(OPEN / 2),
                before_id: after.as_ref().map_or(LAST_ID, |after| after.order_id.as_str()),
                max_orders: rows((*max_orders).min(self.most_of_each)),
            }
        });
        viewers.collect()
    }

    /// Rows to read of a part at most: one more than any of them may have, to know whether there are more.
    pub(super) fn limit(&self) -> i64 {
        let longest = self.parts.iter().map(|part| part.max_orders.min(self.most_of_each)).max().unwrap_or(0);
        rows(longest) + 1
    }

    fn numbered(&self, number: i64) -> Option<&ListPart> {
        self.parts.get(usize::try_from(number - 1).ok()?)
    }

    /// Tells the snapshot where parts were cut, and which were not read.
    pub(super) fn cut(&self, mut snapshot: Snapshot, mut ends: Vec<EndRow>) -> Snapshot {
        ends.sort_unstable_by_key(|row| (row.number, row.rank));
        for pair in ends.windows(2) {
            let [last, more] = pair else { continue };
            if let Some(part) = self.numbered(last.number)
                && last.number == more.number
                && let Ok(order_id) = OrderId::parse(&last.order_id)
            {
                snapshot = match part.max_orders > self.most_of_each {
                    true => snapshot.too_long(part),
                    false => snapshot.cut_at(part, ListPlace { changed_at: last.changed_at, order_id }),
                };
            }
        }
        snapshot
    }
}

/// No list is longer than this.
fn rows(max_orders: usize) -> i64 {
    i64::try_from(max_orders).unwrap_or(i64::MAX).min(1 << 40)
}
