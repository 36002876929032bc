//! Reconcile: compare a snapshot, completed from the tail, with what sessions show, and send the difference.
//!
//! The same step starts a session, brings one back after a doubt, checks the first sight of an order and audits screens.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Answer, Hub, HubRule, OrderRead, SessionEntry, SessionKey, SessionPhase, SessionRead, ShownOrder};
use crate::{
    domain::{History, Known, Listed, OrderId, Snapshot, Stamp, Timeline, Timestamp},
    protocol::{OrderView, PendingSnapshot},
};

/// What became of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// The session left, or asks for something else by now; there was nothing to do.
    Gone,
    /// The snapshot could not be proved complete. The read is kept until a proof may hold.
    Unverified,
    /// The screens are the truth now. The corrections should be none.
    Done(Vec<Correction>),
}

/// A screen showed a wrong state of an order although it had been proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The order.
    pub order_id: OrderId,
    /// What was shown; `None` if the order was not.
    pub shown: Option<Revision>,
    /// What, or whose erasure, is the truth; `None` if the order is unknown.
    pub truth: Option<Revision>,
}

/// One state of an order, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// The record that set it.
    pub stamp: Stamp,
    /// Its version's number.
    pub version: u64,
}

impl Revision {
    pub(super) fn of(known: &Known) -> Self {
        Self { stamp: known.stamp(), version: known.version().number }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of record {}", self.version, self.stamp)
    }
}

/// What the snapshot and the tail together say of one order.
pub(super) struct Truth {
    pub(super) history: Option<History>,
    /// The snapshot answered for the order: it names the viewer, or was asked for by name.
    pub(super) known: bool,
}

impl Truth {
    fn view(&self) -> Option<OrderView> {
        view_of(self.history.as_ref())
    }
}

fn view_of(history: Option<&History>) -> Option<OrderView> {
    let history = history?;
    let state = history.known.order()?.clone();
    Some(OrderView { state, timeline: history.timeline.clone() })
}

impl Hub {
    /// Whether the fanout has come to where this snapshot was read.
    pub fn has_reached(&self, snapshot: &Snapshot) -> bool {
        self.tail.has_reached(snapshot.positions())
    }

    /// Makes a session's screen the truth, which the snapshot and the tail together say.
    ///
    /// Without the proof a session that starts gets what there is, marked as unverified, and is reconciled again when a
    /// proof may hold; any other session is left as it is until then. `now` is the moment the answer is true for.
    pub fn reconcile(&mut self, read: &SessionRead, snapshot: &Snapshot, now: Timestamp) -> Reconciled {
        let key = read.key;
        let verified = !self.rules.hold(HubRule::Proof) || self.tail.proves(snapshot.positions());
        let Some(session) = self.registry.sessions.get_mut(key) else { return Reconciled::Gone };
        let answer = match session.phase {
            SessionPhase::Waiting(answer) => Some(answer),
            SessionPhase::Live => None,
            SessionPhase::Overflowed => return Reconciled::Gone,
        };
        if session.serial != read.serial {
            return Reconciled::Gone;
        }
        session.queued = false;
        let listed = read.listed(snapshot);
        let truths = self.truths(read, listed, snapshot);
        let Some(session) = self.registry.sessions.get_mut(key) else { return Reconciled::Gone };
        if !verified {
            self.reads.postpone_session(key);
            if answer.is_none() {
                return Reconciled::Unverified;
            }
        }

        let refreshed = verified && std::mem::take(&mut session.refreshed);
        session.half_shown = true;
        let mut corrections =
            if verified && answer.is_none() && !refreshed { self.findings(key, &truths) } else { Vec::new() };
        for (order_id, truth) in &truths {
            if truth.known && verified {
                corrections.extend(self.apply_verified(order_id, truth.history.as_ref(), now));
            } else {
                self.adopt_unverified(order_id, truth.view());
            }
        }
        if let Some(session) = self.registry.sessions.get_mut(key)
            && answer.is_some()
        {
            session.phase = SessionPhase::Live;
            session.has_been_live = true;
        }
        if let Some(session) = self.registry.sessions.get_mut(key) {
            session.list_read_to(listed.and_then(|listed| listed.end.clone()), answer.is_some() || refreshed);
        }
        if self.registry.is_live(key) {
            self.show_all(key, answer, &truths, verified, now);
            self.registry.set_verified(key, verified);
        }
        self.registry.forget_overflowed();
        for order_id in truths.keys() {
            self.registry.forget_unshown(order_id);
        }
        if let Some(session) = self.registry.sessions.get_mut(key) {
            session.half_shown = false;
        }
        if verified { Reconciled::Done(corrections) } else { Reconciled::Unverified }
    }

