//! The fold: how records, in log order, become the truth of an order. The same in hub and store.

use std::sync::Arc;

use super::{Change, OrderEvent, OrderState, Stamp, Version};

/// What is known of an order.
#[derive(Debug, Clone)]
pub enum Known {
    /// The order as its newest record set it.
    Order(Arc<OrderState>),
    /// The order was erased.
    Erased(Marker),
}

/// Left by a tombstone: nothing at or below its version brings the order back. After a reset everything does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The version the order had when it was erased; the tombstone's own place in the log, where the other is one of
    /// another partition; [`Version::RESET`] after a reset.
    pub version: Version,
    /// The tombstone's record.
    pub stamp: Stamp,
}

impl Known {
    /// The version an event must supersede to apply.
    pub fn version(&self) -> Version {
        match self {
            Self::Order(state) => state.version,
            Self::Erased(marker) => marker.version,
        }
    }

    /// The record that brought the order here.
    pub fn stamp(&self) -> Stamp {
        match self {
            Self::Order(state) => state.stamp,
            Self::Erased(marker) => marker.stamp,
        }
    }

    /// Whether nobody can say which of the two is newer, so that what stands is what was recorded first.
    pub fn is_unordered_with(&self, state: &OrderState) -> bool {
        state.is_unordered_with(self.stamp()) || self.order().is_some_and(|own| own.is_unordered_with(state.stamp))
    }

    /// The order, unless it was erased.
    pub fn order(&self) -> Option<&Arc<OrderState>> {
        match self {
            Self::Order(state) => Some(state),
            Self::Erased(_) => None,
        }
    }
}

/// What an event does to what is known of its order.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It applies: this is known afterwards.
    Applies {
        /// What is known from now on.
        known: Known,
        /// The versions were of two kinds, or of two logs, so log order decided.
        kind_changed: bool,
    },
    /// A lower version than the known one.
    Late,
    /// The known version with the same status.
    Duplicate,
    /// The known version with another status.
    Conflict,
    /// A tombstone of an order that is unknown, erased or reset already.
    NothingToErase,
    /// It goes by log order, and the order is known from another partition of the log: a dead letter.
    Unordered,
}

/// Judges `event` against what is known. Total, and the only place that decides what is newer.
///
/// `stands`: whether a record stands in the log as it is now. One that stood in a log which was replaced is older than any
/// event, whatever partition its order has moved to; it is asked of records of other partitions only.
pub fn judge(known: Option<&Known>, event: &OrderEvent, stands: impl Fn(Stamp) -> bool) -> Verdict {
    match (&event.change, known) {
        (Change::Erase, Some(Known::Order(state))) => Verdict::Applies {
            known: Known::Erased(Marker { version: erased_version(state, event.stamp), stamp: event.stamp }),
            kind_changed: false,
        },
        (Change::Reset, Some(known)) if known.version() != Version::RESET => Verdict::Applies {
            known: Known::Erased(Marker { version: Version::RESET, stamp: event.stamp }),
            kind_changed: false,
        },
        (Change::Erase | Change::Reset, _) => Verdict::NothingToErase,
        (Change::Set(state), None) => Verdict::Applies { known: Known::Order(state.clone()), kind_changed: false },
        (Change::Set(state), Some(known)) => judge_set(known, state, stands),
    }
}

/// An order is erased by a tombstone of any partition, but numbers from the log count within one.
fn erased_version(state: &OrderState, tombstone: Stamp) -> Version {
    match state.is_unordered_with(tombstone) && state.stamp.epoch == tombstone.epoch {
        true => Version { number: tombstone.offset.saturating_add(1).max(0).unsigned_abs(), ..state.version },
        false => state.version,
    }
}

