//! A client, as the wire describes it: shows what the last frame said, compares nothing. And the judge who reads along.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

use super::{pages::Pages, upstream::Upstream};
use crate::{
    domain::{OrderId, OrderState, Rev, Viewer},
    protocol::Message,
};

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Flaw {
    /// A version went down or came twice, without a `removed` or a snapshot between.
    Regress,
    /// A screen shows at the end what it may not.
    Foreign,
    /// A screen shows at the end another version than the true one, or misses an order.
    Stale,
    /// A screen shows at the end the right version of another record.
    Content,
    /// The hub's indexes disagree, or name who has left.
    Zombie,
    /// A session, or a read, never came to its end.
    Stuck,
    /// A frame showed an order whose record does not name the viewer, or that token or subscription exclude.
    Leak,
    /// Frames came in a sequence the wire forbids.
    Sequence,
    /// A frame says something else than its record.
    Garbled,
    /// An order first shown by an update was never followed by its earlier steps.
    Untold,
    /// A mailbox held more than its limit.
    Unbounded,
    /// The hub called a state of its own wrong that had been proved.
    Alarm,
    /// A session was not called verified although everything has been read.
    Unverified,
}

/// Flaws with what was seen.
pub(super) type Flaws = Vec<(Flaw, String)>;

/// What was said of the states before, by rev: the same to every session.
pub(super) type Previous = HashMap<String, (Option<String>, Option<u64>)>;

/// What comes over the wire, and when the server began to serve another subscription or another token.
#[derive(Debug)]
pub(super) enum Wire {
    Message(Message),
    Subscribed(Option<HashSet<OrderId>>),
    Refreshed(Viewer),
}

/// One order on a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: u64,
    pub(super) rev: String,
    /// The first rev shown, as long as no snapshot told the timeline.
    pub(super) untold_since: Option<String>,
}

