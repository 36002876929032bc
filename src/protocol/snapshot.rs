//! Snapshots on the wire: many orders at once, cut into pages that are made as the socket takes them.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{
    Message,
    message::{HEADER_BYTES, write_json},
    outbound::OrderFields,
};
use crate::domain::{ListPlace, OrderId, OrderState, Timeline, Timestamp};

const REMOVED: &[u8] = br#"],"removed":["#;
const MORE: &[u8] = br#"],"complete":false}"#;
const COMPLETE: &[u8] = br#"],"complete":true}"#;

/// An order as a snapshot and `GET /orders` show it.
#[derive(Debug, Clone)]
pub struct OrderView {
    /// Its state.
    pub state: Arc<OrderState>,
    /// Its steps.
    pub timeline: Arc<Timeline>,
}

impl OrderView {
    /// Roughly how many bytes it takes as JSON.
    pub fn json_bytes(&self) -> usize {
        let step_bytes = 96;
        self.state.size_bytes() + self.timeline.steps().len() * step_bytes
    }
}

impl Serialize for OrderView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Order<'a> {
            #[serde(flatten)]
            fields: OrderFields<'a>,
            timeline: Steps<'a>,
        }
        Order { fields: OrderFields::of(&self.state), timeline: Steps(&self.timeline) }.serialize(serializer)
    }
}

/// The part of a timeline's steps that viewers see.
struct Steps<'a>(&'a Timeline);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Step<'a> {
            status: &'a str,
            version: u64,
            occurred_at: Timestamp,
        }
        let mut steps = serializer.serialize_seq(Some(self.0.steps().len()))?;
        for step in self.0.steps() {
            steps.serialize_element(&Step {
                status: &step.status,
                version: step.version,
                occurred_at: step.occurred_at,
            })?;
        }
        steps.end()
    }
}

/// How much one message of a snapshot may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Most orders.
    pub orders: usize,
    /// Most bytes, header and all; at least 4096. Only a single order that is larger by itself exceeds them, and even that
    /// stays within [`MAX_FRAME_BYTES`](super::message::MAX_FRAME_BYTES).
    pub bytes: usize,
}

/// A snapshot on its way to one socket.
#[derive(Debug)]
pub struct SnapshotPages {
    as_of: Timestamp,
    partial: bool,
    first: bool,
    limits: PageLimits,
    orders: VecDeque<OrderView>,
    /// The next order, which did not fit into the last page any more: encoded once.
    carried: Option<Vec<u8>>,
    removed: VecDeque<OrderId>,
    /// The end of the last page.
    complete: Cow<'static, [u8]>,
    done: bool,
}

impl SnapshotPages {
    /// Cuts a snapshot that is true for `as_of`. A full one (`partial` false) lists newest orders first and removes
    /// nothing by name: it replaces all.
    pub fn new(
        as_of: Timestamp,
        partial: bool,
        mut orders: Vec<OrderView>,
        removed: Vec<OrderId>,
        limits: PageLimits,
    ) -> Self {
        sort_newest_first(&mut orders);
        Self {
            as_of,
            partial,
            first: true,
            limits: PageLimits { orders: limits.orders.max(1), ..limits },
            orders: orders.into(),
            carried: None,
            removed: removed.into(),
            complete: COMPLETE.into(),
            done: false,
        }
    }

    /// Says in the last page that the viewer's list goes on behind this place.
    pub fn truncated_at(mut self, end: &ListPlace) -> Self {
        let mut complete = br#"],"complete":true,"truncated":true,"older":"#.to_vec();
        write_json(&mut complete, &path_of_older(end));
        complete.push(b'}');
        self.complete = complete.into();
        self
    }

    /// Whether the last message has been made.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn write_page(&mut self, page: &mut Vec<u8>) {
        let besides = HEADER_BYTES + REMOVED.len() + MORE.len().max(self.complete.len());
        let room = page.len() + self.limits.bytes.saturating_sub(besides);
        let Self { as_of, partial, .. } = *self;
        let first = std::mem::take(&mut self.first);
        let begin = format!(r#"{{"type":"snapshot","as_of":"{as_of}","partial":{partial},"first":{first},"orders":["#);
        page.extend_from_slice(begin.as_bytes());
        let is_empty = self.write_orders(page, room) == 0;
        page.extend_from_slice(REMOVED);
        // What the name of the list takes, `room` has left out.
        self.write_removed(page, room + REMOVED.len(), is_empty);
        self.done = self.orders.is_empty() && self.carried.is_none() && self.removed.is_empty();
        page.extend_from_slice(if self.done { &self.complete } else { MORE });
    }

    /// Appends orders up to `room`, the first whatever its size. Returns how many.
    fn write_orders(&mut self, page: &mut Vec<u8>, room: usize) -> usize {
        let mut many = 0;
        if let Some(order) = self.carried.take() {
            page.extend_from_slice(&order);
            many = 1;
        }
        while many < self.limits.orders
            && let Some(order) = self.orders.pop_front()
        {
            let end = page.len();
            if many > 0 {
                page.push(b',');
            }
            let begin = page.len();
            write_json(page, &order);
            if many > 0 && page.len() > room {
                self.carried = Some(page.split_off(begin));
                page.truncate(end);
                break;
            }
            many += 1;
        }
        many
    }

    /// Appends ids up to `room`, into a page that is empty at least one.
    fn write_removed(&mut self, page: &mut Vec<u8>, room: usize, is_empty: bool) {
        let mut is_first = true;
        while let Some(order_id) = self.removed.front() {
            let end = page.len();
            if !is_first {
                page.push(b',');
            }
            write_json(page, order_id);
            if page.len() > room && !(is_empty && is_first) {
                page.truncate(end);
                return;
            }
            self.removed.pop_front();
            is_first = false;
        }
    }
}

/// The order of lists, which is that of [`ListPlace`]: newest `occurred_at` first.
pub fn sort_newest_first(orders: &mut [OrderView]) {
    orders.sort_unstable_by(|a, b| {
        (b.state.occurred_at, &b.state.order_id).cmp(&(a.state.occurred_at, &a.state.order_id))
    });
}

/// Where what stands behind a place in a list is to be had.
pub fn path_of_older(place: &ListPlace) -> String {
    let order_id: String = url::form_urlencoded::byte_serialize(place.order_id.as_str().as_bytes()).collect();
    format!("/orders?after={}:{order_id}", place.changed_at)
}

/// Yields the messages; there is always at least one, and the last says `"complete":true`.
impl Iterator for SnapshotPages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        (!self.done).then(|| Message::written(|page| self.write_page(page)))
    }
}

#[cfg(test)]
mod tests;