fn judge_set(known: &Known, state: &Arc<OrderState>, stands: impl Fn(Stamp) -> bool) -> Verdict {
    let before = known.version();
    // Numbers from the log count within one partition. Of an order that was reset there is nothing to compare with.
    let comparable = before == Version::RESET || !state.is_unordered_with(known.stamp());
    if !comparable && stands(known.stamp()) {
        return Verdict::Unordered;
    }
    if !comparable || state.version.supersedes(before) {
        return Verdict::Applies {
            known: Known::Order(state.clone()),
            kind_changed: before != Version::RESET && (!comparable || state.version.kind != before.kind),
        };
    }
    match known {
        Known::Order(current) if current.version == state.version && current.status == state.status => {
            Verdict::Duplicate
        }
        Known::Order(current) if current.version == state.version => Verdict::Conflict,
        _ => Verdict::Late,
    }
}

#[cfg(test)]
pub(in crate::domain) mod tests {
    use super::*;
    use crate::domain::{Epoch, OrderId, Timestamp, UserId, VersionKind};

    pub(in crate::domain) const FIELD: VersionKind = VersionKind::Field;
    pub(in crate::domain) const LOG: VersionKind = VersionKind::Log(Epoch(7));

    pub(in crate::domain) fn stamp(offset: i64) -> Stamp {
        Stamp { epoch: Epoch(7), partition: 0, offset }
    }

    /// The record at `offset` sets version and status of the one order of these tests.
    pub(in crate::domain) fn set(offset: i64, kind: VersionKind, number: u64, status: &str) -> OrderEvent {
        let state = OrderState {
            order_id: OrderId::parse("A-1001").unwrap(),
            user_id: UserId::parse("u-42").unwrap(),
            viewers: Box::default(),
            status: status.into(),
            terminal: false,
            version: Version { kind, number },
            stamp: stamp(offset),
            occurred_at: Timestamp::from_millis(offset).unwrap(),
            details: None,
            event_id: None,
        };
        OrderEvent { order_id: state.order_id.clone(), stamp: state.stamp, change: Change::Set(state.into()) }
    }

    pub(in crate::domain) fn erase(offset: i64) -> OrderEvent {
        let order_id = OrderId::parse("A-1001").unwrap();
        OrderEvent { order_id, stamp: stamp(offset), change: Change::Erase }
    }

    pub(in crate::domain) fn reset(offset: i64) -> OrderEvent {
        OrderEvent { change: Change::Reset, ..erase(offset) }
    }

    fn known(event: &OrderEvent) -> Known {
        match &event.change {
            Change::Set(state) => Known::Order(state.clone()),
            Change::Erase | Change::Reset => panic!("a tombstone alone makes nothing known"),
        }
    }

    /// In a log that was never replaced.
    fn judge(known: Option<&Known>, event: &OrderEvent) -> Verdict {
        super::judge(known, event, |_| true)
    }

    #[test]
    fn an_unknown_order_takes_any_event_and_no_tombstone() {
        let event = set(1, FIELD, 0, "created");
        let verdict = judge(None, &event);
        assert!(matches!(verdict, Verdict::Applies { known: Known::Order(_), kind_changed: false }), "{verdict:?}");
        assert!(matches!(judge(None, &erase(2)), Verdict::NothingToErase));
    }

    #[test]
    fn the_version_decides_within_one_kind() {
        let packed = known(&set(5, FIELD, 3, "packed"));
        let judged = |number, status| judge(Some(&packed), &set(6, FIELD, number, status));
        assert!(matches!(judged(4, "shipped"), Verdict::Applies { kind_changed: false, .. }));
        assert!(matches!(judged(4, "packed"), Verdict::Applies { .. }), "the status does not matter");
        assert!(matches!(judged(3, "packed"), Verdict::Duplicate));
        assert!(matches!(judged(3, "shipped"), Verdict::Conflict));
        assert!(matches!(judged(2, "packed"), Verdict::Late));
    }

