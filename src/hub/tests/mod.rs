//! The hub's invariants, each as a small scene: a log, rows, and sessions whose mailboxes are read as sentences.

mod gathering;
mod lists;
mod log;
mod mailbox;
mod partitions;
mod places;
mod reads;
mod sessions;
mod tail;
mod talk;
mod wakes;

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Correction, DueReads, Hub, Joining, Mailbox, Reconciled, Revision, SessionKey, TooManySessions};
use crate::{
    domain::{
        Change, Epoch, History, Known, OrderEvent, OrderId, OrderState, Position, Rev, Snapshot, SnapshotQuery, Stamp,
        Timestamp, UserId, Version, VersionKind, Viewer,
    },
    protocol::{Delivery, Message, PendingSnapshot, StaleReason},
};

const EPOCH: Epoch = Epoch(7);

fn order(id: &str) -> OrderId {
    OrderId::parse(id).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn position(next_offset: i64) -> Position {
    Position { partition: 0, epoch: EPOCH, next_offset }
}

fn stamp(offset: i64) -> Stamp {
    Stamp { epoch: EPOCH, partition: 0, offset }
}

fn revision(version: u64, offset: i64) -> Revision {
    Revision { stamp: stamp(offset), version }
}

/// A topic of one partition, its rows, and a hub.
struct Scene {
    hub: Hub,
    log: Vec<OrderEvent>,
    rows: HashMap<OrderId, History>,
    /// How far the recorder is.
    saved: usize,
    mailbox_bytes: usize,
    /// Orders in a list at most.
    max_orders: Option<usize>,
}

impl Scene {
    fn new() -> Self {
        let mut hub = Hub::new(usize::MAX);
        hub.begin(position(0));
        Self { hub, log: Vec::new(), rows: HashMap::new(), saved: 0, mailbox_bytes: 65_536, max_orders: None }
    }

    /// Appends a record that sets an order.
    fn set(&mut self, id: &str, number: u64, named: &[&str]) -> OrderEvent {
        self.set_as(id, Version { kind: VersionKind::Field, number }, named)
    }

    fn set_as(&mut self, id: &str, version: Version, named: &[&str]) -> OrderEvent {
        let stamp = stamp(self.log.len() as i64);
        self.append(
            Change::Set(Arc::new(OrderState {
                order_id: order(id),
                user_id: user(named[0]),
                viewers: named[1..].iter().map(|id| user(id)).collect(),
                status: format!("s{}", version.number).into(),
                terminal: false,
                version,
                stamp,
                occurred_at: at(stamp.offset),
                details: None,
                event_id: None,
            })),
            id,
        )
    }

    /// Appends a tombstone.
    fn erase(&mut self, id: &str) -> OrderEvent {
        self.append(Change::Erase, id)
    }

    /// Appends a tombstone that resets the order.
    fn reset(&mut self, id: &str) -> OrderEvent {
        self.append(Change::Reset, id)
    }

    fn append(&mut self, change: Change, id: &str) -> OrderEvent {
        let stamp = stamp(self.log.len() as i64);
        let event = OrderEvent { order_id: order(id), stamp, change };
        self.log.push(event.clone());
        event
    }

    /// The fanout brings all it has not brought.
    fn fan(&mut self) {
        let end = self.hub.end(0).unwrap().next_offset as usize;
        for event in &self.log[end..] {
            self.hub.on_record(event);
        }
    }

    /// The recorder applies all it has not applied.
    fn save(&mut self) {
        for event in &self.log[self.saved..] {
            let (history, _verdict) = History::fold(self.rows.remove(&event.order_id), event, |_| true);
            self.rows.extend(history.map(|history| (event.order_id.clone(), history)));
        }
        self.saved = self.log.len();
    }

    fn progress(&self) -> [Position; 1] {
        [position(self.saved as i64)]
    }

    fn join(&mut self, viewer: Viewer, start: bool) -> Seat {
        let mailbox = Arc::new(Mailbox::new(self.mailbox_bytes));
        let joining = Joining { viewer, mailbox: mailbox.clone(), start, place: None, identity: None };
        Seat { key: self.hub.join(joining).unwrap(), mailbox }
    }

    /// A session of a user, with its first snapshot taken.
    fn live(&mut self, id: &str) -> Seat {
        let seat = self.join(Viewer::User { id: user(id), only: None }, true);
        self.answer();
        seat.hear();
        seat
    }

    /// One statement at the recorder's progress.
    fn snapshot(&self, due: &DueReads) -> Snapshot {
        let named = due.sessions.iter().flat_map(|read| read.orders.iter().cloned());
        let query = SnapshotQuery {
            users: due.sessions.iter().filter_map(|read| read.user.clone()).collect(),
            orders: due.orders.iter().map(|read| read.order_id.clone()).chain(named).collect(),
            max_orders: self.max_orders,
            ..SnapshotQuery::default()
        };
        Snapshot::new(&query, self.progress().to_vec(), self.rows.clone())
    }

    fn ask(&mut self) -> DueReads {
        self.hub.take_due_reads(usize::MAX)
    }

    fn settle(&mut self, due: &DueReads, snapshot: &Snapshot) -> Vec<Reconciled> {
        let hub = &mut self.hub;
        let mut outcomes: Vec<_> = due.sessions.iter().map(|read| hub.reconcile(read, snapshot, at(0))).collect();
        outcomes.extend(due.orders.iter().map(|read| hub.prove(read, snapshot, at(0))));
        outcomes
    }

    /// Asks, reads and settles all that is due.
    fn answer(&mut self) -> Vec<Reconciled> {
        let due = self.ask();
        let snapshot = self.snapshot(&due);
        self.settle(&due, &snapshot)
    }
}

/// A session, as its transport has it.
struct Seat {
    key: SessionKey,
    mailbox: Arc<Mailbox>,
}

impl Seat {
    /// Takes all there is, as short sentences: `all: A-1 v2/2` (version/steps of a snapshot), `some: -A-1`, `A-1 v3`,
    /// `-A-1`, `unseen: A-1`, `overflowed`.
    fn hear(&self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            match self.mailbox.take() {
                Delivery::Nothing => return heard,
                Delivery::Snapshot(snapshot) => heard.push(sentence(snapshot)),
                Delivery::NotVisible(orders) => {
                    heard.push(format!("unseen: {}", list(orders.iter().map(|id| id.to_string()))))
                }
                Delivery::Updates(frames) => heard.extend(frames.iter().map(update)),
                Delivery::Overflowed => heard.push("overflowed".to_owned()),
            }
        }
    }
}

fn list(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    words.sort();
    words.join(" ")
}

fn sentence(snapshot: PendingSnapshot) -> String {
    let orders = snapshot.orders.values();
    let shown = orders
        .map(|view| format!("{} v{}/{}", view.state.order_id, view.state.version.number, view.timeline.steps().len()));
    let removed = snapshot.removed.iter().map(|id| format!("-{id}"));
    let words = list(shown.chain(removed));
    format!("{}: {words}", if snapshot.partial { "some" } else { "all" })
}

fn json(frame: &Message) -> serde_json::Value {
    serde_json::from_slice(frame.bytes()).unwrap()
}

fn update(frame: &Message) -> String {
    let message = json(frame);
    let order_id = message["order_id"].as_str().unwrap();
    if message["type"] == "removed" { format!("-{order_id}") } else { format!("{order_id} v{}", message["version"]) }
}
