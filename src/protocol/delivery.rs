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
