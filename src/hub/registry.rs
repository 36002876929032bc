//! The registry: viewer → open sessions; order → its state and the sessions that show it.
//!
//! Keeps both directions and the mailboxes in step. Knows nothing of logs, tails and proofs.

use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, hash_map::EntryRef};
use indexmap::IndexSet;
use slotmap::{SlotMap, new_key_type};

use super::{
    Counters,
    identity::SessionIdentity,
    mailbox::{Mailbox, Put},
    places::Standing,
    rules::{HubRule, HubRules},
};
use crate::{
    domain::{LinkId, ListPlace, OrderId, OrderState, Rev, Timestamp, UserId, Viewer},
    protocol::{Message, OrderView, PendingSnapshot, StaleReasons},
};

new_key_type! {
    /// A session's place in the hub, checked by generation: the key of a session that left names nobody.
    pub struct SessionKey;
}

/// The registry of one instance.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) sessions: SlotMap<SessionKey, SessionEntry>,
    pub(super) orders: HashMap<OrderId, ShownOrder>,
    pub(super) by_user: HashMap<UserId, HashSet<SessionKey>>,
    /// Links by the orders they list.
    by_link: HashMap<OrderId, HashSet<SessionKey>>,
    /// Links by which one it is that a session takes a place of.
    pub(super) by_link_id: HashMap<LinkId, HashSet<SessionKey>>,
    /// Sessions that take no place.
    pub(super) visitors: usize,
    pub(super) by_name: HashMap<Box<str>, SessionKey>,
    by_token: HashMap<Box<str>, HashSet<SessionKey>>,
    /// All sessions by a number, for audits to draw from.
    pub(super) roll: IndexSet<SessionKey, DefaultHashBuilder>,
    pub(super) rules: HubRules,
    /// The newest session's number.
    pub(super) joined: u64,
    /// Sessions whose mailbox passed its limit in this step; what they show is forgotten at its end.
    overflowed: Vec<SessionKey>,
    /// Mailboxes with news for a session that waits; woken once the hub's lock is released.
    pub(super) woken: Vec<Arc<Mailbox>>,
    pub(super) counters: Counters,
}

/// One open session, as the hub sees it.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) viewer: Viewer,
    /// A `subscribe` of the client: only these orders.
    pub(super) subscription: Option<HashSet<OrderId>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) standing: Standing,
    /// A single `GET /orders` wears none.
    pub(super) identity: Option<SessionIdentity>,
    /// Which of all sessions it is, by age; set when it joins, and when it takes its place.
    pub(super) joined: u64,
    pub(super) phase: SessionPhase,
    /// Something was sent on this socket, so frames may be on their way to the client when it speaks.
    pub(super) has_been_live: bool,
    /// The client is still to hear which of the orders it subscribed to are not visible.
    pub(super) unanswered: bool,
    /// What the client's screen shows once the mailbox has drained.
    pub(super) shown: HashMap<OrderId, Shown>,
    /// A read is due or under way. A read that was sent for an older serial answers a question nobody asks any more.
    pub(super) serial: u32,
    pub(super) queued: bool,
    /// Its token changed, and what may be seen with the new one has not been read yet: what is missing is no fault.
    pub(super) refreshed: bool,
    /// Its screen is being made the truth. Where that broke off, nobody knows what the screen shows.
    pub(super) half_shown: bool,
    /// Where the part of the list begins that alone it asks for, and how long it may be; `None`: a screen's list.
    pub(super) part: Option<(Option<ListPlace>, usize)>,
    /// The list was not read further than to here, so orders behind it may be missing on the screen.
    pub(super) list_end: Option<ListPlace>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionPhase {
    /// Gets nothing until it has been reconciled, and then this.
    Waiting(Answer),
    /// Gets every record.
    Live,
    /// Its mailbox passed the limit: nothing, until its socket has drained and it asks to start anew.
    Overflowed,
}

/// What a waiting session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// All its orders.
    Everything,
    /// What differs from what it shows.
    Differences,
}