/// One tab.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) viewer: Viewer,
    pub(super) screen: BTreeMap<String, Seen>,
    pub(super) wire: VecDeque<Wire>,
    /// The subscription that the frames that come now were made under.
    pub(super) subscription: Option<HashSet<OrderId>>,
    /// Whether the first snapshot may be a partial one: the client spoke before it.
    pub(super) has_synced: bool,
    pages: Pages,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parsed {
    r#type: String,
    partial: bool,
    first: bool,
    complete: bool,
    orders: Vec<Order>,
    removed: Vec<String>,
    order_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Order {
    order_id: String,
    status: String,
    version: u64,
    rev: String,
    terminal: bool,
    previous_status: Option<String>,
    previous_version: Option<u64>,
    timeline: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    version: u64,
    status: String,
}

impl Client {
    pub(super) fn new(viewer: Viewer, screen: BTreeMap<String, Seen>) -> Self {
        Self { viewer, screen, wire: VecDeque::new(), subscription: None, has_synced: false, pages: Pages::default() }
    }

    /// What the client names in a `sync`: an order whose timeline it lacks by no rev, so that it is told.
    pub(super) fn claims(&self) -> HashMap<OrderId, Option<Rev>> {
        let rev = |seen: &Seen| if seen.untold_since.is_none() { seen.rev.parse().ok() } else { None };
        self.screen.iter().map(|(order_id, seen)| (OrderId::parse(order_id).unwrap(), rev(seen))).collect()
    }

    /// Whether an old order that is not on the screen has to be.
    pub(super) fn names(&self, order_id: &OrderId) -> bool {
        let listed = self.viewer.listed_orders().is_some_and(|orders| orders.contains(order_id));
        listed || self.subscription.as_ref().is_some_and(|orders| orders.contains(order_id))
    }

    /// Whether the client is to show an order in this state.
    pub(super) fn sees(&self, state: &OrderState) -> bool {
        let subscribed = self.subscription.as_ref().is_none_or(|orders| orders.contains(&state.order_id));
        subscribed && self.viewer.may_see(state)
    }

    /// Takes at most `most` from the wire.
    pub(super) fn receive(&mut self, most: usize, upstream: &Upstream, previous: &mut Previous, flaws: &mut Flaws) {
        for _ in 0..most {
            match self.wire.pop_front() {
                Some(Wire::Message(frame)) => self.on_frame(&frame, upstream, previous, flaws),
                Some(Wire::Subscribed(orders)) => self.subscription = orders,
                Some(Wire::Refreshed(viewer)) => self.viewer = viewer,
                None => return,
            }
        }
    }

    fn on_frame(&mut self, frame: &Message, upstream: &Upstream, previous: &mut Previous, flaws: &mut Flaws) {
        let text = String::from_utf8_lossy(frame.bytes());
        let message: Parsed = match serde_json::from_str(&text) {
            Ok(message) => message,
            Err(error) => return flaws.push((Flaw::Garbled, format!("{error}: {text}"))),
        };
        if (self.pages.is_in_between() || !self.pages.has_begun()) && message.r#type != "snapshot" {
            flaws.push((Flaw::Sequence, format!("before or within a snapshot: {text}")));
        }
        match message.r#type.as_str() {
            "snapshot" => self.on_snapshot(message, upstream, flaws),
            "order_status" => {
                let order: Order = serde_json::from_str(&text).unwrap_or_default();
                self.judge(&order, upstream, flaws);
                let said = (order.previous_status.clone(), order.previous_version);
                judge_previous(&order, &said, upstream, flaws);
                if *previous.entry(order.rev.clone()).or_insert_with(|| said.clone()) != said {
                    flaws.push((Flaw::Garbled, format!("previous_* differ between sessions: {text}")));
                }
                let mut untold_since = Some(order.rev.clone());
                if let Some(seen) = self.screen.get(&order.order_id) {
                    untold_since = seen.untold_since.clone();
                    if order.version <= seen.version {
                        flaws.push((Flaw::Regress, format!("{seen:?} on the screen, then {text}")));
                    }
                }
                let seen = Seen { version: order.version, rev: order.rev, untold_since };
                self.screen.insert(order.order_id, seen);
            }
            "removed" => {
                self.screen.remove(&message.order_id);
            }
            _ => flaws.push((Flaw::Garbled, text.into_owned())),
        }
    }

    fn on_snapshot(&mut self, message: Parsed, upstream: &Upstream, flaws: &mut Flaws) {
        let wrong = self.pages.begin(message.first, message.partial, self.has_synced);
        flaws.extend(wrong.map(|wrong| (Flaw::Sequence, wrong.to_owned())));
        for order in message.orders {
            self.judge(&order, upstream, flaws);
            self.pages.list(&order.order_id);
            self.screen.insert(order.order_id, Seen { version: order.version, rev: order.rev, untold_since: None });
        }
        for order_id in &message.removed {
            self.screen.remove(order_id);
        }
        if let Some(listed) = self.pages.end(message.complete) {
            self.screen.retain(|order_id, _| listed.contains(order_id));
        }
    }

    /// Whether a frame says of an order what its record says, to somebody who may hear it.
    fn judge(&self, order: &Order, upstream: &Upstream, flaws: &mut Flaws) {
        let Some(state) = upstream.states.get(&order.rev) else {
            return flaws.push((Flaw::Garbled, format!("no record set {order:?}")));
        };
        if !self.sees(state) {
            flaws.push((Flaw::Leak, format!("{order:?} shown to {:?} under {:?}", self.viewer, self.subscription)));
        }
        let same = (&*state.status, state.version.number, state.terminal, state.order_id.as_str())
            == (&*order.status, order.version, order.terminal, &*order.order_id);
        let in_timeline = |step: &Step| step.version == order.version && step.status == order.status;
        if !same || !order.timeline.is_empty() && !order.timeline.iter().any(in_timeline) {
            flaws.push((Flaw::Garbled, format!("{order:?} of {state:?}")));
        }
    }
}

/// `previous_*` are those of a state that an earlier record of the order set.
fn judge_previous(order: &Order, said: &(Option<String>, Option<u64>), upstream: &Upstream, flaws: &mut Flaws) {
    let was = |state: &&OrderState| Some(&*state.status) == said.0.as_deref() && Some(state.version.number) == said.1;
    let Some(own) = upstream.states.get(&order.rev) else { return };
    let earlier = upstream.states.values().map(AsRef::as_ref).filter(|state: &&OrderState| {
        state.order_id == own.order_id
            && (state.stamp.partition != own.stamp.partition
                || (state.stamp.epoch.0, state.stamp.offset) < (own.stamp.epoch.0, own.stamp.offset))
    });
    if *said != (None, None) && !earlier.into_iter().any(|state| was(&state)) {
        flaws.push((Flaw::Garbled, format!("previous_* name no earlier state: {order:?}")));
    }
}
