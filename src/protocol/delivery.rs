//! What the hub puts into a session's mailbox, and the session takes out.

use hashbrown::{DefaultHashBuilder, HashMap};
use indexmap::IndexSet;

use super::{Message, OrderView, PageLimits, SnapshotPages};
use crate::domain::{ListPlace, OrderId, Timestamp};

/// What an entry costs besides its message.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 96;

/// A snapshot that waits for the socket.
#[derive(Debug)]
pub struct PendingSnapshot {
    /// The moment it is true for.
    pub as_of: Timestamp,
    /// Whether it says something of the named orders only; a full one replaces all that is shown.
    pub partial: bool,
    /// The orders to show.
    pub orders: HashMap<OrderId, OrderView>,
    /// The orders to take away (of a partial one).
    pub removed: IndexSet<OrderId, DefaultHashBuilder>,
    /// The viewer's list goes on behind this place, and was not read further. Answers alone say so.
    pub list_end: Option<ListPlace>,
}

impl PendingSnapshot {
    /// An empty snapshot.
    pub fn new(as_of: Timestamp, partial: bool) -> Self {
        Self { as_of, partial, orders: HashMap::new(), removed: IndexSet::default(), list_end: None }
    }

    /// Says how one order looks now; `None`: it is not to be shown.
    pub fn put(&mut self, order_id: &OrderId, view: Option<OrderView>) {
        match view {
            Some(view) => {
                self.removed.swap_remove(order_id);
                self.orders.insert(order_id.clone(), view);
            }
            None => {
                self.orders.remove(order_id);
                if self.partial {
                    self.removed.insert(order_id.clone());
                }
            }
        }
    }

    /// Adds what a later, partial one says. Returns what that costs.
    pub(crate) fn merge(&mut self, later: Self) -> usize {
        self.as_of = later.as_of;
        self.list_end = later.list_end.or(self.list_end.take());
        let mut bytes = 0;
        for (order_id, view) in later.orders {
            if !self.orders.contains_key(&order_id) {
                bytes += ENTRY_OVERHEAD_BYTES + view.json_bytes();
            }
            self.put(&order_id, Some(view));
        }
        for order_id in later.removed {
            bytes += ENTRY_OVERHEAD_BYTES;
            self.put(&order_id, None);
        }
        bytes
    }

    /// Roughly how many bytes it takes as JSON.
    pub fn json_bytes(&self) -> usize {
        let removed: usize = self.removed.iter().map(|order_id| order_id.as_str().len() + 3).sum();
        removed + self.orders.values().map(OrderView::json_bytes).sum::<usize>()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.removed.is_empty()
    }

    /// Cuts it into messages.
    pub fn into_pages(self, limits: PageLimits) -> SnapshotPages {
        let orders = self.orders.into_values().collect();
        let pages = SnapshotPages::new(self.as_of, self.partial, orders, self.removed.into_iter().collect(), limits);
        match &self.list_end {
            Some(end) => pages.truncated_at(end),
            None => pages,
        }
    }
}

