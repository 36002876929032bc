//! Stored rows of orders, their viewers and markers: how columns become what is known of an order, and back.
//!
//! The same for both dialects; the statements that read and write them are the dialects' own.

use std::sync::Arc;

use sqlx::{Error, FromRow};

use super::StoreError;
use crate::domain::{
    Epoch, History, Known, Marker, OrderId, OrderState, Stamp, Timeline, Timestamp, UserId, Version, VersionKind,
    decode::stored_details,
};

/// A row of `orders`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct OrderRow {
    pub(super) order_id: String,
    pub(super) user_id: String,
    pub(super) viewers: String,
    pub(super) status: String,
    pub(super) terminal: bool,
    pub(super) version_number: i64,
    pub(super) version_epoch: Option<i64>,
    pub(super) epoch: i64,
    pub(super) partition: i32,
    pub(super) log_offset: i64,
    pub(super) occurred_at: i64,
    pub(super) details: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) timeline: String,
}

/// A row of `erased_orders`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct MarkerRow {
    pub(super) order_id: String,
    pub(super) version_number: i64,
    pub(super) version_epoch: Option<i64>,
    pub(super) epoch: i64,
    pub(super) partition: i32,
    pub(super) log_offset: i64,
}

/// A row of `order_viewers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, FromRow)]
pub(super) struct ViewerRow {
    pub(super) order_id: String,
    pub(super) user_id: String,
    /// When the order ended; while it has not, [`OPEN`] and when it changed last. So one index holds both lists of a
    /// viewer, each newest last.
    pub(super) terminal_at: i64,
}

/// A row of `order_viewers` that goes to another place in its list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MovedRow {
    pub(super) from: ViewerRow,
    /// Its `terminal_at` from now on.
    pub(super) to: i64,
}

impl MovedRow {
    /// The row as it is afterwards.
    pub(super) fn moved(&self) -> ViewerRow {
        ViewerRow { terminal_at: self.to, ..self.from.clone() }
    }

    /// The same as earlier versions may have written it.
    pub(super) fn unordered(&self) -> ViewerRow {
        ViewerRow { terminal_at: i64::MAX, ..self.from.clone() }
    }
}

/// Lies so far above every moment that what is at least half of it belongs to an order that has not ended.
pub(super) const OPEN: i64 = 1 << 62;

impl OrderRow {
    pub(super) fn of(state: &OrderState, timeline: &Timeline) -> Self {
        let (version_number, version_epoch) = version_columns(state.version);
        Self {
            order_id: state.order_id.to_string(),
            user_id: state.user_id.to_string(),
            viewers: json(&state.viewers),
            status: state.status.to_string(),
            terminal: state.terminal,
            version_number,
            version_epoch,
            epoch: state.stamp.epoch.0.cast_signed(),
            partition: state.stamp.partition,
            log_offset: state.stamp.offset,
            occurred_at: state.occurred_at.as_millis(),
            details: state.details.as_ref().map(|details| details.get().to_owned()),
            event_id: state.event_id.as_ref().map(ToString::to_string),
            timeline: json(timeline),
        }
    }

    /// What the row says, and how much of it is not told as it is stored: an older version may have stored what no client
    /// reads, and one order must not make a snapshot unreadable in which others stand, too.
    pub(super) fn into_history(self) -> Result<((OrderId, History), u64), Error> {
        let order_id = order_id(&self.order_id)?;
        let occurred_at = Timestamp::nearest(self.occurred_at);
        let has_details = self.details.is_some();
        let details = self.details.and_then(stored_details);
        let is_moment = occurred_at.is_readable() && occurred_at.as_millis() == self.occurred_at;
        let mut unreadable_values = u64::from(!is_moment) + u64::from(has_details && details.is_none());
        let state = OrderState {
            order_id: order_id.clone(),
            user_id: UserId::parse(&self.user_id).map_err(unreadable)?,
            viewers: serde_json::from_str(&self.viewers).map_err(|_| unreadable("its viewers are no list of ids"))?,
            status: self.status.into(),
            terminal: self.terminal,
            version: version(self.version_number, self.version_epoch),
            stamp: stamp(self.epoch, self.partition, self.log_offset),
            occurred_at,
            details,
            event_id: self.event_id.map(Into::into),
        };
        let timeline: Timeline = serde_json::from_str(&self.timeline).unwrap_or_else(|_| {
            unreadable_values += 1;
            Timeline::of(&state)
        });
        let history = History { known: Known::Order(Arc::new(state)), timeline: Arc::new(timeline) };
        Ok(((order_id, history), unreadable_values))
    }
}

impl MarkerRow {
    pub(super) fn of(order_id: &OrderId, marker: Marker) -> Self {
        let (version_number, version_epoch) = version_columns(marker.version);
        Self {
            order_id: order_id.to_string(),
            version_number,
            version_epoch,
            epoch: marker.stamp.epoch.0.cast_signed(),
            partition: marker.stamp.partition,
            log_offset: marker.stamp.offset,
        }
    }

    pub(super) fn into_history(self) -> Result<(OrderId, History), Error> {
        let marker = Marker {
            version: version(self.version_number, self.version_epoch),
            stamp: stamp(self.epoch, self.partition, self.log_offset),
        };
        Ok((order_id(&self.order_id)?, History { known: Known::Erased(marker), timeline: Arc::default() }))
    }
}

impl ViewerRow {
    /// The rows of everyone the state names.
    pub(super) fn of(state: &OrderState) -> impl Iterator<Item = Self> {
        Self::listing(state, state.terminal)
    }

    /// The rows of everyone the state names, if it is taken for a terminal one or not.
    pub(super) fn listing(state: &OrderState, terminal: bool) -> impl Iterator<Item = Self> {
        let changed_at = state.occurred_at.as_millis();
        Self::at(state, if terminal { changed_at } else { OPEN + changed_at })
    }

    /// What earlier versions wrote of an order that has not ended, and may still write beside this one.
    pub(super) fn unordered(state: &OrderState) -> impl Iterator<Item = Self> {
        Self::at(state, i64::MAX)
    }

    fn at(state: &OrderState, terminal_at: i64) -> impl Iterator<Item = Self> {
        state.named().map(move |user| Self {
            order_id: state.order_id.to_string(),
            user_id: user.to_string(),
            terminal_at,
        })
    }
}

fn version_columns(version: Version) -> (i64, Option<i64>) {
    let epoch = match version.kind {
        VersionKind::Field => None,
        VersionKind::Log(epoch) => Some(epoch.0.cast_signed()),
    };
    (version.number.cast_signed(), epoch)
}

fn version(number: i64, epoch: Option<i64>) -> Version {
    let kind = epoch.map_or(VersionKind::Field, |epoch| VersionKind::Log(Epoch(epoch.cast_unsigned())));
    Version { kind, number: number.cast_unsigned() }
}

fn stamp(epoch: i64, partition: i32, offset: i64) -> Stamp {
    Stamp { epoch: Epoch(epoch.cast_unsigned()), partition, offset }
}

fn order_id(text: &str) -> Result<OrderId, Error> {
    OrderId::parse(text).map_err(unreadable)
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers always have a JSON form")
}

/// A moment of the database's own clock, in milliseconds.
pub(super) fn moment(millis: i64) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_millis(millis).ok_or_else(|| unreadable("a time is out of range"))?)
}

/// A row that this program cannot have written.
pub(super) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(error.into())
}