/// One order on one screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// The state that is shown; `None` differs from every state.
    pub(super) rev: Option<Rev>,
    /// `None`: the client only says that it shows it.
    pub(super) version: Option<u64>,
    /// Whether its whole timeline was shown: not, if an update of a record was the first the client saw of the order.
    pub(super) timeline: bool,
}

impl Shown {
    /// What a client says it shows; `None`: whatever it shows, it is to be told.
    fn claimed(rev: Option<Rev>) -> Self {
        Self { rev, version: None, timeline: true }
    }
}

impl Shown {
    /// Whether exactly this state is shown.
    fn is(self, state: &OrderState, rules: HubRules) -> bool {
        match self.version {
            Some(version) if !rules.hold(HubRule::Stamp) => version == state.version.number,
            None if !rules.hold(HubRule::SyncRev) => {
                self.rev.is_some_and(|seen| seen.stamp.offset >= state.stamp.offset)
            }
            _ => self.rev == Some(state.rev()),
        }
    }
}

/// What became of an update for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The client saw the order before.
    Shown,
    /// The update is the first the client sees of the order, or the first after it was taken away.
    FirstSight,
}

/// An order that at least one session shows.
#[derive(Debug)]
pub(super) struct ShownOrder {
    pub(super) state: Arc<OrderState>,
    /// The state was folded from nothing, so the event that set it may have been a late one.
    pub(super) unverified: bool,
    /// A session shows it without its timeline.
    pub(super) timeline_pending: bool,
    pub(super) sessions: HashSet<SessionKey>,
}

impl SessionEntry {
    pub(super) fn sees(&self, state: &OrderState) -> bool {
        self.viewer.may_see(state)
            && self.subscription.as_ref().is_none_or(|subscription| subscription.contains(&state.order_id))
    }

    /// The orders a read for this session asks for by name: what it shows or claims to, and what it may see at any age.
    pub(super) fn orders_by_name(&self) -> Vec<OrderId> {
        let mut orders: HashSet<&OrderId> = self.shown.keys().collect();
        orders.extend(self.viewer.listed_orders().into_iter().flat_map(|orders| orders.iter()));
        orders.extend(self.subscription.iter().flatten());
        orders.into_iter().cloned().collect()
    }

    /// Whether it sees all that is in its viewer's list.
    pub(super) fn sees_whole_list(&self) -> bool {
        self.subscription.is_none() && self.viewer.listed_orders().is_none()
    }

    /// Notes how far the list was read: of an answer, which is shown in the place of all that was; else besides what the
    /// screen shows, which reaches as far as it did.
    pub(super) fn list_read_to(&mut self, end: Option<ListPlace>, is_answer: bool) {
        self.list_end = match (self.list_end.take(), end) {
            (_, end) if is_answer => end,
            (Some(before), Some(end)) => Some(before.min(end)),
            _ => None,
        };
    }

    /// The client is to be told of these orders, whatever it shows of them.
    pub(super) fn doubt(&mut self, orders: impl IntoIterator<Item = OrderId>) {
        self.shown.extend(orders.into_iter().map(|order_id| (order_id, Shown::claimed(None))));
    }

    /// Takes the client's word for what it shows. Where that is not what was sent last, a frame was on its way when the
    /// client spoke, and nobody knows what its screen shows.
    pub(super) fn compare(&mut self, mut claims: HashMap<OrderId, Option<Rev>>) {
        if self.has_been_live {
            for (order_id, shown) in &mut self.shown {
                if claims.remove(order_id) != Some(shown.rev) {
                    *shown = Shown::claimed(None);
                }
            }
            self.doubt(claims.into_keys());
        } else {
            self.shown = claims.into_iter().map(|(order_id, rev)| (order_id, Shown::claimed(rev))).collect();
        }
    }

