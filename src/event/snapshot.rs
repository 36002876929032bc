//! A snapshot: rows and progress, read from SQL in one statement.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Epoch, History, Lifecycle, OrderId, OrderState, Timestamp, UserId};

/// How far the recorder is in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The life of the log in which the offset counts.
    pub epoch: Epoch,
    /// The next offset the recorder will apply.
    pub next_offset: i64,
}

/// What a snapshot is read for.
#[derive(Debug, Clone, Default)]
pub struct SnapshotQuery {
    /// All orders that name these users, but terminal ones older than [`terminal_since`](Self::terminal_since).
    pub users: Vec<UserId>,
    /// Orders asked for by name: answered at any age, and by their marker if they were erased.
    pub orders: Vec<OrderId>,
    /// Terminal orders that changed at or before this moment are not listed.
    pub terminal_since: Option<Timestamp>,
    /// By which stored statuses count as terminal, as those of records do that come; `None`: as they were stored.
    pub lifecycle: Option<Arc<Lifecycle>>,
}

/// The truth of some orders at one progress.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    positions: Vec<Position>,
    histories: HashMap<OrderId, History>,
    listed: HashMap<UserId, Vec<OrderId>>,
    unreadable_values: u64,
}

impl Snapshot {
    /// Indexes what one statement read for `query`.
    pub fn new(query: &SnapshotQuery, positions: Vec<Position>, histories: HashMap<OrderId, History>) -> Self {
        let mut listed: HashMap<UserId, Vec<OrderId>> =
            query.users.iter().map(|user| (user.clone(), Vec::new())).collect();
        for state in histories.values().filter_map(|history| history.known.order()) {
            if query.lists(state) {
                for user in state.named() {
                    if let Some(orders) = listed.get_mut(user) {
                        orders.push(state.order_id.clone());
                    }
                }
            }
        }
        Self { positions, histories, listed, unreadable_values: 0 }
    }

    /// Notes how many values are not told as they are stored, because no client could read them.
    pub fn with_unreadable_values(self, unreadable_values: u64) -> Self {
        Self { unreadable_values, ..self }
    }

    /// How many values are not told as they are stored, because no client could read them.
    pub fn unreadable_values(&self) -> u64 {
        self.unreadable_values
    }

    /// The recorder's progress the rows were read at, one position per partition.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// How many orders it says something of.
    pub fn order_count(&self) -> usize {
        self.histories.len()
    }

    /// What the store knew of an order.
    pub fn history(&self, order: &str) -> Option<&History> {
        self.histories.get(order)
    }

    /// The orders listed for a user the query asked for.
    pub fn listed_for(&self, user: &UserId) -> &[OrderId] {
        self.listed.get(user).map_or(&[], Vec::as_slice)
    }
}

impl SnapshotQuery {
    /// Whether a viewer's list holds an order in this state.
    pub fn lists(&self, state: &OrderState) -> bool {
        !state.terminal || self.terminal_since.is_none_or(|since| state.occurred_at > since)
    }
}
