//! What one record says of one order.

use std::sync::Arc;

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{OrderId, Rev, Stamp, Timestamp, UserId, Version, VersionKind};

/// One decoded and validated record of the order-status topic.
#[derive(Debug, Clone)]
pub struct OrderEvent {
    /// The order it is about.
    pub order_id: OrderId,
    /// The record it was.
    pub stamp: Stamp,
    /// What it does to the order.
    pub change: Change,
}

impl OrderEvent {
    /// Whether its place in the log stands for the version it does not have.
    pub fn goes_by_log_order(&self) -> bool {
        matches!(&self.change, Change::Set(state) if state.goes_by_log_order())
    }
}

/// What an event does to its order.
#[derive(Debug, Clone)]
pub enum Change {
    /// Sets the whole order: nothing is kept from the event before.
    Set(Arc<OrderState>),
    /// Erases the order (a tombstone).
    Erase,
    /// Erases the order and forgets its version: whatever comes next is newer. An operator's way out where a version
    /// that was never meant holds all others off.
    Reset,
}

/// The whole order as one record set it. Shared, never changed.
#[derive(Debug)]
pub struct OrderState {
    /// The order.
    pub order_id: OrderId,
    /// The user whose order it is.
    pub user_id: UserId,
    /// Further users who may see it, without repeats and without [`user_id`](Self::user_id).
    pub viewers: Box<[UserId]>,
    /// As sent by upstream.
    pub status: SmolStr,
    /// Whether the lifecycle calls the status terminal.
    pub terminal: bool,
    /// Decides which of two events is newer, and nothing else.
    pub version: Version,
    /// The record that set this state.
    pub stamp: Stamp,
    /// When it happened, by the event or else by the record.
    pub occurred_at: Timestamp,
    /// A JSON object, byte for byte as sent.
    pub details: Option<Box<RawValue>>,
    /// Upstream's own name of the event.
    pub event_id: Option<Box<str>>,
}

impl OrderState {
    /// Names this state on the wire.
    pub fn rev(&self) -> Rev {
        Rev { stamp: self.stamp, terminal: self.terminal }
    }

    /// Whether the event's place in the log stands for the version it does not have.
    pub fn goes_by_log_order(&self) -> bool {
        matches!(self.version.kind, VersionKind::Log(_))
    }

    /// Whether log order, by which this goes, does not say if it is newer than what the record `other` set: that stands in
    /// another partition.
    pub fn is_unordered_with(&self, other: Stamp) -> bool {
        self.goes_by_log_order() && self.stamp.partition != other.partition
    }

    /// Whether the event names `user`, who then may see the order.
    pub fn names(&self, user: &UserId) -> bool {
        self.user_id == *user || self.viewers.contains(user)
    }

    /// Everyone the event names: the user, then the further viewers.
    pub fn named(&self) -> impl Iterator<Item = &UserId> {
        std::iter::once(&self.user_id).chain(&self.viewers)
    }

    /// Bytes this state holds on the heap and in itself, for byte caps.
    pub fn size_bytes(&self) -> usize {
        let ids: usize = self.named().map(|id| id.as_str().len() + 16).sum();
        size_of::<Self>()
            + ids
            + self.order_id.as_str().len()
            + self.status.len()
            + self.details.as_ref().map_or(0, |details| details.get().len())
            + self.event_id.as_ref().map_or(0, |id| id.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::{
        Epoch, Version,
        fold::tests::{FIELD, LOG, erase, set, stamp},
    };

    /// An order of this user that was paid, by the first record of partition 0.
    pub(crate) fn paid(order_id: &str, user_id: &str) -> OrderState {
        OrderState {
            order_id: OrderId::parse(order_id).unwrap(),
            user_id: UserId::parse(user_id).unwrap(),
            viewers: Box::default(),
            status: "paid".into(),
            terminal: false,
            version: Version { kind: VersionKind::Field, number: 1 },
            stamp: Stamp { epoch: Epoch(7), partition: 0, offset: 1 },
            occurred_at: Timestamp::from_millis(0).unwrap(),
            details: None,
            event_id: None,
        }
    }

    /// The order `A-1001` of `u-42`, for these further viewers.
    pub(in crate::domain) fn state(kind: VersionKind, viewers: &[&str]) -> OrderState {
        let Change::Set(state) = set(1, kind, 1, "paid").change else { panic!("a state") };
        let viewers = viewers.iter().map(|id| UserId::parse(id).unwrap()).collect();
        OrderState { viewers, ..Arc::into_inner(state).unwrap() }
    }

    #[test]
    fn its_user_and_the_further_viewers_are_named_and_nobody_else() {
        let state = state(FIELD, &["u-7", "u-8"]);
        let names = ["u-42", "u-7", "u-8", "u-4", "U-7"].map(|id| state.names(&UserId::parse(id).unwrap()));
        assert_eq!(names, [true, true, true, false, false]);
        assert_eq!(state.named().map(UserId::as_str).collect::<Vec<_>>(), ["u-42", "u-7", "u-8"]);
    }

    #[test]
    fn only_what_goes_by_log_order_is_unordered_with_records_of_other_partitions() {
        let there = Stamp { partition: 1, ..stamp(1) };
        assert!(set(1, LOG, 1, "paid").goes_by_log_order());
        assert!(!set(1, FIELD, 1, "paid").goes_by_log_order() && !erase(1).goes_by_log_order());
        assert!(state(LOG, &[]).is_unordered_with(there));
        assert!(!state(LOG, &[]).is_unordered_with(Stamp { epoch: Epoch(8), ..stamp(9) }));
        assert!(!state(FIELD, &[]).is_unordered_with(there));
    }

    #[test]
    fn every_text_of_it_counts_towards_its_size() {
        let plain = state(FIELD, &[]).size_bytes();
        assert!(plain > size_of::<OrderState>());
        let longer = |change: fn(&mut OrderState)| {
            let mut state = state(FIELD, &[]);
            change(&mut state);
            state.size_bytes() - plain
        };
        assert_eq!(longer(|state| state.order_id = OrderId::parse("A-1001-and-on").unwrap()), 7);
        assert_eq!(longer(|state| state.status = "paid again".into()), 6);
        assert_eq!(longer(|state| state.details = Some(RawValue::from_string("{}".into()).unwrap())), 2);
        assert_eq!(longer(|state| state.event_id = Some("e-1".into())), 3);
        assert!(state(FIELD, &["u-7"]).size_bytes() > plain + "u-7".len());
    }
}
