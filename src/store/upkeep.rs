//! What is put right in rows although no record asks for it: which orders count as terminal, after the settings have changed.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::{
    Store, StoreError,
    plan::Plan,
    rows::{MarkerRow, OrderRow, ViewerRow},
};
use crate::domain::{History, Known, Lifecycle, Marker, OrderId};

/// Rows of lists in one stretch: few enough that nobody waits for long behind it.
pub(super) const STRETCH: i64 = 1_000;

/// A row of a viewer's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    pub(super) user_id: String,
    pub(super) terminal_at: i64,
    pub(super) order_id: String,
}

/// What became of a stretch, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restated {
    /// Orders that are terminal now, or not any more.
    pub orders: u64,
    /// Rows of lists that stood elsewhere, or for nothing.
    pub rows: u64,
    /// Orders whose rows cannot be read, and what is wrong with each. They stay as they are, and so do their places in lists.
    pub unreadable: BTreeMap<String, String>,
    /// The last row that was looked at, if others may follow.
    pub next: Option<ListRow>,
}

/// What became of a stretch of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasedStretch {
    /// Orders that were erased.
    pub orders: u64,
    /// The last order that was looked at, if others may follow.
    pub next: Option<OrderId>,
}

impl ErasedStretch {
    /// After these orders were looked at, and what the plan says was done.
    pub(super) fn of(looked_at: &[String], plan: &Plan) -> Self {
        let last = looked_at.last().filter(|_| looked_at.len() as i64 == STRETCH);
        Self { orders: plan.removed.len() as u64, next: last.and_then(|last| OrderId::parse(last).ok()) }
    }
}

/// Goes through all lists, stretch by stretch. What was done before an error stays done.
pub async fn restate_all(store: &dyn Store, lifecycle: &Lifecycle) -> Result<Restated, StoreError> {
    let mut all = Restated::default();
    loop {
        let stretch = store.restate(lifecycle, all.next.as_ref()).await?;
        all.orders += stretch.orders;
        all.rows += stretch.rows;
        all.unreadable.extend(stretch.unreadable);
        all.next = stretch.next;
        if all.next.is_none() {
            return Ok(all);
        }
    }
}

impl Restated {
    /// After these rows were looked at, which a stretch was asked for.
    pub(super) fn after(rows: &[ViewerRow]) -> Self {
        let last = rows.last().filter(|_| rows.len() as i64 == STRETCH);
        let next = last.map(|row| ListRow {
            user_id: row.user_id.clone(),
            terminal_at: row.terminal_at,
            order_id: row.order_id.clone(),
        });
        Self { next, ..Self::default() }
    }

    /// What these rows of orders say, and notes those that cannot be read.
    pub(super) fn reading(mut self, rows: Vec<OrderRow>) -> (HashMap<OrderId, History>, Self) {
        let mut stored = HashMap::with_capacity(rows.len());
        for row in rows {
            let order = row.order_id.clone();
            match row.into_history() {
                Ok((history, _)) => stored.extend([history]),
                Err(error) => _ = self.unreadable.insert(order, error.to_string()),
            }
        }
        (stored, self)
    }

    /// Without the rows of orders that cannot be read.
    pub(super) fn readable(&self, mut rows: Vec<ViewerRow>) -> Vec<ViewerRow> {
        rows.retain(|row| !self.unreadable.contains_key(&row.order_id));
        rows
    }

    /// Counts what was changed.
    pub(super) fn with(self, plan: &Plan) -> Self {
        Self { orders: plan.restated.len() as u64, rows: plan.hidden.len() as u64, ..self }
    }
}

impl Plan {
    /// What is to be changed so that these rows, and all others of their orders, are what `lifecycle` says. To be asked
    /// twice: of what was read, whether there is anything; then again of what is locked.
    pub(super) fn restate(rows: &[ViewerRow], stored: &HashMap<OrderId, History>, lifecycle: &Lifecycle) -> Self {
        let mut by_order: BTreeMap<&str, BTreeSet<&ViewerRow>> = BTreeMap::new();
        for row in rows {
            by_order.entry(&row.order_id).or_default().insert(row);
        }
        let mut plan = Self::default();
        for (order, rows) in by_order {
            let state = stored.get(order).and_then(|history| history.known.order());
            let terminal = state.is_some_and(|state| lifecycle.is_terminal(&state.status));
            let right: BTreeSet<ViewerRow> =
                state.into_iter().flat_map(|state| ViewerRow::listing(state, terminal)).collect();
            let mut wrong: BTreeSet<ViewerRow> =
                rows.into_iter().filter(|row| !right.contains(*row)).cloned().collect();
            if state.is_some_and(|state| state.terminal != terminal) {
                plan.restated.push(order.to_owned());
                let standing = state.into_iter().flat_map(|state| ViewerRow::of(state));
                wrong.extend(standing.filter(|row| !right.contains(row)));
            }
            if !wrong.is_empty() {
                plan.hidden.extend(wrong);
                plan.shown.extend(right);
            }
        }
        plan
    }

    /// Erases these orders, which are locked, where `lifecycle` calls them terminal. Their own record stands for the
    /// tombstone that there is not: whoever still shows that state shows nothing wrong.
    pub(super) fn erase_ended(stored: impl IntoIterator<Item = (OrderId, History)>, lifecycle: &Lifecycle) -> Self {
        let mut plan = Self::default();
        for (order, history) in stored {
            let Known::Order(state) = &history.known else { continue };
            if lifecycle.is_terminal(&state.status) {
                plan.removed.push(order.to_string());
                plan.marked.push(MarkerRow::of(&order, Marker { version: state.version, stamp: state.stamp }));
                plan.change_viewers(Some(state), None);
            }
        }
        plan.removed.sort_unstable();
        plan.marked.sort_unstable_by(|a, b| a.order_id.cmp(&b.order_id));
        plan.hidden.sort_unstable();
        plan
    }

    /// The orders that [`restate`](Self::restate) would change, sorted.
    pub(super) fn touched(&self) -> Vec<&str> {
        let hidden = self.hidden.iter().map(|row| row.order_id.as_str());
        hidden.chain(self.restated.iter().map(String::as_str)).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
