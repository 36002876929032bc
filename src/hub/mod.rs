//! The hub: tail + registry of this instance. One plain data structure without clock, socket, broker or SQL, so that a
//! simulation can drive it; [`SharedHub`] puts it behind one lock.
//!
//! Every public method is one atomic step. Work is proportional to the answer: nothing here walks all sessions but
//! [`begin`](Hub::begin), [`gap`](Hub::gap), [`lost`](Hub::lost) and the refusal of a record that is not in the tail any
//! more, all of which doubt every screen.
//!
//! ```text
//!   fanout ── on_record ──► tail, orders ──► mailboxes of those who may see the order
//!   session ── join ──► due read ──► snapshot ── reconcile ──► mailbox, live from now on
//!   first sight of an order ──► due read ──► snapshot ── prove ──► mailboxes of all who show it
//! ```

mod audit;
mod erased;
mod identity;
mod mailbox;
mod places;
mod reads;
mod reconcile;
mod refresh;
mod registry;
pub(crate) mod rules;
mod shared;
#[cfg(test)]
pub(crate) mod simulation;
mod tail;
#[cfg(test)]
mod tests;
mod unverified;
mod wakes;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use self::{
    erased::Erased,
    reads::ReadQueue,
    registry::{Answer, Delivered, Registry, SessionEntry, SessionPhase, ShownOrder},
    rules::{HubRule, HubRules},
    unverified::Doubts,
};
pub use self::{
    identity::{SessionIdentity, SessionInfo, SessionSelector, Shows},
    mailbox::{Mailbox, Put},
    places::{Place, TooManySessions},
    reads::{DueReads, Gathering, OrderRead, SHORT_LIST, SessionRead},
    reconcile::{Correction, Reconciled, Revision},
    registry::SessionKey,
    shared::SharedHub,
    tail::{Struck, Tail},
    wakes::WakeQueue,
};
use crate::{
    domain::{
        Change, Known, ListPlace, Marker, OrderEvent, OrderId, OrderState, Position, Rev, Stamp, Verdict, Viewer, judge,
    },
    protocol::{Message, outbound},
};

/// Tail and registry of one instance.
#[derive(Debug)]
pub struct Hub {
    tail: Tail,
    registry: Registry,
    reads: ReadQueue,
    doubts: Doubts,
    erased: Erased,
    /// Records the store refused that the fanout has not reached yet.
    refused: HashSet<Stamp>,
    rules: HubRules,
}

/// What has happened since the counters were last taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Updates and removals put into mailboxes by records.
    pub deliveries: u64,
    /// Updates that took the place of a pending one.
    pub coalesced: u64,
    /// Mailboxes that passed their limit.
    pub overflows: u64,
}

/// A session that wants to join.
#[derive(Debug)]
pub struct Joining {
    /// Who it serves.
    pub viewer: Viewer,
    /// Where its deliveries go.
    pub mailbox: Arc<Mailbox>,
    /// Whether to read its first snapshot at once; `sync=wait` asks for it later.
    pub start: bool,
    /// The place it takes; `None` for who only asks something, and takes none.
    pub place: Option<Place>,
    /// Who it is, for operators; `None` for who stays a moment only.
    pub identity: Option<SessionIdentity>,
}

impl Hub {
    /// A hub without partitions, whose tail holds at most `tail_bytes`.
    pub fn new(tail_bytes: usize) -> Self {
        Self {
            tail: Tail::new(tail_bytes),
            registry: Registry::default(),
            reads: ReadQueue::default(),
            doubts: Doubts::default(),
            erased: Erased::default(),
            refused: HashSet::new(),
            rules: HubRules::default(),
        }
    }

    /// Switches one rule off.
    #[cfg(test)]
    pub(crate) fn without(mut self, rule: Option<HubRule>) -> Self {
        (self.rules.off, self.registry.rules.off) = (rule, rule);
        self
    }

