//! What has to be read from the store: sessions that start or are doubted, and orders seen for the first time.

use hashbrown::{DefaultHashBuilder, HashSet};
use indexmap::IndexSet;

use super::{Hub, HubRule, SessionEntry, SessionKey, SessionPhase};
use crate::domain::{ListPart, Listed, OrderId, Position, Snapshot, UserId};

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

impl SessionRead {
    /// What the snapshot lists for it.
    pub fn listed<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Listed> {
        match &self.part {
            Some(part) => snapshot.part(part),
            None => snapshot.list_of(self.user.as_ref()?),
        }
    }

    /// How long its user's list is, where that is all of what a screen shows.
    pub fn list_len(&self, snapshot: &Snapshot) -> Option<usize> {
        let listed = self.listed(snapshot)?;
        let is_whole = self.part.as_ref().is_none_or(|part| part.after.is_none() && listed.end.is_none());
        is_whole.then_some(listed.orders.len())
    }
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

    /// Takes so many out, sessions first.
    pub fn take_first(&mut self, reads: usize) -> Self {
        let sessions: Vec<_> = self.sessions.drain(..reads.min(self.sessions.len())).collect();
        let orders = self.orders.drain(..(reads - sessions.len()).min(self.orders.len())).collect();
        Self { sessions, orders }
    }

    /// Takes the last one out, orders first.
    pub fn take_last(&mut self) -> Self {
        match self.orders.pop() {
            Some(read) => Self { sessions: Vec::new(), orders: vec![read] },
            None => Self { sessions: self.sessions.pop().into_iter().collect(), orders: Vec::new() },
        }
    }
}

/// Orders that reads name which are taken in one step.
const MAX_NAMES_PER_STEP: usize = 500;

/// Reads that are being taken for one statement.
#[derive(Debug)]
pub struct Gathering {
    /// Those that were taken.
    pub due: DueReads,
    orders: usize,
    most_reads: usize,
    most_orders: usize,
}

impl Gathering {
    /// Nothing yet. A read that brings more than `most_orders` is taken alone.
    pub fn up_to(most_reads: usize, most_orders: usize) -> Self {
        Self { due: DueReads::default(), orders: 0, most_reads, most_orders }
    }

    fn is_full(&self) -> bool {
        self.due.len() >= self.most_reads || self.orders >= self.most_orders
    }

    fn has_room_for(&self, orders: usize) -> bool {
        self.due.is_empty() || self.orders.saturating_add(orders) <= self.most_orders
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

    pub(super) fn order_verified(&mut self, order_id: &OrderId) {
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

    /// How many orders are waiting for a read, or being read.
    #[cfg(test)]
    pub(crate) fn orders_in_doubt(&self) -> usize {
        self.reads.orders_in_doubt().count()
    }

    /// Whether a read is due.
    pub fn has_due_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Takes at most `max` due reads, sessions first.
    pub fn take_due_reads(&mut self, max: usize) -> DueReads {
        let mut gathering = Gathering::up_to(max, usize::MAX);
        while self.gather(&mut gathering, |_| true, |_| 1) {}
        gathering.due
    }

    /// How many reads of these sessions are due, and of orders where `None` is among them. See [`gather`](Self::gather).
    pub fn due_among(&self, is_among: impl Fn(Option<&UserId>) -> bool) -> usize {
        let sessions = self.reads.sessions.iter().filter(|key| is_among(self.user_of(**key))).count();
        sessions + if is_among(None) { self.reads.orders.len() } else { 0 }
    }

    /// Takes due reads, sessions first: as many as still fit, and no more than is good for one step. Returns whether
    /// there may be more to take.
    ///
    /// `is_among` says which sessions, by user; `None` stands for links, and for all that is read for no session. `weigh`
    /// says how many orders a read is likely to bring.
    pub fn gather(
        &mut self,
        gathering: &mut Gathering,
        is_among: impl Fn(Option<&UserId>) -> bool,
        weigh: impl Fn(&SessionRead) -> usize,
    ) -> bool {
        let (mut passed, mut names, mut is_cut) = (HashSet::new(), 0, false);
        for key in &self.reads.sessions {
            if names >= MAX_NAMES_PER_STEP || gathering.is_full() {
                break;
            }
            if !is_among(self.user_of(*key)) {
                continue;
            }
            if let Some(read) = self.session_read(*key) {
                let orders = weigh(&read);
                if !gathering.has_room_for(orders) {
                    is_cut = true;
                    break;
                }
                names += read.orders.len().max(1);
                gathering.orders += orders;
                gathering.due.sessions.push(read);
            }
            passed.insert(*key);
        }
        self.reads.sessions.retain(|key| !passed.contains(key));
        while is_among(None) && names < MAX_NAMES_PER_STEP && !gathering.is_full() && !self.reads.orders.is_empty() {
            let room = (gathering.most_reads - gathering.due.len()).min(gathering.most_orders - gathering.orders);
            let many = room.min(MAX_NAMES_PER_STEP - names).min(self.reads.orders.len());
            let ReadQueue { orders, sought, reading, .. } = &mut self.reads;
            let wanted = |order_id: &OrderId| self.registry.orders.contains_key(order_id) || sought.contains(order_id);
            let before = gathering.due.orders.len();
            let reads = orders.drain(..many).filter(wanted).map(|order_id| OrderRead { order_id });
            gathering.due.orders.extend(reads.inspect(|read| _ = reading.insert(read.order_id.clone())));
            gathering.orders += gathering.due.orders.len() - before;
            names += many;
        }
        names >= MAX_NAMES_PER_STEP && !is_cut && !gathering.is_full()
    }

    fn user_of(&self, key: SessionKey) -> Option<&UserId> {
        self.registry.sessions.get(key).and_then(|session| session.viewer.user())
    }

    /// The reads could not be done: they are due again.
    pub fn retry(&mut self, reads: DueReads) {
        for read in reads.sessions {
            if let Some(session) = self.registry.sessions.get_mut(read.key).filter(|it| it.serial == read.serial) {
                // Where the answer broke off, the hub took it for answered.
                session.queued = true;
                self.reads.session_due(read.key);
            }
        }
        for read in reads.orders {
            self.reads.reading.remove(&read.order_id);
            self.reads.order_due(&read.order_id);
        }
    }

    /// The answer to a read broke off in the middle. What its session shows then is not known any more: it is owed
    /// everything, and gets nothing before that. Returns the read, for [`retry`](Self::retry) at a later time.
    pub fn broke_off(&mut self, read: SessionRead) -> SessionRead {
        let half_shown = |session: &SessionEntry| session.half_shown && session.serial == read.serial;
        if !self.registry.sessions.get(read.key).is_some_and(half_shown) {
            return read;
        }
        self.restart(read.key);
        self.reads.sessions.shift_remove(&read.key);
        self.session_read(read.key).unwrap_or(read)
    }

    /// Lets reads that waited for a proof try again, if a snapshot at `progress` would be proved.
    pub fn retry_postponed(&mut self, progress: &[Position]) {
        if (!self.reads.postponed_sessions.is_empty() || !self.reads.postponed_orders.is_empty())
            && self.tail.proves(progress)
        {
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
        if session.phase == SessionPhase::Overflowed {
            return None;
        }
        let orders = if self.rules.hold(HubRule::PointRead) { session.orders_by_name() } else { Vec::new() };
        let user = session.viewer.user().cloned();
        let part = user.clone().zip(session.part.clone());
        let part = part.map(|(user, (after, max_orders))| ListPart { user, after, max_orders });
        Some(SessionRead { key, serial: session.serial, user, part, orders })
    }
}
