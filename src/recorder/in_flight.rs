//! What the recorder's thread and its writer know of each other besides tasks and replies: what is invalid, and whether
//! anything is still in flight.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Shared by thread and writer.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What carries this fence or a lower one is not to be applied any more.
    invalid_up_to: u64,
    /// The same for single partitions: what goes before it was not applied.
    blocked: BTreeMap<i32, u64>,
    /// How often the writer was given something that it has not done with.
    outstanding: usize,
    /// The writer tries again and again; waiting for it is no use.
    failing: bool,
}

impl InFlight {
    /// Takes back what was given under these fences, unless it is being applied this moment.
    pub(crate) fn invalidate(&self, up_to: u64) {
        let mut state = self.lock();
        state.invalid_up_to = state.invalid_up_to.max(up_to);
    }

    /// Whether what carries this fence is invalid.
    pub(crate) fn is_invalid(&self, fence: u64) -> bool {
        fence <= self.lock().invalid_up_to
    }

    /// Takes back what was given of one partition under these fences.
    pub(crate) fn block(&self, partition: i32, up_to: u64) {
        self.lock().blocked.insert(partition, up_to);
    }

    /// Whether what was given of this partition under this fence is invalid.
    pub(crate) fn is_partition_invalid(&self, partition: i32, fence: u64) -> bool {
        let state = self.lock();
        fence <= state.invalid_up_to || state.blocked.get(&partition).is_some_and(|blocked| fence <= *blocked)
    }

    /// The writer was given something to do.
    pub(crate) fn started(&self) {
        self.lock().outstanding += 1;
    }

    /// The writer is done with it.
    pub(crate) fn finished(&self) {
        self.lock().outstanding -= 1;
        self.changed.notify_all();
    }

    /// The writer tries again for the time being, or does not any more.
    pub(crate) fn set_failing(&self, failing: bool) {
        self.lock().failing = failing;
        self.changed.notify_all();
    }

    /// Waits until nothing is in flight, the writer fails, or the time is over.
    pub(crate) fn wait_until_empty(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        let mut state = self.lock();
        while state.outstanding > 0 && !state.failing {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
