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

/// Left by a tombstone: nothing at or below its version brings the order back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The version the order had when it was erased.
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
        /// The versions were of two kinds, so log order decided.
        kind_changed: bool,
    },
    /// A lower version than the known one.
    Late,
    /// The known version with the same status.
    Duplicate,
    /// The known version with another status.
    Conflict,
    /// A tombstone of an order that is unknown or erased already.
    NothingToErase,
}

/// Judges `event` against what is known. Total, and the only place that decides what is newer.
pub fn judge(known: Option<&Known>, event: &OrderEvent) -> Verdict {
    match (&event.change, known) {
        (Change::Erase, Some(Known::Order(state))) => Verdict::Applies {
            known: Known::Erased(Marker { version: state.version, stamp: event.stamp }),
            kind_changed: false,
        },
        (Change::Erase, _) => Verdict::NothingToErase,
        (Change::Set(state), None) => Verdict::Applies { known: Known::Order(state.clone()), kind_changed: false },
        (Change::Set(state), Some(known)) => judge_set(known, state),
    }
}

fn judge_set(known: &Known, state: &Arc<OrderState>) -> Verdict {
    let before = known.version();
    if state.version.supersedes(before) {
        return Verdict::Applies {
            known: Known::Order(state.clone()),
            kind_changed: state.version.kind != before.kind,
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
