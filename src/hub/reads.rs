//! What has to be read from the store: sessions that start or are doubted, and orders seen for the first time.

use hashbrown::{DefaultHashBuilder, HashSet};
use indexmap::IndexSet;

use super::{Hub, Phase, Rule, SessionKey};
use crate::event::{ListPart, OrderId, Position, UserId};

/// A read for one session. What it asks for is fixed now; what the session shows later is not part of it.
#[derive(Debug, Clone)]
pub struct SessionRead {
    pub(super) key: SessionKey,
    pub(super) serial: u32,
    /// The list of this user; `None` for a link.
    pub user: Option<UserId>,
    /// Only this part of it.
    pub part: Option<ListPart>,
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

/// Which reads are due. Each session and order stands in it once; what is gone is swept out now and then.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    sessions: IndexSet<SessionKey, DefaultHashBuilder>,
    orders: IndexSet<OrderId, DefaultHashBuilder>,
    /// Point reads under way.
    reading: HashSet<OrderId>,
    /// Orders that nobody shows and somebody may have to: who that is, the read tells.
    sought: HashSet<OrderId>,
    /// Reads that failed their proof.
    postponed_sessions: IndexSet<SessionKey, DefaultHashBuilder>,
    postponed_orders: IndexSet<OrderId, DefaultHashBuilder>,
}

impl ReadQueue {
    pub(super) fn session_due(&mut self, key: SessionKey) {
        self.postponed_sessions.swap_remove(&key);
        self.sessions.insert(key);
    }

    pub(super) fn order_due(&mut self, order_id: &OrderId) {
        // A read under way sees, together with the tail, all that has come until it is settled.
        if !self.reading.contains(order_id) && !self.postponed_orders.contains(order_id) {
            self.orders.insert(order_id.clone());
        }
    }

    /// Reads an order that nobody shows, for all who have to.
    pub(super) fn seek(&mut self, order_id: &OrderId) {
        self.sought.insert(order_id.clone());
        self.order_due(order_id);
    }

    /// Whether somebody may have to show this order whom nobody has found yet.
    pub(super) fn is_sought(&self, order_id: &OrderId) -> bool {
        self.sought.contains(order_id)
    }

    /// Whether an order was sought that is settled now.
    pub(super) fn take_sought(&mut self, order_id: &OrderId) -> bool {
        self.sought.remove(order_id)
    }

    /// Keeps a session's read until a proof may hold.
    pub(super) fn postpone_session(&mut self, key: SessionKey) {
        self.postponed_sessions.insert(key);
    }

    /// Keeps a point read until a proof may hold.
    pub(super) fn postpone_order(&mut self, order_id: &OrderId) {
        self.reading.remove(order_id);
        self.postponed_orders.insert(order_id.clone());
    }

    pub(super) fn order_settled(&mut self, order_id: &OrderId) {
        self.reading.remove(order_id);
    }

    /// The orders whose read is due, under way or put off, and whether it was answered, only not proved.
    pub(super) fn orders_in_doubt(&self) -> impl Iterator<Item = (&OrderId, bool)> {
        let unanswered = self.orders.iter().chain(&self.reading).map(|order_id| (order_id, false));
        unanswered.chain(self.postponed_orders.iter().map(|order_id| (order_id, true)))
    }

    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.orders.is_empty()
    }
}

impl Hub {
    /// How many reads are due.
    pub fn due_reads(&self) -> usize {
        self.reads.sessions.len() + self.reads.orders.len()
    }

    /// Whether a read is due.
    pub fn has_due_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Takes at most `max` due reads, sessions first.
    pub fn take_due_reads(&mut self, max: usize) -> DueReads {
        let mut due = DueReads::default();
        while due.sessions.len() < max && !self.reads.sessions.is_empty() {
            let many = (max - due.sessions.len()).min(self.reads.sessions.len());
            let keys: Vec<SessionKey> = self.reads.sessions.drain(..many).collect();
            due.sessions.extend(keys.into_iter().filter_map(|key| self.session_read(key)));
        }
        while due.len() < max && !self.reads.orders.is_empty() {
            let many = (max - due.len()).min(self.reads.orders.len());
            let ReadQueue { orders, sought, .. } = &mut self.reads;
            let wanted = |order_id: &OrderId| self.registry.orders.contains_key(order_id) || sought.contains(order_id);
            let wanted = orders.drain(..many).filter(wanted);
            due.orders.extend(wanted.map(|order_id| OrderRead { order_id }));
        }
        self.reads.reading.extend(due.orders.iter().map(|read| read.order_id.clone()));
        due
    }

    /// The reads could not be done: they are due again.
    pub fn retry(&mut self, reads: DueReads) {
        for read in reads.sessions {
            if self.registry.sessions.get(read.key).is_some_and(|session| session.serial == read.serial) {
                self.reads.session_due(read.key);
            }
        }
        for read in reads.orders {
            self.reads.reading.remove(&read.order_id);
            self.reads.order_due(&read.order_id);
        }
    }

    /// Lets reads that waited for a proof try again, if a snapshot at `progress` would be proved.
    pub fn retry_postponed(&mut self, progress: &[Position]) {
        if self.tail.proves(progress) {
            for key in std::mem::take(&mut self.reads.postponed_sessions) {
                self.session_due(key);
            }
            let orders = std::mem::take(&mut self.reads.postponed_orders);
            self.reads.orders.extend(orders);
        }
    }

    /// Forgets reads of sessions that left and of orders nobody shows or seeks. While the database is away nobody takes
    /// reads, so they must not pile up.
    pub(super) fn sweep_reads(&mut self) {
        let Self { reads, registry, .. } = self;
        for keys in [&mut reads.sessions, &mut reads.postponed_sessions] {
            keys.retain(|key| registry.sessions.contains_key(*key));
        }
        for orders in [&mut reads.orders, &mut reads.postponed_orders] {
            orders.retain(|order_id| registry.orders.contains_key(order_id) || reads.sought.contains(order_id));
        }
    }

    fn session_read(&self, key: SessionKey) -> Option<SessionRead> {
        let session = self.registry.sessions.get(key)?;
        // An overflowed session asks again once its socket has drained.
        if session.phase == Phase::Overflowed {
            return None;
        }
        let orders = if self.rules.hold(Rule::PointRead) { session.orders_by_name() } else { Vec::new() };
        let user = session.viewer.user().cloned();
        let part = user.clone().zip(session.part.clone());
        let part = part.map(|(user, (after, max_orders))| ListPart { user, after, max_orders });
        Some(SessionRead { key, serial: session.serial, user, part, orders })
    }
}