    /// Narrows or widens what the session sees; orders that are named are answered whether they differ or not.
    pub(super) fn subscribe(&mut self, orders: Option<Vec<OrderId>>) {
        self.unanswered = orders.is_some();
        if self.phase == SessionPhase::Waiting(Answer::Differences) {
            self.doubt(orders.iter().flatten().cloned());
        }
        self.subscription = orders.map(|orders| orders.into_iter().collect());
    }

    /// The orders it subscribed to that it does not see now, if the client has not heard yet.
    pub(super) fn take_not_visible(&mut self) -> Vec<OrderId> {
        if !std::mem::take(&mut self.unanswered) {
            return Vec::new();
        }
        self.subscription.iter().flatten().filter(|order_id| !self.shown.contains_key(*order_id)).cloned().collect()
    }
}

impl Registry {
    pub(super) fn insert(&mut self, mut session: SessionEntry) -> SessionKey {
        self.joined += 1;
        session.joined = self.joined;
        let viewer = session.viewer.clone();
        let (identity, standing) = (session.identity.clone(), session.standing);
        let key = self.sessions.insert(session);
        self.visitors += usize::from(standing == Standing::Visitor);
        if let Some(link) = standing.link() {
            self.by_link_id.entry(link).or_default().insert(key);
        }
        if let Some(identity) = identity {
            if let Some(token_id) = identity.token_id {
                self.by_token.entry(token_id).or_default().insert(key);
            }
            self.by_name.insert(identity.session_id, key);
        }
        self.list(key, &viewer);
        self.roll.insert(key);
        key
    }

