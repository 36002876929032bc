//! The recorder and its database, by the rules of the store: rows folded in log order, progress in the same step,
//! listing as the query says, markers that expire.

use hashbrown::HashMap;

use super::upstream::{TERMINAL_SINCE, Upstream};
use crate::domain::{History, Known, OrderId, Position, Snapshot, SnapshotQuery, Stamp, Timestamp, Verdict};

/// Rows and progress.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) rows: HashMap<OrderId, History>,
    pub(super) progress: Vec<Position>,
}

impl Database {
    /// Makes the progress row of a new partition.
    pub(super) fn begin(&mut self, at: Position) {
        self.progress.push(at);
    }

    /// Applies at most `most` records of a partition; of a log that was replaced, begins with the new one. Returns what
    /// it refused.
    pub(super) fn record(&mut self, upstream: &Upstream, partition: usize, most: usize) -> Vec<Stamp> {
        let log = &upstream.logs[partition];
        let at = &mut self.progress[partition];
        if at.epoch != log.epoch {
            (at.epoch, at.next_offset) = (log.epoch, 0);
        }
        let (mut refused, progress) = (Vec::new(), self.progress.clone());
        let stands = |known: Stamp| progress.get(known.partition as usize).is_some_and(|at| at.epoch == known.epoch);
        let at = &mut self.progress[partition];
        for event in log.records.iter().skip(at.next_offset as usize).take(most) {
            at.next_offset = event.stamp.offset + 1;
            if log.bad.contains(&event.stamp.offset) {
                refused.push(event.stamp);
                continue;
            }
            let (history, verdict) = History::fold(self.rows.remove(&event.order_id), event, stands);
            if matches!(verdict, Verdict::Unordered) {
                refused.push(event.stamp);
            }
            self.rows.extend(history.map(|history| (event.order_id.clone(), history)));
        }
        refused
    }

    /// One statement.
    pub(super) fn snapshot(&self, query: &SnapshotQuery) -> Snapshot {
        let answers = self.rows.iter().filter(|(order_id, history)| {
            let listed = |state: &_| query.lists_state(state) && query.lists().any(|part| state.names(&part.user));
            query.orders.contains(order_id) || history.known.order().is_some_and(|state| listed(state))
        });
        let histories = answers.map(|(order_id, history)| (order_id.clone(), history.clone())).collect();
        Snapshot::new(query, self.progress.clone(), histories)
    }

    /// Forgets all markers. Returns whose.
    pub(super) fn expire_markers(&mut self) -> Vec<OrderId> {
        self.rows
            .extract_if(|_, history| matches!(history.known, Known::Erased(_)))
            .map(|(order_id, _)| order_id)
            .collect()
    }
}

/// The moment at or before which changed terminal orders are not listed.
pub(super) fn terminal_since() -> Timestamp {
    Timestamp::from_millis(TERMINAL_SINCE).expect("a second after 1970 is a moment")
}