    #[test]
    fn log_order_decides_between_kinds() {
        let packed = known(&set(5, FIELD, 1_000, "packed"));
        for kind in [LOG, VersionKind::Log(Epoch(8))] {
            let verdict = judge(Some(&packed), &set(6, kind, 1, "shipped"));
            assert!(matches!(verdict, Verdict::Applies { kind_changed: true, .. }), "{verdict:?}");
        }
    }

    /// The same record, had it been written to this partition.
    pub(in crate::domain) fn moved(partition: i32, event: OrderEvent) -> OrderEvent {
        let stamp = Stamp { partition, ..event.stamp };
        let change = match event.change {
            Change::Erase | Change::Reset => event.change,
            Change::Set(state) => {
                let mut state = Arc::into_inner(state).unwrap();
                state.stamp = stamp;
                Change::Set(state.into())
            }
        };
        OrderEvent { stamp, change, ..event }
    }

    #[test]
    fn what_goes_by_log_order_is_unordered_against_another_partition_whatever_its_offset() {
        let packed = known(&set(5, LOG, 6, "packed"));
        for (offset, status) in [(1, "packed"), (1, "delivered"), (5, "delivered"), (9, "delivered")] {
            let event = set(offset, LOG, offset as u64 + 1, status);
            let verdict = judge(Some(&packed), &moved(1, event));
            assert!(matches!(verdict, Verdict::Unordered), "{offset}: {verdict:?}");
        }
        // Of the other kind, the one that is known has no place in the log either.
        let versioned = known(&moved(1, set(5, FIELD, 3, "packed")));
        assert!(matches!(judge(Some(&versioned), &set(9, LOG, 10, "delivered")), Verdict::Unordered));
        let erased = Known::Erased(Marker { version: packed.version(), stamp: stamp(6) });
        assert!(matches!(judge(Some(&erased), &moved(1, set(9, LOG, 10, "created"))), Verdict::Unordered));
    }

    #[test]
    fn a_version_of_its_own_orders_an_event_whatever_partition_it_stands_in() {
        for before in [set(5, FIELD, 3, "packed"), set(5, LOG, 600, "packed")] {
            let verdict = judge(Some(&known(&before)), &moved(1, set(1, FIELD, 4, "shipped")));
            assert!(matches!(verdict, Verdict::Applies { known: Known::Order(_), .. }), "{verdict:?}");
        }
        let verdict = judge(Some(&known(&set(5, FIELD, 3, "packed"))), &moved(1, set(9, FIELD, 2, "created")));
        assert!(matches!(verdict, Verdict::Late));
    }

    #[test]
    fn what_is_known_is_unordered_with_a_state_of_another_partition_if_either_goes_by_log_order() {
        for (one, other, unordered) in [(FIELD, FIELD, false), (FIELD, LOG, true), (LOG, FIELD, true), (LOG, LOG, true)]
        {
            let packed = known(&set(5, one, 6, "packed"));
            let erased = Known::Erased(Marker { version: packed.version(), stamp: stamp(5) });
            let shipped = |partition| known(&moved(partition, set(9, other, 10, "shipped"))).order().unwrap().clone();
            let found = |known: &Known| [0, 1].map(|partition| known.is_unordered_with(&shipped(partition)));
            assert_eq!(found(&packed), [false, unordered], "{one:?} {other:?}");
            assert_eq!(found(&erased), [false, other == LOG], "{other:?}: a marker has no state");
        }
    }

    #[test]
    fn an_order_whose_partition_changed_with_the_log_goes_on_there() {
        // A partition of which nothing had been recorded is in the life it was in, whatever became of the others: its
        // epoch tells nothing.
        for epoch in [7, 8] {
            let shipped = moved(1, set(2, VersionKind::Log(Epoch(epoch)), 3, "shipped"));
            for (before, version) in [(LOG, 501), (LOG, 1), (FIELD, 9)] {
                let packed = known(&set(500, before, version, "packed"));
                assert!(matches!(judge(Some(&packed), &shipped), Verdict::Unordered));
                let verdict = super::judge(Some(&packed), &shipped, |known| known != stamp(500));
                assert!(matches!(verdict, Verdict::Applies { kind_changed: true, .. }), "{verdict:?}");
            }
        }
        let packed = known(&set(500, LOG, 501, "packed"));
        let late = super::judge(Some(&packed), &set(2, LOG, 3, "created"), |_| false);
        assert!(matches!(late, Verdict::Late), "of one partition and life, numbers decide");
    }

