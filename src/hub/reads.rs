//! What has to be read from the store: sessions that start or are doubted, and orders seen for the first time.

use std::collections::VecDeque;

use hashbrown::HashSet;
use indexmap::IndexSet;

use super::{Hub, Phase, Rule, SessionKey};
use crate::event::{OrderId, UserId};

/// A read for one session. What it asks for is fixed now; what the session shows later is not part of it.
#[derive(Debug, Clone)]
pub struct SessionRead {
    pub(super) key: SessionKey,
    pub(super) serial: u32,
    /// All orders that name this user; `None` for a link.
    pub user: Option<UserId>,
    /// Orders asked for by name.
    pub orders: Vec<OrderId>,
}

/// A point read of one order, for all who show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRead {
    /// The order.
    pub order_id: OrderId,
}

/// Reads to be done, which may share one statement. Each ends in [`Hub::reconcile`] or [`Hub::prove`], or is handed
/// back by [`Hub::retry`].
#[derive(Debug, Clone, Default)]
pub struct DueReads {
    /// For sessions.
    pub sessions: Vec<SessionRead>,
    /// Of single orders.
    pub orders: Vec<OrderRead>,
}

impl DueReads {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.orders.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the second half out, so that a statement that failed can be tried in two.
    pub fn split_half(&mut self) -> Self {
        let sessions = self.sessions.split_off(self.sessions.len().div_ceil(2));
        let orders = self.orders.split_off(self.orders.len() / 2);
        Self { sessions, orders }
    }
}

/// Which reads are due. Bounded by the sessions and the orders they show: each stands in it once.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    sessions: VecDeque<SessionKey>,
    orders: IndexSet<OrderId>,
    /// Point reads under way.
    reading: HashSet<OrderId>,
    postponed_sessions: Vec<SessionKey>,
    postponed_orders: Vec<OrderId>,
}

impl ReadQueue {
    pub(super) fn session_due(&mut self, key: SessionKey) {
        self.sessions.push_back(key);
    }

    pub(super) fn order_due(&mut self, order_id: &OrderId) {
        // A read under way sees, together with the tail, all that has come until it is settled.
        if !self.reading.contains(order_id) {
            self.orders.insert(order_id.clone());
        }
    }

    /// Keeps a session's read until a proof may hold.
    pub(super) fn postpone_session(&mut self, key: SessionKey) {
        self.postponed_sessions.push(key);
    }

    /// Keeps a point read until a proof may hold.
    pub(super) fn postpone_order(&mut self, order_id: &OrderId) {
        self.reading.remove(order_id);
        self.postponed_orders.push(order_id.clone());
    }

    pub(super) fn order_settled(&mut self, order_id: &OrderId) {
        self.reading.remove(order_id);
    }

    pub(super) fn retry_postponed(&mut self) {
        self.sessions.extend(self.postponed_sessions.drain(..));
        self.orders.extend(self.postponed_orders.drain(..));
    }

    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.orders.is_empty()
    }
}

impl Hub {
    /// Whether a read is due.
    pub fn has_due_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Takes at most `max` due reads, sessions that start first.
    pub fn take_due_reads(&mut self, max: usize) -> DueReads {
        let mut due = DueReads::default();
        while due.sessions.len() < max
            && let Some(key) = self.reads.sessions.pop_front()
        {
            due.sessions.extend(self.session_read(key));
        }
        while due.len() < max
            && let Some(order_id) = self.reads.orders.shift_remove_index(0)
        {
            if self.registry.orders.contains_key(&order_id) {
                self.reads.reading.insert(order_id.clone());
                due.orders.push(OrderRead { order_id });
            }
        }
        due
    }

    /// The reads could not be done: they are due again, before others.
    pub fn retry(&mut self, reads: DueReads) {
        for read in reads.sessions.into_iter().rev() {
            if self.registry.sessions.get(read.key).is_some_and(|session| session.serial == read.serial) {
                self.reads.sessions.push_front(read.key);
            }
        }
        for read in reads.orders {
            self.reads.reading.remove(&read.order_id);
            self.reads.orders.insert(read.order_id);
        }
    }

    fn session_read(&self, key: SessionKey) -> Option<SessionRead> {
        let session = self.registry.sessions.get(key)?;
        // An overflowed session asks again once its socket has drained.
        if session.phase == Phase::Overflowed {
            return None;
        }
        let orders = if self.rule_holds(Rule::PointRead) { session.orders_by_name() } else { Vec::new() };
        Some(SessionRead { key, serial: session.serial, user: session.viewer.user().cloned(), orders })
    }
}