    /// Settles an order that was seen for the first time, for all who show it.
    pub fn prove(&mut self, read: &OrderRead, snapshot: &Snapshot, now: Timestamp) -> Reconciled {
        let order_id = &read.order_id;
        if self.rules.hold(HubRule::Proof) && !self.tail.proves(snapshot.positions()) {
            self.reads.postpone_order(order_id);
            return Reconciled::Unverified;
        }
        // Before anything is noted as done: what breaks off here is asked for again.
        let history = self.complete(order_id, snapshot.history(order_id.as_str()).cloned(), snapshot);
        self.reads.order_verified(order_id);
        let sought = self.reads.take_sought(order_id);
        if !sought && !self.registry.orders.contains_key(order_id) {
            return Reconciled::Gone;
        }
        let history = self.as_shown(order_id, history);
        let correction = self.apply_verified(order_id, history.as_ref(), now);
        if sought {
            self.show_to_all(order_id, history.as_ref(), now);
        }
        self.registry.forget_overflowed();
        self.registry.forget_unshown(order_id);
        Reconciled::Done(correction.into_iter().collect())
    }

    /// What is true of every order the read may answer, in order, so that the same is done in the same order: those the
    /// snapshot answers for, and those that only the tail names the viewer in.
    fn truths(&self, read: &SessionRead, listed: Option<&Listed>, snapshot: &Snapshot) -> BTreeMap<OrderId, Truth> {
        let mut truths = BTreeMap::new();
        for order_id in listed.into_iter().flat_map(|listed| &listed.orders).chain(&read.orders) {
            truths.entry(order_id.clone()).or_insert_with(|| {
                let history = snapshot.history(order_id.as_str()).cloned();
                let history = self.complete(order_id, history, snapshot);
                Truth { history: self.as_shown(order_id, history), known: true }
            });
        }
        for order_id in read.user.iter().flat_map(|user| self.tail.orders_naming(user, snapshot.positions())) {
            truths.entry(order_id.clone()).or_insert_with(|| Truth {
                history: self.complete(order_id, self.remembered_history(order_id), snapshot),
                known: false,
            });
        }
        truths
    }

    /// What a snapshot said of an order, and what the tail says after it.
    fn complete(&self, order_id: &OrderId, history: Option<History>, snapshot: &Snapshot) -> Option<History> {
        let history = self.tail.complete(order_id, history, snapshot.positions());
        #[cfg(test)]
        super::rules::break_off_at(history.as_ref(), "unfoldable");
        history
    }

    /// An order that was erased for its age alone, by which its own record stands in the marker, stays on the screens that
    /// show it, as it is: nothing has happened to it.
    fn as_shown(&self, order_id: &OrderId, history: Option<History>) -> Option<History> {
        let history = history?;
        match (&history.known, self.registry.orders.get(order_id)) {
            (Known::Erased(marker), Some(order)) if marker.stamp == order.state.stamp => Some(History {
                known: Known::Order(order.state.clone()),
                timeline: Arc::new(Timeline::of(&order.state)),
            }),
            _ => Some(history),
        }
    }

    /// Makes the hub's own state of an order, and every screen that shows it or should, what was proved to be the truth.
    fn apply_verified(&mut self, order_id: &OrderId, history: Option<&History>, now: Timestamp) -> Option<Correction> {
        let order = self.registry.orders.get_mut(order_id)?;
        let shown = Revision { stamp: order.state.stamp, version: order.state.version.number };
        let truth = history.map(|history| Revision::of(&history.known));
        let undecided = history.is_some_and(|history| {
            let (known, state) = (&history.known, &order.state);
            let elsewhere = known.stamp().partition != state.stamp.partition;
            known.is_unordered_with(state) || elsewhere && known.version() == state.version
        });
        let (was_unverified, timeline_pending) =
            (std::mem::take(&mut order.unverified), std::mem::take(&mut order.timeline_pending));
        let wrong = truth.map(|truth| truth.stamp) != Some(shown.stamp);
        if !wrong && !timeline_pending {
            return None;
        }
        let mut keys: Vec<SessionKey> = order.sessions.iter().copied().collect();
        let view = view_of(history);
        if let Some(view) = &view {
            order.state = view.state.clone();
            if wrong {
                keys.extend(self.registry.live_viewers(&view.state));
            }
        }
        for key in keys {
            self.show_partial(key, order_id, view.as_ref(), now);
        }
        // Which of two partitions an order follows, where its versions do not say, is decided by who records it, and the hub
        // may still be told of that.
        (wrong && !was_unverified && !undecided).then(|| Correction {
            order_id: order_id.clone(),
            shown: Some(shown),
            truth,
        })
    }

