//! The hub behind its one lock, which never leaves this file as a guard.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::{Hub, wakes};

/// The hub as fanout, snapshots and sessions share it.
#[derive(Debug)]
pub struct SharedHub {
    hub: Mutex<Hub>,
    reads_due: Notify,
    /// Told of every step, as long as somebody waits for what one brings.
    stepped: Notify,
    waiting: AtomicUsize,
}

impl SharedHub {
    /// Puts a hub behind the lock.
    pub fn new(hub: Hub) -> Self {
        Self { hub: Mutex::new(hub), reads_due: Notify::new(), stepped: Notify::new(), waiting: AtomicUsize::new(0) }
    }

    /// Takes one or more steps under the lock, then wakes whom they concern, with the lock released.
    pub fn step<T>(&self, steps: impl FnOnce(&mut Hub) -> T) -> T {
        let (result, woken, reads_due) = {
            // A step that panicked may have left a screen behind the truth, never the data unsound; audits repair it.
            let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
            let result = steps(&mut hub);
            (result, hub.take_woken(), hub.has_due_reads())
        };
        wakes::wake(woken);
        if reads_due {
            self.reads_due.notify_one();
        }
        // Who looked before this step had been counted before that.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.stepped.notify_waiters();
        }
        result
    }

    /// Looks, which concerns nobody.
    pub fn look<T>(&self, look: impl FnOnce(&Hub) -> T) -> T {
        look(&self.hub.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a read may be due. Cancel safe; may return without one.
    pub async fn reads_due(&self) {
        self.reads_due.notified().await;
    }

    /// Waits until a step has made this so. Cancel safe. For what is rare: it is looked at under the lock after each step.
    pub async fn reached(&self, is_so: impl Fn(&Hub) -> bool) {
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            let stepped = self.stepped.notified();
            if self.look(&is_so) {
                return;
            }
            stepped.await;
        }
    }
}

/// Somebody waits for what a step brings; over when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::domain::{Epoch, Position};

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_a_step_is_woken_by_it_and_by_no_clock() {
        let hub = Arc::new(SharedHub::new(Hub::new(usize::MAX)));
        hub.step(|hub| hub.begin(Position { partition: 0, epoch: Epoch(1), next_offset: 0 }));
        let end = |hub: &Hub| hub.end(0).map(|end| end.next_offset);
        for next in 1..200 {
            let waits = {
                let hub = hub.clone();
                tokio::spawn(async move { hub.reached(|hub| end(hub) >= Some(next)).await })
            };
            if next % 2 == 0 {
                tokio::task::yield_now().await;
            }
            hub.step(|hub| hub.advance(0, next));
            tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it is woken").unwrap();
        }
        assert_eq!(hub.waiting.load(Ordering::SeqCst), 0);
    }
}
