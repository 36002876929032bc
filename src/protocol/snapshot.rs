//! Snapshots on the wire: many orders at once, cut into pages that are made as the socket takes them.

use std::{collections::VecDeque, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{Frame, outbound::OrderFields};
use crate::event::{OrderId, OrderState, Timeline, Timestamp};

/// A page ends at this many bytes of orders, or at `session.snapshot_page` orders.
const PAGE_BYTES: usize = 64 * 1024;

/// An order as a snapshot and `GET /orders` show it.
#[derive(Debug, Clone)]
pub struct OrderView {
    /// Its state.
    pub state: Arc<OrderState>,
    /// Its steps.
    pub timeline: Arc<Timeline>,
}

impl OrderView {
    /// Roughly how many bytes it takes as JSON. A page may exceed [`PAGE_BYTES`] by one order.
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

/// A snapshot on its way to one socket.
#[derive(Debug)]
pub struct SnapshotPages {
    as_of: Timestamp,
    partial: bool,
    first: bool,
    page_orders: usize,
    orders: VecDeque<OrderView>,
    removed: VecDeque<OrderId>,
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
        page_orders: usize,
    ) -> Self {
        sort_newest_first(&mut orders);
        Self {
            as_of,
            partial,
            first: true,
            page_orders: page_orders.max(1),
            orders: orders.into(),
            removed: removed.into(),
            done: false,
        }
    }
}

/// The order of lists: newest `occurred_at` first, then by id.
pub fn sort_newest_first(orders: &mut [OrderView]) {
    orders.sort_unstable_by(|a, b| {
        b.state.occurred_at.cmp(&a.state.occurred_at).then_with(|| a.state.order_id.cmp(&b.state.order_id))
    });
}

/// Yields the frames; there is always at least one, and the last says `"complete":true`.
impl Iterator for SnapshotPages {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            r#type: &'static str,
            as_of: Timestamp,
            partial: bool,
            first: bool,
            orders: &'a [OrderView],
            removed: &'a [OrderId],
            complete: bool,
        }
        if self.done {
            return None;
        }
        let mut bytes = 0;
        let mut orders = Vec::new();
        while bytes < PAGE_BYTES && orders.len() < self.page_orders {
            let Some(order) = self.orders.pop_front() else { break };
            bytes += order.json_bytes();
            orders.push(order);
        }
        let mut removed = Vec::new();
        while bytes < PAGE_BYTES {
            let Some(order_id) = self.removed.pop_front() else { break };
            bytes += order_id.as_str().len() + 3;
            removed.push(order_id);
        }
        self.done = self.orders.is_empty() && self.removed.is_empty();
        let frame = Frame::json(&Snapshot {
            r#type: "snapshot",
            as_of: self.as_of,
            partial: self.partial,
            first: std::mem::take(&mut self.first),
            orders: &orders,
            removed: &removed,
            complete: self.done,
        });
        Some(frame)
    }
}
