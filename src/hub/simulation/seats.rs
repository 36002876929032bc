//! Sessions and their clients: who comes, what they say and hear, how slowly they read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use hashbrown::{HashMap, HashSet};
use rand::{Rng, seq::IteratorRandom};

use super::{
    client::{Client, Flaw, Seen, Wire},
    mix::Feature,
    world::World,
};
use crate::{
    domain::{OrderId, Rev, Timestamp, Viewer},
    hub::{Joining, Mailbox, SessionKey},
    protocol::{Delivery, PageLimits},
};

/// A session and its client.
pub(super) struct Seat {
    pub(super) key: SessionKey,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) client: Client,
    /// What the client said and the server has not heard yet.
    pub(super) said: Option<Said>,
    /// The mailbox overflowed, and the session has not asked for a restart yet.
    overflowed: bool,
    /// Nothing was there at the last look, so the session waits to be woken.
    waits: bool,
    waker: Arc<WakeFlag>,
}

/// What a client says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Sync(HashMap<OrderId, Option<Rev>>),
    /// Without claims.
    SyncAll,
    Subscribe(Option<Vec<OrderId>>),
    Refresh(Viewer),
}

#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The same user or a link as before, whose token lists these orders, or none where it may.
fn other_eyes(viewer: &Viewer, orders: Vec<OrderId>, lists: bool) -> Viewer {
    let orders = Arc::new(orders.into_iter().collect());
    match viewer {
        Viewer::User { id, .. } => Viewer::User { id: id.clone(), only: lists.then_some(orders) },
        Viewer::Link { .. } => Viewer::Link { orders },
    }
}

impl World {
    fn some_orders(&mut self) -> Vec<OrderId> {
        let many = self.rng.random_range(1..=2);
        self.upstream.orders.iter().cloned().choose_multiple(&mut self.rng, many)
    }

    pub(super) fn join(&mut self) {
        if self.seats.len() >= 4 {
            return;
        }
        let id = self.upstream.users.iter().choose(&mut self.rng).expect("there are users").clone();
        let kind = if self.mix.has(Feature::Links) { self.rng.random::<f64>() } else { 1.0 };
        let orders = Arc::new(self.some_orders().into_iter().collect());
        let viewer = match kind {
            x if x < 0.15 => Viewer::Link { orders },
            x if x < 0.30 => Viewer::User { id, only: Some(orders) },
            _ => Viewer::User { id, only: None },
        };
        self.sit_down(viewer, BTreeMap::new(), true);
    }

    fn sit_down(&mut self, viewer: Viewer, screen: BTreeMap<String, Seen>, start: bool) {
        let mailbox = Arc::new(Mailbox::new(self.mailbox_bytes));
        let joining = Joining { viewer: viewer.clone(), mailbox: mailbox.clone(), start, place: None, identity: None };
        let key = self.hub.step(|hub| hub.join(joining)).expect("there is no limit");
        self.say(|| format!("{key:?} joins: {viewer:?}, start {start}, shows {screen:?}"));
        let client = Client::new(viewer, screen);
        let waker = Arc::default();
        self.seats.push(Seat { key, mailbox, client, said: None, overflowed: false, waits: false, waker });
    }

    /// A session ends; with [`Feature::Sync`] its client comes back, with what it shows, and says so or not.
    pub(super) fn leave(&mut self) {
        if self.seats.is_empty() || !(self.mix.has(Feature::Leave) || self.mix.has(Feature::Sync)) {
            return;
        }
        let place = self.rng.random_range(0..self.seats.len());
        let seat = self.seats.swap_remove(place);
        self.hub.step(|hub| hub.leave(seat.key));
        self.say(|| format!("{:?} leaves", seat.key));
        if self.mix.has(Feature::Sync) {
            let claims = seat.client.claims();
            let wait = self.rng.random_bool(0.8);
            self.sit_down(seat.client.viewer, seat.client.screen, !wait);
            let came_back = self.seats.last_mut().expect("it sat down just now");
            if wait || self.rng.random_bool(0.5) {
                came_back.client.has_synced = true;
                came_back.said = Some(Said::Sync(claims));
            }
        }
    }