/// What a session takes out, most urgent first.
#[derive(Debug)]
pub enum Delivery {
    /// Nothing now; the waker has been kept.
    Nothing,
    /// A snapshot; nothing else is sent between its pages.
    Snapshot(PendingSnapshot),
    /// Orders a `subscribe` named that are not visible now.
    NotVisible(Vec<OrderId>),
    /// Finished messages, in order.
    Updates(Vec<Message>),
    /// The limit was passed: everything pending was forgotten, and the session is to ask the hub for a full snapshot.
    Overflowed,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Epoch, OrderState, Stamp, Timeline, Version, VersionKind, order::tests::paid};

    fn id(text: &str) -> OrderId {
        OrderId::parse(text).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000).unwrap()
    }

    fn view(order_id: &str, version: u64) -> OrderView {
        let state = Arc::new(OrderState {
            version: Version { number: version, kind: VersionKind::Field },
            stamp: Stamp { epoch: Epoch(7), partition: 0, offset: version.cast_signed() },
            ..paid(order_id, "u-1")
        });
        OrderView { timeline: Arc::new(Timeline::of(&state)), state }
    }

    fn snapshot(as_of: Timestamp, partial: bool, shown: &[(&str, u64)], removed: &[&str]) -> PendingSnapshot {
        let mut snapshot = PendingSnapshot::new(as_of, partial);
        shown.iter().for_each(|(order_id, version)| snapshot.put(&id(order_id), Some(view(order_id, *version))));
        removed.iter().for_each(|order_id| snapshot.put(&id(order_id), None));
        snapshot
    }

    /// What it shows, by id, and what it takes away.
    fn said(snapshot: &PendingSnapshot) -> (Vec<(&str, u64)>, Vec<&str>) {
        let shown = snapshot.orders.iter().map(|(order_id, view)| (order_id.as_str(), view.state.version.number));
        let mut shown: Vec<_> = shown.collect();
        shown.sort_unstable();
        (shown, snapshot.removed.iter().map(OrderId::as_str).collect())
    }

    #[test]
    fn of_each_order_the_later_word_counts_and_the_moment_is_the_later_one() {
        let mut pending = snapshot(at(1), true, &[("A-1", 1), ("A-2", 1)], &["A-3"]);
        pending.merge(snapshot(at(2), true, &[("A-1", 2), ("A-3", 1)], &["A-2", "A-4"]));
        assert_eq!(said(&pending), (vec![("A-1", 2), ("A-3", 1)], vec!["A-2", "A-4"]));
        assert_eq!(pending.as_of, at(2));
    }

    #[test]
    fn a_full_one_leaves_out_what_it_takes_away() {
        let mut pending = snapshot(at(1), false, &[("A-1", 1)], &["A-2"]);
        assert_eq!(said(&pending), (vec![("A-1", 1)], vec![]));
        pending.merge(snapshot(at(2), true, &[], &["A-1"]));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_merge_costs_what_it_adds_and_an_order_that_is_there_nothing() {
        let new = view("A-2", 1).json_bytes();
        let mut pending = snapshot(at(1), true, &[("A-1", 1)], &[]);
        assert_eq!(pending.merge(snapshot(at(2), true, &[("A-1", 2)], &[])), 0);
        assert_eq!(pending.merge(snapshot(at(2), true, &[("A-2", 1), ("A-1", 3)], &[])), ENTRY_OVERHEAD_BYTES + new);
        assert_eq!(pending.merge(snapshot(at(2), true, &[], &["A-3", "A-4"])), 2 * ENTRY_OVERHEAD_BYTES);
    }

    #[test]
    fn the_end_of_a_list_stays_known_and_a_later_one_takes_its_place() {
        let end = |order_id: &str| Some(ListPlace { changed_at: 0, order_id: id(order_id) });
        let mut pending = PendingSnapshot { list_end: end("A-1"), ..PendingSnapshot::new(at(1), false) };
        pending.merge(snapshot(at(2), true, &[("A-2", 1)], &[]));
        assert_eq!(pending.list_end, end("A-1"));
        pending.merge(PendingSnapshot { list_end: end("A-2"), ..PendingSnapshot::new(at(3), true) });
        assert_eq!(pending.list_end, end("A-2"));
    }

    #[test]
    fn what_it_takes_as_json_grows_with_all_it_says() {
        let one = view("A-1", 1).json_bytes();
        assert!(one > view("A-1", 1).state.size_bytes(), "its steps count");
        assert_eq!(snapshot(at(1), true, &[], &[]).json_bytes(), 0);
        assert_eq!(snapshot(at(1), true, &[("A-1", 1), ("A-2", 1)], &[]).json_bytes(), 2 * one);
        let removed = r#""A-3","#.len();
        assert_eq!(snapshot(at(1), true, &[("A-1", 1)], &["A-3", "A-4"]).json_bytes(), one + 2 * removed);
    }

    #[test]
    fn one_that_only_shows_or_only_takes_away_is_not_empty() {
        assert!(snapshot(at(1), true, &[], &[]).is_empty());
        assert!(!snapshot(at(1), true, &[("A-1", 1)], &[]).is_empty());
        assert!(!snapshot(at(1), true, &[], &["A-1"]).is_empty());
    }
}