    // ── the log ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Begins a partition that was not followed before. What lies below was recorded without having been seen here, so
    /// every screen is doubted.
    pub fn begin(&mut self, at: Position) {
        self.tail.begin(at);
        self.refused.retain(|record| {
            record.partition != at.partition || record.epoch == at.epoch && record.offset >= at.next_offset
        });
        self.doubt_all();
    }

    /// Where the tail of a partition ends: the next record the fanout is to bring.
    pub fn end(&self, partition: i32) -> Option<Position> {
        let (epoch, next_offset) = self.tail.end(partition)?;
        Some(Position { partition, epoch, next_offset })
    }

    /// Takes one record. Returns what it did to its order, as far as anybody here watches; `None` if it was ignored.
    pub fn on_record(&mut self, event: &OrderEvent) -> Option<Verdict> {
        let Stamp { epoch, partition, offset } = event.stamp;
        let (current, end) = self.tail.end(partition)?;
        if (epoch != current || offset < end) && self.rules.hold(HubRule::OffsetGuard) {
            return None;
        }
        if self.refused.remove(&event.stamp) {
            self.tail.advance(partition, offset + 1);
            return None;
        }
        self.tail.append(event);
        let before = self.registry.orders.get(&event.order_id).map(|order| order.state.clone());
        if let Some(state) = before.as_ref().filter(|state| state.stamp.is_at_or_after(event.stamp)) {
            // A start without proof has shown what a later record set; the store had folded this one before that.
            // Everybody else is shown it when that record comes.
            self.erased.forget(&event.order_id);
            if state.stamp == event.stamp {
                let named = self.registry.live_viewers(state);
                self.on_state(state, None, named);
                self.registry.forget_overflowed();
            }
            return None;
        }
        let named = match &event.change {
            Change::Set(state) => self.registry.live_viewers(state),
            Change::Erase | Change::Reset => Vec::new(),
        };
        let known = before.clone().map(Known::Order).or_else(|| self.remembered(event, !named.is_empty()));
        let verdict = judge(known.as_ref(), event, |known| self.tail.stands(known, event.stamp));
        if let Verdict::Applies { known, .. } = &verdict {
            match known {
                Known::Order(state) => {
                    self.erased.forget(&event.order_id);
                    self.on_state(state, before.as_ref(), named);
                }
                Known::Erased(marker) => self.on_erased(&event.order_id, *marker),
            }
            self.registry.forget_overflowed();
        }
        Some(verdict)
    }

    /// Moves the end of a partition past records that are no events: refused ones, transaction markers, holes.
    pub fn advance(&mut self, partition: i32, next_offset: i64) {
        self.tail.advance(partition, next_offset);
        if let Some((epoch, _)) = self.tail.end(partition) {
            let passed = Stamp { epoch, partition, offset: next_offset - 1 };
            self.refused.retain(|record| !passed.is_at_or_after(*record));
        }
    }

    /// Forgets what lies below `positions`, and reads that nobody waits for. To be called about once a second.
    pub fn trim(&mut self, positions: &[Position]) {
        self.tail.trim(positions);
        self.erased.forget_but_held(&self.tail);
        self.sweep_reads();
    }

    /// The store refused what decode had accepted, or called it unordered, which may be seen otherwise here: the event is
    /// struck, or ignored when it comes, and whoever may have seen it is read again.
    pub fn refused(&mut self, record: Stamp) {
        if !self.rules.hold(HubRule::Refused) {
            return;
        }
        match self.tail.end(record.partition) {
            Some((epoch, end)) if epoch == record.epoch && record.offset < end => {
                match self.tail.strike(record.partition, record.offset) {
                    Struck::Event(event) => self.doubt_order(&event.order_id),
                    // Decode refused it here as well.
                    Struck::Nothing => {}
                    Struck::Forgotten => self.doubt_all(),
                }
            }
            _ => _ = self.refused.insert(record),
        }
    }

    /// The fanout goes on elsewhere: records in between come no more. The partition begins anew there.
    pub fn gap(&mut self, to: Position) {
        if self.rules.hold(HubRule::Gap) {
            self.begin(to);
        } else {
            self.tail.advance(to.partition, to.next_offset);
        }
    }

