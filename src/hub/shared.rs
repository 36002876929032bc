//! The hub behind its one lock, which never leaves this file as a guard.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::{Hub, wakes};

/// The hub as fanout, snapshots and sessions share it.
#[derive(Debug)]
pub struct SharedHub {
    hub: Mutex<Hub>,
    reads_due: Notify,
}

impl SharedHub {
    /// Puts a hub behind the lock.
    pub fn new(hub: Hub) -> Self {
        Self { hub: Mutex::new(hub), reads_due: Notify::new() }
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
}