    /// A client says something, or the server hears what it said.
    pub(super) fn speak(&mut self) {
        let orders = self.some_orders();
        let refresh = self.mix.has(Feature::Refresh) && self.rng.random_bool(0.2);
        let (sync, subscribe) = (self.mix.has(Feature::Sync), self.mix.has(Feature::Subscribe));
        let chance = self.rng.random::<f64>();
        let Some(place) = (0..self.seats.len()).choose(&mut self.rng) else { return };
        if self.seats[place].said.is_some() {
            return self.hear(place);
        }
        let seat = &mut self.seats[place];
        seat.said = match chance {
            _ if refresh => Some(Said::Refresh(other_eyes(&seat.client.viewer, orders, chance < 0.6))),
            x if x < 0.35 && sync => {
                let mut claims = seat.client.claims();
                if x < 0.1 {
                    claims.insert(orders[0].clone(), None);
                }
                seat.client.has_synced = true;
                Some(Said::Sync(claims))
            }
            x if x < 0.4 && sync => Some(Said::SyncAll),
            x if x < 0.8 && subscribe => Some(Said::Subscribe(Some(orders))),
            _ if subscribe => Some(Said::Subscribe(None)),
            _ => None,
        };
        let seat = &self.seats[place];
        self.say(|| format!("{:?} says {:?}", seat.key, seat.said));
        if self.rng.random_bool(0.5) {
            self.hear(place);
        }
    }

    /// The server hears what a client said.
    pub(super) fn hear(&mut self, place: usize) {
        let seat = &mut self.seats[place];
        let key = seat.key;
        let Some(said) = seat.said.take() else { return };
        let now = Timestamp::from_millis(0).expect("1970 is a moment");
        self.hub.step(|hub| match &said {
            Said::Sync(claims) => hub.sync(key, claims.clone()),
            Said::SyncAll => hub.restart(key),
            Said::Subscribe(orders) => hub.subscribe(key, orders.clone()),
            Said::Refresh(viewer) => hub.refresh(key, viewer.clone(), now),
        });
        if let Said::Refresh(viewer) = &said {
            seat.client.wire.push_back(Wire::Refreshed(viewer.clone()));
        }
        if let Said::Subscribe(orders) = &said {
            let orders = orders.clone().map(|orders| orders.into_iter().collect::<HashSet<_>>());
            seat.client.wire.push_back(Wire::Subscribed(orders));
        }
        self.say(|| format!("{key:?} is heard: {said:?}"));
    }

    /// A session moves what its mailbox holds to the wire, and its client reads some of it.
    pub(super) fn read_socket(&mut self) {
        let Some(place) = (0..self.seats.len()).choose(&mut self.rng) else { return };
        if self.seats[place].said.is_some() && self.rng.random_bool(0.5) {
            return self.hear(place);
        }
        for _ in 0..self.rng.random_range(0..=3) {
            self.take(place);
        }
        let most = if self.rng.random_bool(0.5) { usize::MAX } else { self.rng.random_range(0..3) };
        self.receive(place, most);
    }

    pub(super) fn receive(&mut self, place: usize, most: usize) {
        let Self { seats, upstream, previous, flaws, .. } = self;
        seats[place].client.receive(most, upstream, previous, flaws);
    }

    /// A session takes one delivery, if it was woken or knows that there may be more. Whether there was one.
    pub(super) fn take(&mut self, place: usize) -> bool {
        let page_orders = self.rng.random_range(1..=3);
        let limit = self.mailbox_bytes;
        let seat = &mut self.seats[place];
        if std::mem::take(&mut seat.overflowed) {
            let key = seat.key;
            self.hub.step(|hub| hub.restart(key));
            self.say(|| format!("{key:?} restarts"));
            return true;
        }
        if seat.waits && !seat.waker.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        seat.waits = false;
        let waker = Waker::from(seat.waker.clone());
        let bytes = seat.mailbox.pending_bytes();
        let wire = &mut seat.client.wire;
        let delivery = seat.mailbox.poll_take(&Context::from_waker(&waker));
        if self.trace {
            println!("{:?} takes {delivery:?}", seat.key);
        }
        match delivery {
            Delivery::Nothing => seat.waits = true,
            Delivery::Snapshot(snapshot) => {
                let key = seat.key;
                let withdrawn = self.hub.step(|hub| {
                    let shown = hub.registry.sessions.get(key).map(|session| &session.shown);
                    let is_shown = |order_id: &OrderId| shown.is_some_and(|shown| shown.contains_key(order_id));
                    snapshot.orders.keys().find(|order_id| !is_shown(order_id)).cloned()
                });
                if let Some(order_id) = withdrawn {
                    self.flaws.push((Flaw::Leak, format!("{order_id} was taken away while its snapshot waited")));
                }
                let limits = PageLimits { orders: page_orders, bytes: 4_096 };
                wire.extend(snapshot.into_pages(limits).map(Wire::Message));
            }
            Delivery::NotVisible(_) => {}
            Delivery::Updates(frames) => {
                let updates = frames.iter().filter(|frame| !frame.bytes().starts_with(b"{\"type\":\"removed")).count();
                if bytes > limit && updates > 1 {
                    self.flaws.push((Flaw::Unbounded, format!("{bytes} bytes in {} frames", frames.len())));
                }
                wire.extend(frames.into_iter().map(Wire::Message));
            }
            Delivery::Overflowed => seat.overflowed = true,
        }
        !seat.waits
    }
}
