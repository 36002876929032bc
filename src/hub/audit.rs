//! Audits: screens picked by chance are compared with the truth although nothing doubts them. What differs is repaired
//! by reconcile like anything else, and is a fault of this program.

use std::collections::BTreeMap;

use super::{Correction, Hub, Revision, SessionKey, SessionPhase, reconcile::Truth};
use crate::domain::OrderId;

impl Hub {
    /// Compares a live session's screen with the truth and repairs what differs.
    pub fn audit(&mut self, key: SessionKey) {
        if self.registry.sessions.get(key).is_some_and(|session| session.phase == SessionPhase::Live) {
            self.session_due(key);
        }
    }

    /// Audits one session for each draw, which is any number: chance comes from the caller. Sessions that are not live
    /// are passed over.
    pub fn audit_drawn(&mut self, draws: impl IntoIterator<Item = usize>) {
        for draw in draws {
            let Some(place) = draw.checked_rem(self.registry.roll.len()) else { return };
            self.audit(self.registry.roll[place]);
        }
    }

    /// What a proved screen shows wrongly although the hub itself knows better, before it is repaired. Terminal orders
    /// that are missing are none: the window in which they are listed moves with the clock. Nor are those behind the end
    /// of a list that was cut: they come into it when others leave.
    pub(super) fn findings(&self, key: SessionKey, truths: &BTreeMap<OrderId, Truth>) -> Vec<Correction> {
        let Some(session) = self.registry.sessions.get(key).filter(|session| session.mailbox.is_proven()) else {
            return Vec::new();
        };
        let finding = |(order_id, truth): (&OrderId, &Truth)| {
            let known = truth.history.as_ref().map(|history| &history.known);
            let order = self.registry.orders.get(order_id);
            // Where the hub itself is in doubt or wrong, all who show the order are corrected, not this screen alone.
            if !truth.known
                || self.reads.is_sought(order_id)
                || order.is_some_and(|order| {
                    order.unverified || Some(order.state.stamp) != known.map(|known| known.stamp())
                })
            {
                return None;
            }
            let wanted = known.and_then(|known| known.order()).filter(|state| session.sees(state));
            let shown = session.shown.get(order_id);
            let differs = match (shown, wanted) {
                (None, None) => false,
                (None, Some(state)) => {
                    let is_behind = session.list_end.as_ref().is_some_and(|end| end.precedes(state));
                    !state.terminal && !is_behind
                }
                (Some(_), None) => true,
                (Some(shown), Some(state)) => shown.rev.map(|rev| rev.stamp) != Some(state.stamp),
            };
            let shown = shown.and_then(|shown| Some(Revision { stamp: shown.rev?.stamp, version: shown.version? }));
            differs.then(|| Correction { order_id: order_id.clone(), shown, truth: known.map(Revision::of) })
        };
        truths.iter().filter_map(finding).collect()
    }
}