    /// Shows an order, as it was proved to be, to all who have to see it, where nobody may have shown it.
    fn show_to_all(&mut self, order_id: &OrderId, history: Option<&History>, now: Timestamp) {
        let Some(view) = view_of(history) else { return };
        let keys = self.registry.live_viewers(&view.state);
        self.registry.orders.entry_ref(order_id).or_insert_with(|| ShownOrder {
            state: view.state.clone(),
            unverified: false,
            timeline_pending: false,
            sessions: Default::default(),
        });
        for key in keys {
            self.show_partial(key, order_id, Some(&view), now);
        }
    }

    fn show_partial(&mut self, key: SessionKey, order_id: &OrderId, view: Option<&OrderView>, now: Timestamp) {
        let Some(session) = self.registry.sessions.get(key) else { return };
        if session.phase != SessionPhase::Live {
            return;
        }
        let view = view.filter(|view| session.sees(&view.state));
        let mut snapshot = PendingSnapshot::new(now, true);
        self.registry.show(key, order_id, view, true, &mut snapshot);
        if !snapshot.is_empty() {
            self.registry.put_snapshot(key, snapshot);
        }
    }

    /// Takes what could not be proved into the registry, unless the hub knows something newer; it stays unverified.
    fn adopt_unverified(&mut self, order_id: &OrderId, view: Option<OrderView>) {
        let Some(OrderView { state, .. }) = view else { return };
        let order = self.registry.orders.entry_ref(order_id).or_insert_with(|| ShownOrder {
            state: state.clone(),
            unverified: true,
            timeline_pending: false,
            sessions: Default::default(),
        });
        // After a reset versions begin anew, so of equal ones the newer reading counts until a proof tells.
        if order.unverified && !order.state.version.supersedes(state.version) {
            order.state = state;
        }
    }

    /// Makes one session's screen what `truths` say and hands it the snapshot it waits for, or the difference.
    fn show_all(
        &mut self,
        key: SessionKey,
        answer: Option<Answer>,
        truths: &BTreeMap<OrderId, Truth>,
        verified: bool,
        now: Timestamp,
    ) {
        let mut snapshot = PendingSnapshot::new(now, answer != Some(Answer::Everything));
        for (order_id, truth) in truths {
            let is_verified = truth.known && verified;
            let view = if is_verified { truth.view() } else { self.hub_view(order_id, truth) };
            let Some(session) = self.registry.sessions.get(key) else { return };
            let view = view.filter(|view| session.sees(&view.state));
            if let Some(view) = &view {
                self.registry.orders.entry_ref(order_id).or_insert_with(|| ShownOrder {
                    state: view.state.clone(),
                    unverified: !is_verified,
                    timeline_pending: false,
                    sessions: Default::default(),
                });
            }
            #[cfg(test)]
            super::rules::break_off_at(truth.history.as_ref(), "unshowable");
            self.registry.show(key, order_id, view.as_ref(), is_verified, &mut snapshot);
            if view.is_some() && !is_verified && self.rules.hold(HubRule::Unverified) {
                if let Some(order) = self.registry.orders.get_mut(order_id) {
                    order.timeline_pending = true;
                }
                self.reads.order_due(order_id);
            }
        }
        if answer.is_some()
            && let Some(session) = self.registry.sessions.get(key).filter(|session| session.sees_whole_list())
        {
            snapshot.list_end = session.list_end.clone();
        }
        self.ask_for_unverified(key, truths);
        if answer.is_some() || !snapshot.is_empty() {
            self.registry.put_snapshot(key, snapshot);
        }
        let not_visible = self.registry.sessions.get_mut(key).map(SessionEntry::take_not_visible).unwrap_or_default();
        if !not_visible.is_empty() {
            self.registry.put_not_visible(key, not_visible);
        }
    }

    /// What a session was shown after its read was sent is no part of the answer: where that is unverified, it is read.
    fn ask_for_unverified(&mut self, key: SessionKey, truths: &BTreeMap<OrderId, Truth>) {
        let Some(session) = self.registry.sessions.get(key) else { return };
        for order_id in session.shown.keys().filter(|order_id| !truths.contains_key(*order_id)) {
            if self.registry.orders.get(order_id).is_some_and(|order| order.unverified) {
                self.reads.order_due(order_id);
            }
        }
    }

    /// What the hub says of an order the snapshot did not answer for, or could not answer for with a proof.
    fn hub_view(&self, order_id: &OrderId, truth: &Truth) -> Option<OrderView> {
        let Some(order) = self.registry.orders.get(order_id) else { return truth.view() };
        let timeline = match &truth.history {
            Some(history) if history.known.stamp() == order.state.stamp => history.timeline.clone(),
            _ => Arc::new(Timeline::of(&order.state)),
        };
        Some(OrderView { state: order.state.clone(), timeline })
    }
}
