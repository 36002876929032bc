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