    /// Records below `to`, which the recorder had not read, are lost: the store will never hold them, whatever was shown
    /// of them here. What was folded from them is forgotten, and every screen is read again.
    pub fn lost(&mut self, to: Position) {
        match self.tail.end(to.partition) {
            Some((epoch, _)) if epoch != to.epoch => {}
            Some((_, end)) if end >= to.next_offset => {
                self.tail.trim(&[to]);
                self.doubt_all();
            }
            // The fanout may still have some of them in hand.
            Some(_) => self.begin(to),
            None => {}
        }
    }

    fn on_state(&mut self, state: &Arc<OrderState>, before: Option<&Arc<OrderState>>, named: Vec<SessionKey>) {
        let order_id = &state.order_id;
        let is_known = self.registry.orders.contains_key(order_id);
        if !is_known && named.is_empty() {
            return;
        }
        let mut first_sight = false;
        if self.rules.hold(HubRule::OrderIndex)
            && let Some(order) = self.registry.orders.get(order_id)
        {
            for key in self.registry.withdrawn(order, state) {
                self.registry.withdraw(key, order_id);
            }
        }
        if !named.is_empty() {
            let unverified = !is_known;
            self.registry.orders.entry_ref(order_id).and_modify(|order| order.state = state.clone()).or_insert_with(
                || ShownOrder { state: state.clone(), unverified, timeline_pending: false, sessions: HashSet::new() },
            );
            let update: Message = outbound::order_status(state, before.map(Arc::as_ref));
            for key in named {
                first_sight |= self.registry.deliver(key, state, &update) == Delivered::FirstSight;
            }
        }
        self.registry.forget_unshown(order_id);
        if first_sight && let Some(order) = self.registry.orders.get_mut(order_id) {
            order.timeline_pending = true;
            if self.rules.hold(HubRule::Unverified) {
                self.reads.order_due(order_id);
            }
        }
    }

    fn on_erased(&mut self, order_id: &OrderId, marker: Marker) {
        let order = self.registry.orders.get(order_id);
        self.erased.note(order_id, marker, order);
        let Some(order) = order else { return };
        if self.rules.hold(HubRule::OrderIndex) {
            for key in order.sessions.iter().copied().collect::<Vec<_>>() {
                self.registry.withdraw(key, order_id);
            }
            self.registry.forget_unshown(order_id);
        }
    }

    /// What is shown of an order may be wrong: it is read again.
    fn doubt_order(&mut self, order_id: &OrderId) {
        // A marker may say what a record did that is none.
        self.erased.forget(order_id);
        if let Some(order) = self.registry.orders.get_mut(order_id) {
            order.unverified = true;
            self.reads.order_due(order_id);
        } else {
            self.reads.seek(order_id);
        }
    }

    fn doubt_all(&mut self) {
        for order in self.registry.orders.values_mut() {
            order.unverified = true;
        }
        let keys: Vec<SessionKey> = self.registry.sessions.keys().filter(|key| self.registry.is_live(*key)).collect();
        for key in keys {
            self.registry.set_verified(key, false);
            self.audit(key);
        }
    }

    // ── sessions ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Adds a session. It gets nothing until it has been reconciled.
    pub fn join(&mut self, joining: Joining) -> Result<SessionKey, TooManySessions> {
        let standing = self.registry.admit(joining.place.as_ref())?;
        let key = self.registry.insert(SessionEntry {
            viewer: joining.viewer,
            subscription: None,
            mailbox: joining.mailbox,
            standing,
            identity: joining.identity,
            joined: 0,
            phase: SessionPhase::Waiting(Answer::Everything),
            has_been_live: false,
            unanswered: false,
            shown: HashMap::new(),
            serial: 0,
            queued: false,
            refreshed: false,
            half_shown: false,
            too_long: false,
            part: None,
            list_end: None,
        });
        if joining.start {
            self.session_due(key);
        }
        Ok(key)
    }

