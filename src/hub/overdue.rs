//! Doubts that last: an order that a session shows and that could not be read for a while makes its screen stale.
//!
//! The hub has no clock: its owner says once a second that a second has passed. The work is proportional to what is in
//! doubt, which is much only while the database is away.

use hashbrown::{HashMap, HashSet};

use super::{Hub, SessionKey};
use crate::event::OrderId;

/// Seconds for which an order may be shown unproven before its screens say so.
const PATIENCE_SECONDS: u32 = 30;

/// How long what is in doubt has been so, and whose screens say it.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    seconds: HashMap<OrderId, u32>,
    told: HashSet<SessionKey>,
}

impl Hub {
    /// A second has passed: tells sessions whose screen shows an order in doubt for too long, and those whose does no
    /// longer.
    pub fn second_passed(&mut self) {
        let Self { reads, registry, doubts, .. } = self;
        let mut overdue = HashSet::new();
        let mut seconds = HashMap::new();
        for order_id in reads.orders_in_doubt() {
            let Some(order) = registry.orders.get(order_id).filter(|order| order.unproven) else { continue };
            let passed = doubts.seconds.get(order_id).map_or(0, |passed| passed + 1);
            if passed >= PATIENCE_SECONDS {
                overdue.extend(&order.sessions);
            }
            seconds.insert(order_id.clone(), passed);
        }
        doubts.seconds = seconds;
        let told = std::mem::replace(&mut doubts.told, overdue);
        for key in told.symmetric_difference(&doubts.told) {
            registry.set_overdue(*key, doubts.told.contains(key));
        }
    }
}
