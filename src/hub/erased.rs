//! What the hub remembers of orders that nobody shows: that a late event would bring one back for a moment, which was
//! erased or overtaken in the sight of this instance. The truth is in SQL; what is not known here is read there.

use hashbrown::HashMap;

use super::{Hub, HubRule, ShownOrder, Tail};
use crate::domain::{Change, History, Known, Marker, OrderEvent, OrderId};

/// Markers of orders whose state was proved when their tombstone came, for as long as the tail holds the tombstone. So
/// there are no more of them than the tail has room for.
#[derive(Debug, Default)]
pub(super) struct Erased(HashMap<OrderId, Marker>);

impl Erased {
    /// Notes a marker, in the place of what was known of the order. `order`: what was shown of it.
    pub(super) fn note(&mut self, order_id: &OrderId, marker: Marker, order: Option<&ShownOrder>) {
        // Of records in two partitions the recorder may take the tombstone first.
        let is_sure = |order: &ShownOrder| !order.unverified && order.state.stamp.partition == marker.stamp.partition;
        if order.is_none_or(is_sure) {
            self.0.insert(order_id.clone(), marker);
        } else {
            self.0.remove(order_id);
        }
    }

    /// Forgets an order: something newer than its tombstone came.
    pub(super) fn forget(&mut self, order_id: &OrderId) {
        // Most events pay for no hash.
        if !self.0.is_empty() {
            self.0.remove(order_id);
        }
    }

    /// Forgets what the tail does not hold any more.
    pub(super) fn forget_but_held(&mut self, tail: &Tail) {
        self.0.retain(|_, marker| tail.holds(marker.stamp));
    }
}

impl Hub {
    /// What is known of the order of `event` although nobody shows it. `matters`: somebody would be shown the event.
    pub(super) fn remembered(&self, event: &OrderEvent, matters: bool) -> Option<Known> {
        if !self.rules.hold(HubRule::Memory) {
            return None;
        }
        let marker = self.marker(&event.order_id).filter(|marker| marker.stamp.partition == event.stamp.partition);
        match (marker, &event.change) {
            (Some(marker), _) => Some(Known::Erased(marker)),
            (None, Change::Set(_)) if matters => self.tail.known_before(event),
            (None, _) => None,
        }
    }

    /// What is known of an order that the snapshot said nothing of.
    pub(super) fn remembered_history(&self, order_id: &OrderId) -> Option<History> {
        let marker = self.marker(order_id).filter(|_| self.rules.hold(HubRule::Memory))?;
        Some(History { known: Known::Erased(marker), timeline: Default::default() })
    }

    fn marker(&self, order_id: &OrderId) -> Option<Marker> {
        self.erased.0.get(order_id).copied().filter(|marker| self.tail.holds(marker.stamp))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Epoch, OrderState, Position, Stamp, Version, VersionKind, order::tests::paid};

    fn id() -> OrderId {
        OrderId::parse("A-1").unwrap()
    }

    fn stamp(partition: i32, offset: i64) -> Stamp {
        Stamp { epoch: Epoch(7), partition, offset }
    }

    fn marker() -> Marker {
        Marker { version: Version { number: 2, kind: VersionKind::Field }, stamp: stamp(0, 5) }
    }

    fn shown(partition: i32, unverified: bool) -> ShownOrder {
        let state = OrderState { stamp: stamp(partition, 1), ..paid("A-1", "ann") };
        ShownOrder { state: Arc::new(state), unverified, timeline_pending: false, sessions: Default::default() }
    }

    #[test]
    fn only_what_was_proved_and_stands_in_the_same_partition_makes_a_tombstone_sure() {
        for (order, is_sure) in [
            (None, true),
            (Some(shown(0, false)), true),
            (Some(shown(0, true)), false),
            (Some(shown(1, false)), false),
            (Some(shown(1, true)), false),
        ] {
            let mut erased = Erased::default();
            erased.note(&id(), marker(), None);
            erased.note(&id(), marker(), order.as_ref());
            assert_eq!(erased.0.contains_key(&id()), is_sure, "{order:?}");
        }
    }

    #[test]
    fn a_tombstone_is_known_for_as_long_as_the_tail_holds_it() {
        let mut tail = Tail::new(usize::MAX);
        tail.begin(Position { partition: 0, epoch: Epoch(7), next_offset: 5 });
        tail.append(&OrderEvent { order_id: id(), stamp: stamp(0, 5), change: Change::Erase });
        let mut erased = Erased::default();
        erased.note(&id(), marker(), None);
        erased.forget_but_held(&tail);
        assert!(erased.0.contains_key(&id()));
        tail.trim(&[Position { partition: 0, epoch: Epoch(7), next_offset: 6 }]);
        erased.forget_but_held(&tail);
        assert!(erased.0.is_empty());
    }
}