    /// Reads a part of the list, at most so many orders behind a place in it, for one that joined without a start.
    pub fn read_part(&mut self, key: SessionKey, after: Option<ListPlace>, max_orders: usize) {
        if let Some(session) = self.registry.sessions.get_mut(key) {
            session.part = Some((after, max_orders));
            self.session_due(key);
        }
    }

    /// Removes a session. A read under way for it will do nothing.
    pub fn leave(&mut self, key: SessionKey) {
        if !self.rules.hold(HubRule::GoneGuard) {
            self.registry.forget_shown(key);
            return;
        }
        self.registry.remove(key);
    }

    /// Starts a session anew: it gets a full snapshot, and nothing before that. Also the first start of one that joined
    /// without, and the return of one whose mailbox overflowed.
    pub fn restart(&mut self, key: SessionKey) {
        self.wait_for(key, Answer::Everything);
    }

    /// The client says what it shows, by order and rev: it gets what differs. Until then it gets nothing.
    pub fn sync(&mut self, key: SessionKey, claims: HashMap<OrderId, Option<Rev>>) {
        self.wait_for(key, Answer::Differences);
        if let Some(session) = self.registry.sessions.get_mut(key)
            && session.phase == SessionPhase::Waiting(Answer::Differences)
        {
            session.compare(claims);
        }
    }

    /// Shows only these orders from now on, or all again. Until it has been read what that is, the session gets nothing.
    pub fn subscribe(&mut self, key: SessionKey, orders: Option<Vec<OrderId>>) {
        let first_answer_is_due = self.registry.sessions.get(key).is_some_and(|session| !session.has_been_live);
        let answer = if orders.is_none() || first_answer_is_due { Answer::Everything } else { Answer::Differences };
        self.wait_for(key, answer);
        if let Some(session) = self.registry.sessions.get_mut(key) {
            session.subscribe(orders);
        }
    }

    /// Wakes every session, because something changed that concerns all of this instance.
    pub fn nudge_all(&mut self) {
        self.registry.woken.extend(self.registry.sessions.values().map(|session| session.mailbox.clone()));
    }

    /// How many orders a session shows.
    pub fn shown_orders(&self, key: SessionKey) -> usize {
        self.registry.sessions.get(key).map_or(0, |session| session.shown.len())
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.registry.sessions.len()
    }

    /// Events and bytes the tail holds.
    pub fn tail_size(&self) -> (usize, usize) {
        self.tail.size()
    }

    /// What has happened since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.registry.counters)
    }

    /// The mailboxes whose sessions wait for what was put in since the last call.
    fn take_woken(&mut self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut self.registry.woken)
    }

    /// Lets a session wait for the answer to what its client asked; what is pending in its mailbox is forgotten.
    ///
    /// Where a full snapshot is owed, nothing less will do: what the client shows is not known.
    fn wait_for(&mut self, key: SessionKey, asked: Answer) {
        let Some(session) = self.registry.sessions.get(key) else { return };
        let forgotten = session.mailbox.clear();
        let owes_everything = match session.phase {
            SessionPhase::Waiting(answer) => answer == Answer::Everything && session.has_been_live,
            SessionPhase::Live => forgotten.full_snapshot,
            SessionPhase::Overflowed => true,
        };
        let answer = if owes_everything { Answer::Everything } else { asked };
        let mut shown = self.registry.forget_shown(key);
        if answer == Answer::Everything {
            shown.clear();
        }
        if let Some(session) = self.registry.sessions.get_mut(key) {
            session.phase = SessionPhase::Waiting(answer);
            session.unanswered |= forgotten.not_visible;
            session.shown = shown;
            session.serial = session.serial.wrapping_add(1);
            session.queued = false;
            session.half_shown = false;
            if answer == Answer::Differences {
                session.doubt(forgotten.orders);
            }
        }
        self.session_due(key);
    }

    fn session_due(&mut self, key: SessionKey) {
        if let Some(session) = self.registry.sessions.get_mut(key)
            && !std::mem::replace(&mut session.queued, true)
        {
            self.reads.session_due(key);
        }
    }
}