    #[test]
    fn a_tombstone_of_another_partition_erases_and_leaves_its_own_place() {
        let verdict = judge(Some(&known(&set(500, LOG, 501, "packed"))), &moved(1, erase(6)));
        let Verdict::Applies { known: marker, kind_changed: false } = verdict else { panic!("{verdict:?}") };
        assert_eq!((marker.order().is_none(), marker.version()), (true, Version { kind: LOG, number: 7 }));
        let created = judge(Some(&marker), &moved(1, set(7, LOG, 8, "created")));
        assert!(matches!(created, Verdict::Applies { known: Known::Order(_), .. }), "{created:?}");
        assert!(matches!(judge(Some(&marker), &set(501, LOG, 502, "shipped")), Verdict::Unordered));
    }

    #[test]
    fn a_tombstone_leaves_a_marker_of_the_erased_version() {
        let verdict = judge(Some(&known(&set(5, FIELD, 3, "packed"))), &erase(6));
        let Verdict::Applies { known, kind_changed: false } = verdict else { panic!("{verdict:?}") };
        assert!(known.order().is_none());
        assert_eq!((known.version(), known.stamp()), (Version { kind: FIELD, number: 3 }, stamp(6)));
    }

    #[test]
    fn after_a_reset_any_version_is_taken() {
        use crate::domain::version::MAX_VERSION;
        let frozen = known(&set(5, FIELD, MAX_VERSION, "packed"));
        let erased = Known::Erased(Marker { version: frozen.version(), stamp: stamp(5) });
        for held in [frozen, erased] {
            assert!(matches!(judge(Some(&held), &set(6, FIELD, 0, "shipped")), Verdict::Late));
            let verdict = judge(Some(&held), &reset(6));
            let Verdict::Applies { known, kind_changed: false } = verdict else { panic!("{verdict:?}") };
            assert!(known.order().is_none());
            assert_eq!((known.version(), known.stamp()), (Version::RESET, stamp(6)));
            for kind in [FIELD, LOG] {
                let verdict = judge(Some(&known), &set(7, kind, 0, "shipped"));
                let applies = matches!(verdict, Verdict::Applies { known: Known::Order(_), kind_changed: false });
                assert!(applies, "{verdict:?}");
            }
            for nothing in [reset(7), erase(7)] {
                assert!(matches!(judge(Some(&known), &nothing), Verdict::NothingToErase));
            }
        }
        assert!(matches!(judge(None, &reset(2)), Verdict::NothingToErase));
    }

    #[test]
    fn nothing_at_or_below_its_version_gets_past_a_marker() {
        let marker = Known::Erased(Marker { version: Version { kind: FIELD, number: 3 }, stamp: stamp(6) });
        let judged = |event: OrderEvent| judge(Some(&marker), &event);
        assert!(matches!(judged(set(7, FIELD, 2, "packed")), Verdict::Late));
        assert!(matches!(judged(set(7, FIELD, 3, "packed")), Verdict::Late), "it is not known, so no duplicate");
        assert!(matches!(judged(set(7, FIELD, 4, "created")), Verdict::Applies { kind_changed: false, .. }));
        assert!(matches!(judged(set(7, LOG, 8, "created")), Verdict::Applies { kind_changed: true, .. }));
        assert!(matches!(judged(erase(7)), Verdict::NothingToErase), "the first marker stays");
    }
}
