//! What the recorder does when the group gives it partitions and takes them back. Waits for no SQL.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{assignment::Assignment, in_flight::InFlight};
use crate::log::kafka::rebalance::Rebalance;

/// How long partitions are held on to while the writer finishes what is in flight.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// The assignment, as the client's callbacks and the recorder's thread share it.
pub(super) struct Rebalancing {
    assignment: Mutex<Assignment>,
    in_flight: Arc<InFlight>,
}

impl Rebalancing {
    pub(super) fn new(assignment: Assignment, in_flight: Arc<InFlight>) -> Self {
        Self { assignment: Mutex::new(assignment), in_flight }
    }

    /// The assigned partitions. Never held across a poll, which may rebalance.
    pub(super) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rebalance for Rebalancing {
    fn on_given(&self, partitions: Vec<i32>) {
        tracing::info!(kafka.partitions = ?partitions, "recorder was given partitions");
        // They are assigned once progress has been read.
        self.assignment().on_assigned(partitions);
    }

    fn on_taken_back(&self, partitions: Vec<i32>) {
        tracing::info!(kafka.partitions = ?partitions, "recorder gives partitions back");
        let invalid = self.assignment().on_revoked();
        self.in_flight.invalidate(invalid);
        self.in_flight.wait_until_empty(HAND_OVER_TIMEOUT);
    }
}
