//! Doubts that last: an order that a session shows and that could not be proved for a while makes its screen stale.
//!
//! The hub has no clock: its owner says once a second that a second has passed. The work is proportional to what is in
//! doubt, which is much only while the database is away.

use hashbrown::HashMap;

use super::{Hub, SessionKey};
use crate::{
    domain::OrderId,
    protocol::{StaleReason, StaleReasons},
};

/// Seconds for which an order may be shown unverified before its screens say so.
const PATIENCE_SECONDS: u32 = 30;

/// How long what is in doubt has been so, and whose screens say it.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    orders: HashMap<OrderId, Doubt>,
    reported: HashMap<SessionKey, StaleReasons>,
}

/// Seconds since an order came into doubt, and since the database answered for it.
#[derive(Debug, Clone, Copy, Default)]
struct Doubt {
    unverified: u32,
    unanswered: u32,
}

impl Hub {
    /// A second has passed: tells sessions whose screen shows an order in doubt for too long, and those whose does no
    /// longer.
    pub fn second_passed(&mut self) {
        let Self { reads, registry, doubts, .. } = self;
        let (mut orders, mut reported) = (HashMap::new(), HashMap::<_, StaleReasons>::new());
        for (order_id, answered) in reads.orders_in_doubt() {
            let Some(order) = registry.orders.get(order_id).filter(|order| order.unverified) else { continue };
            let doubt = doubts.orders.get(order_id).map_or_else(Doubt::default, |doubt| doubt.a_second_later(answered));
            if let Some(reason) = doubt.reason() {
                order.sessions.iter().for_each(|key| reported.entry(*key).or_default().set(reason, true));
            }
            orders.insert(order_id.clone(), doubt);
        }
        doubts.orders = orders;
        for (key, reasons) in &reported {
            registry.set_stale_orders(*key, *reasons);
        }
        for key in std::mem::replace(&mut doubts.reported, reported).into_keys() {
            if !doubts.reported.contains_key(&key) {
                registry.set_stale_orders(key, StaleReasons::NONE);
            }
        }
    }
}

impl Doubt {
    fn a_second_later(self, answered: bool) -> Self {
        Self { unverified: self.unverified + 1, unanswered: if answered { 0 } else { self.unanswered + 1 } }
    }

    /// A database that answers, only too early for a proof, waits for the recorder.
    fn reason(self) -> Option<StaleReason> {
        match self {
            Self { unanswered: PATIENCE_SECONDS.., .. } => Some(StaleReason::DatabaseUnavailable),
            Self { unverified: PATIENCE_SECONDS.., .. } => Some(StaleReason::CatchingUp),
            _ => None,
        }
    }
}