    /// Changes who a session serves; what it shows stays as it is.
    pub(super) fn replace_viewer(&mut self, key: SessionKey, viewer: Viewer) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = std::mem::replace(&mut session.viewer, viewer.clone());
        self.unlist(key, &before);
        self.list(key, &viewer);
    }

    fn list(&mut self, key: SessionKey, viewer: &Viewer) {
        match viewer {
            Viewer::User { id, .. } => {
                self.by_user.entry_ref(id).or_default().insert(key);
            }
            Viewer::Link { orders } => {
                for order in orders.iter() {
                    self.by_link.entry_ref(order).or_default().insert(key);
                }
            }
        }
    }

    fn unlist(&mut self, key: SessionKey, viewer: &Viewer) {
        match viewer {
            Viewer::User { id, .. } => take_out(&mut self.by_user, id, key),
            Viewer::Link { orders } => orders.iter().for_each(|order| take_out(&mut self.by_link, order, key)),
        }
    }

    /// The sessions of a user, links excepted.
    pub(super) fn keys_of_user(&self, user: &UserId) -> Vec<SessionKey> {
        self.by_user.get(user).into_iter().flatten().copied().collect()
    }

    /// The sessions that were opened with a token of this id.
    pub(super) fn keys_of_token(&self, token_id: &str) -> Vec<SessionKey> {
        self.by_token.get(token_id).into_iter().flatten().copied().collect()
    }

    /// Notes that a session goes on with another token.
    pub(super) fn exchange_token(&mut self, key: SessionKey, token_id: Option<Box<str>>, issued_at: Option<Timestamp>) {
        let Some(identity) = self.sessions.get_mut(key).and_then(|session| session.identity.as_mut()) else { return };
        identity.issued_at = issued_at;
        let before = std::mem::replace(&mut identity.token_id, token_id.clone());
        if let Some(before) = before {
            take_out(&mut self.by_token, &before, key);
        }
        if let Some(token_id) = token_id {
            self.by_token.entry(token_id).or_default().insert(key);
        }
    }

    pub(super) fn remove(&mut self, key: SessionKey) {
        self.forget_shown(key);
        let Some(session) = self.sessions.remove(key) else { return };
        self.unlist(key, &session.viewer);
        self.visitors -= usize::from(session.standing == Standing::Visitor);
        if let Some(link) = session.standing.link() {
            take_out(&mut self.by_link_id, &link, key);
        }
        self.roll.swap_remove(&key);
        if let Some(identity) = session.identity {
            self.by_name.remove(&identity.session_id);
            if let Some(token_id) = &identity.token_id {
                take_out(&mut self.by_token, token_id, key);
            }
        }
    }

    /// Whether nothing is left of any session.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let nobody = self.sessions.is_empty() && self.roll.is_empty();
        let unnamed = self.by_name.is_empty() && self.by_token.is_empty();
        let unlisted = self.by_user.is_empty() && self.by_link.is_empty() && self.by_link_id.is_empty();
        nobody && self.visitors == 0 && unnamed && unlisted && self.orders.is_empty()
    }

    /// Live sessions that see an order in this state.
    pub(super) fn live_viewers(&self, state: &OrderState) -> Vec<SessionKey> {
        let by_user = state.named().filter_map(|user| self.by_user.get(user)).flatten();
        let by_link = self.by_link.get(&state.order_id).into_iter().flatten();
        by_user.chain(by_link).copied().filter(|key| self.is_to_see(*key, state)).collect()
    }

    /// The sessions that show an order and are not to see this state of it.
    pub(super) fn withdrawn(&self, order: &ShownOrder, state: &OrderState) -> Vec<SessionKey> {
        order.sessions.iter().copied().filter(|key| !self.is_to_see(*key, state)).collect()
    }

    fn is_to_see(&self, key: SessionKey, state: &OrderState) -> bool {
        self.sessions.get(key).is_some_and(|session| session.phase == SessionPhase::Live && session.sees(state))
    }

    pub(super) fn is_live(&self, key: SessionKey) -> bool {
        self.sessions.get(key).is_some_and(|session| session.phase == SessionPhase::Live)
    }

    /// Shows a live session what a record said of an order that the registry holds.
    pub(super) fn deliver(&mut self, key: SessionKey, state: &Arc<OrderState>, update: &Message) -> Delivered {
        let Some(session) = self.sessions.get_mut(key) else { return Delivered::Shown };
        let entry = session.shown.entry_ref(&state.order_id);
        let before = match &entry {
            EntryRef::Occupied(shown) => Some(*shown.get()),
            EntryRef::Vacant(_) => None,
        };
        if before.is_some_and(|before| before.is(state, self.rules)) {
            return Delivered::Shown;
        }
        let reset = before.and_then(|before| before.version).is_some_and(|version| state.version.number <= version);
        let (put, wake) = session.mailbox.put_update(&state.order_id, before.is_some(), reset, update);
        // A `removed` takes the timeline from the screen, too.
        let timeline = before.is_some_and(|before| before.timeline) && !reset && put != Put::ReplacedFirst;
        entry.insert(Shown { rev: Some(state.rev()), version: Some(state.version.number), timeline });
        if before.is_none()
            && let Some(order) = self.orders.get_mut(&state.order_id)
        {
            order.sessions.insert(key);
        }
        self.counters.deliveries += 1;
        self.counters.coalesced += u64::from(matches!(put, Put::Replaced | Put::ReplacedFirst));
        self.note(key, (put, wake));
        let was_told = before.is_none_or(|before| before.timeline);
        let first_sight = was_told && !timeline && put != Put::Overflowed;
        if first_sight { Delivered::FirstSight } else { Delivered::Shown }
    }

    /// Takes an order away from a session, because a record says so.
    pub(super) fn withdraw(&mut self, key: SessionKey, order_id: &OrderId) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.shown.remove(order_id).is_some() {
            let put = session.mailbox.put_removed(order_id);
            self.note(key, put);
            self.counters.deliveries += 1;
        }
        self.unlink(key, order_id);
    }

    /// Makes a session show exactly `view` of an order and notes in `snapshot` what that changes on its screen.
    pub(super) fn show(
        &mut self,
        key: SessionKey,
        order_id: &OrderId,
        view: Option<&OrderView>,
        timeline: bool,
        snapshot: &mut PendingSnapshot,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = session.shown.get(order_id);
        let Some(view) = view else {
            if session.shown.remove(order_id).is_some() {
                snapshot.put(order_id, None);
            }
            self.unlink(key, order_id);
            return;
        };
        let same = before.is_some_and(|before| before.is(&view.state, self.rules));
        let told = before.is_some_and(|before| before.timeline) || view.timeline.steps().len() < 2;
        if !same || (timeline && !told) {
            snapshot.put(order_id, Some(view.clone()));
        }
        let timeline = timeline || before.is_some_and(|before| before.timeline);
        let shown = Shown { rev: Some(view.state.rev()), version: Some(view.state.version.number), timeline };
        session.shown.insert(order_id.clone(), shown);
        if let Some(order) = self.orders.get_mut(order_id) {
            order.sessions.insert(key);
        }
    }

    /// Hands a snapshot to a session.
    pub(super) fn put_snapshot(&mut self, key: SessionKey, snapshot: PendingSnapshot) {
        if let Some(session) = self.sessions.get(key) {
            let put = session.mailbox.put_snapshot(snapshot);
            self.note(key, put);
        }
    }

    /// Says whether what a session shows has been proved complete.
    pub(super) fn set_verified(&mut self, key: SessionKey, verified: bool) {
        if let Some(session) = self.sessions.get(key)
            && session.mailbox.set_verified(verified)
        {
            self.woken.push(session.mailbox.clone());
        }
    }

    /// Says why a session shows an order that could not be proved for too long.
    pub(super) fn set_stale_orders(&mut self, key: SessionKey, stale_orders: StaleReasons) {
        if let Some(session) = self.sessions.get(key)
            && session.mailbox.set_stale_orders(stale_orders)
        {
            self.woken.push(session.mailbox.clone());
        }
    }

    /// Notes what putting something into a mailbox did.
    fn note(&mut self, key: SessionKey, (put, wake): (Put, bool)) {
        if let Some(session) = self.sessions.get_mut(key) {
            if wake {
                self.woken.push(session.mailbox.clone());
            }
            if put == Put::Overflowed {
                session.phase = SessionPhase::Overflowed;
                self.counters.overflows += 1;
                self.overflowed.push(key);
            }
        }
    }

    /// Forgets what the sessions show whose mailbox overflowed. Ends a step: before that, others may be about to be
    /// shown what these alone showed.
    pub(super) fn forget_overflowed(&mut self) {
        while let Some(key) = self.overflowed.pop() {
            self.forget_shown(key);
        }
    }

    /// Tells a session which of the orders it subscribed to are not visible now.
    pub(super) fn put_not_visible(&mut self, key: SessionKey, orders: Vec<OrderId>) {
        if let Some(session) = self.sessions.get(key)
            && session.mailbox.put_not_visible(orders)
        {
            self.woken.push(session.mailbox.clone());
        }
    }

    /// Forgets what a session shows, and returns it; its screen stays as it is until it is told anew.
    pub(super) fn forget_shown(&mut self, key: SessionKey) -> HashMap<OrderId, Shown> {
        let Some(session) = self.sessions.get_mut(key) else { return HashMap::new() };
        let shown = std::mem::take(&mut session.shown);
        for order_id in shown.keys() {
            self.unlink(key, order_id);
            self.forget_unshown(order_id);
        }
        shown
    }

    /// Notes that a session does not show an order. Whoever ends a step over the order forgets it if it was the last.
    fn unlink(&mut self, key: SessionKey, order_id: &OrderId) {
        if let Some(order) = self.orders.get_mut(order_id) {
            order.sessions.remove(&key);
        }
    }

    /// Forgets an order if nobody shows it.
    pub(super) fn forget_unshown(&mut self, order_id: &OrderId) {
        if self.orders.get(order_id).is_some_and(|order| order.sessions.is_empty()) {
            self.orders.remove(order_id);
        }
    }
}

fn take_out<K: std::hash::Hash + Eq>(index: &mut HashMap<K, HashSet<SessionKey>>, key: &K, session: SessionKey) {
    if let Some(sessions) = index.get_mut(key) {
        sessions.remove(&session);
        if sessions.is_empty() {
            index.remove(key);
        }
    }
}
