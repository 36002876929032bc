//! Audits: once a second, some open screens picked by chance are compared with the database. Whatever the fast path got
//! wrong in a way that nobody thought of is found here, repaired by reconcile, and counted.
//!
//! The hub's only sense of time, too: what is in doubt for too long is told. Needs no database for that.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use crate::{hub::SharedHub, runtime::Component};

const INTERVAL: Duration = Duration::from_secs(1);

/// Starts auditing `per_second` sessions.
pub fn start(hub: Arc<SharedHub>, per_second: usize) -> Component {
    Component::task("audits", |stop| async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let draws = (0..per_second).map(|_| rand::random_range(0..=usize::MAX));
            hub.step(|hub| {
                hub.second_passed();
                hub.audit_drawn(draws);
            });
        }
    })
}
