//! A session goes on as another viewer: the same user, or a link, whose token lists other orders now.

use super::{Hub, SessionKey, SessionPhase};
use crate::{
    domain::{OrderId, Timestamp, Viewer},
    protocol::PendingSnapshot,
};

impl Hub {
    /// Changes who a session serves. What that one may not see leaves the screen at once; what they may see besides
    /// is read, and comes as a partial snapshot. Records are shown on without a pause. `now` is the moment it is true for.
    pub fn refresh(&mut self, key: SessionKey, viewer: Viewer, now: Timestamp) {
        if self.registry.sessions.get(key).is_none_or(|session| session.viewer == viewer) {
            return;
        }
        self.registry.replace_viewer(key, viewer);
        self.withdraw_unseen(key, now);
        let Some(session) = self.registry.sessions.get_mut(key) else { return };
        // A session that waits for its client's `sync` has asked for nothing yet.
        if session.phase == SessionPhase::Live || session.queued {
            // A read under way answers for the viewer before.
            session.serial = session.serial.wrapping_add(1);
            session.queued = false;
            session.refreshed = true;
            self.session_due(key);
        }
    }

    /// Whether the session is a link, and every order it names is shown in a terminal status.
    pub fn is_complete(&self, key: SessionKey) -> bool {
        let Some(session) = self.registry.sessions.get(key) else { return false };
        let Viewer::Link { orders } = &session.viewer else { return false };
        let is_terminal = |order_id| self.registry.orders.get(order_id).is_some_and(|order| order.state.terminal);
        session.phase == SessionPhase::Live
            && !orders.is_empty()
            && orders.iter().all(|order_id| session.shown.contains_key(order_id) && is_terminal(order_id))
    }

    fn withdraw_unseen(&mut self, key: SessionKey, now: Timestamp) {
        let Some(session) = self.registry.sessions.get(key) else { return };
        if session.phase != SessionPhase::Live {
            return;
        }
        let sees = |order_id| self.registry.orders.get(order_id).is_none_or(|order| session.sees(&order.state));
        let unseen: Vec<OrderId> = session.shown.keys().filter(|order_id| !sees(*order_id)).cloned().collect();
        let mut snapshot = PendingSnapshot::new(now, true);
        for order_id in &unseen {
            self.registry.show(key, order_id, None, true, &mut snapshot);
            self.registry.forget_unshown(order_id);
        }
        if !snapshot.is_empty() {
            self.registry.put_snapshot(key, snapshot);
            self.registry.forget_overflowed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::Delivery;
    use crate::{
        domain::{Change, Epoch, OrderEvent, OrderState, Position, Snapshot, Stamp, UserId, Version, VersionKind},
        hub::{Joining, Mailbox},
    };

    const EPOCH: Epoch = Epoch(1);
    const START: Position = Position { partition: 0, epoch: EPOCH, next_offset: 0 };

    /// A hub over an empty store, so that all there is stands in the tail.
    struct Room {
        hub: Hub,
        offset: i64,
    }

    struct Seat {
        key: SessionKey,
        mailbox: Arc<Mailbox>,
    }

    impl Seat {
        /// Orders that appear and orders that go, of everything that waits.
        fn news(&self) -> (Vec<String>, Vec<String>) {
            let (mut shown, mut removed) = (Vec::new(), Vec::new());
            loop {
                match self.mailbox.take() {
                    Delivery::Snapshot(snapshot) => {
                        shown.extend(snapshot.orders.keys().map(|order_id| order_id.as_str().to_owned()));
                        removed.extend(snapshot.removed.iter().map(|order_id| order_id.as_str().to_owned()));
                    }
                    Delivery::Updates(frames) => {
                        for frame in frames {
                            let message: serde_json::Value = serde_json::from_slice(frame.bytes()).unwrap();
                            let list = if message["type"] == "removed" { &mut removed } else { &mut shown };
                            list.push(message["order_id"].as_str().unwrap().to_owned());
                        }
                    }
                    _ => break,
                }
            }
            shown.sort_unstable();
            removed.sort_unstable();
            (shown, removed)
        }
    }

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap()
    }

    fn list(orders: &[&str]) -> crate::domain::OrderList {
        Arc::new(orders.iter().map(|order| OrderId::parse(order).unwrap()).collect())
    }

    fn user(only: Option<&[&str]>) -> Viewer {
        Viewer::User { id: UserId::parse("u-1").unwrap(), only: only.map(list) }
    }

    fn link(orders: &[&str]) -> Viewer {
        Viewer::Link { orders: list(orders) }
    }

    impl Room {
        fn with(orders: &[&str]) -> Self {
            let mut hub = Hub::new(1 << 20);
            hub.begin(START);
            let mut room = Self { hub, offset: 0 };
            orders.iter().for_each(|order| room.publish(order, "created"));
            room
        }

        fn publish(&mut self, order: &str, status: &str) {
            let stamp = Stamp { epoch: EPOCH, partition: 0, offset: self.offset };
            let order_id = OrderId::parse(order).unwrap();
            let state = OrderState {
                order_id: order_id.clone(),
                user_id: UserId::parse("u-1").unwrap(),
                viewers: Box::default(),
                status: status.into(),
                terminal: status == "delivered",
                version: Version { kind: VersionKind::Field, number: self.offset.unsigned_abs() + 1 },
                stamp,
                occurred_at: now(),
                details: None,
                event_id: None,
            };
            self.hub.on_record(&OrderEvent { order_id, stamp, change: Change::Set(Arc::new(state)) });
            self.offset += 1;
        }

        fn erase(&mut self, order: &str) {
            let stamp = Stamp { epoch: EPOCH, partition: 0, offset: self.offset };
            let order_id = OrderId::parse(order).unwrap();
            self.hub.on_record(&OrderEvent { order_id, stamp, change: Change::Erase });
            self.offset += 1;
        }

        fn join(&mut self, viewer: Viewer) -> Seat {
            let mailbox = Arc::new(Mailbox::new(65_536));
            let joining = Joining { viewer, mailbox: mailbox.clone(), start: true, place: None, identity: None };
            let key = self.hub.join(joining).unwrap();
            self.read();
            Seat { key, mailbox }
        }

        fn read(&mut self) {
            let reads = self.hub.take_due_reads(100);
            let snapshot = Snapshot::new(&Default::default(), vec![START], Default::default());
            for read in &reads.sessions {
                self.hub.reconcile(read, &snapshot, now());
            }
            for read in &reads.orders {
                self.hub.prove(read, &snapshot, now());
            }
        }
    }

    fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_narrower_list_takes_orders_away_at_once_and_a_wider_one_shows_what_has_been_read() {
        let mut room = Room::with(&["A-1", "A-2", "A-3"]);
        let seat = room.join(user(None));
        assert_eq!(seat.news(), (texts(["A-1", "A-2", "A-3"]), vec![]));
        room.hub.refresh(seat.key, user(Some(&["A-1"])), now());
        assert_eq!(seat.news(), (vec![], texts(["A-2", "A-3"])), "before anything is read");
        room.read();
        assert_eq!(seat.news(), (vec![], vec![]), "only the difference");
        room.publish("A-2", "paid");
        assert_eq!(seat.news(), (vec![], vec![]));
        room.hub.refresh(seat.key, user(Some(&["A-1", "A-2"])), now());
        room.publish("A-1", "paid");
        assert_eq!(seat.news(), (texts(["A-1"]), vec![]), "records are shown on meanwhile");
        room.read();
        assert_eq!(seat.news(), (texts(["A-2"]), vec![]));
        room.hub.refresh(seat.key, user(None), now());
        room.read();
        assert_eq!(seat.news(), (texts(["A-3"]), vec![]));
        room.hub.leave(seat.key);
        assert!(room.hub.registry.is_empty());
    }

    #[test]
    fn a_link_shows_the_orders_of_its_new_token() {
        let mut room = Room::with(&["A-1", "A-2", "A-3"]);
        let seat = room.join(link(&["A-1", "A-2"]));
        assert_eq!(seat.news().0, texts(["A-1", "A-2"]));
        room.hub.refresh(seat.key, link(&["A-2", "A-3"]), now());
        room.read();
        assert_eq!(seat.news(), (texts(["A-3"]), texts(["A-1"])));
        room.publish("A-1", "paid");
        room.publish("A-3", "paid");
        assert_eq!(seat.news(), (texts(["A-3"]), vec![]));
        room.hub.leave(seat.key);
        assert!(room.hub.registry.is_empty());
    }

    #[test]
    fn a_snapshot_that_still_waits_shows_nothing_to_the_eyes_before() {
        let mut room = Room::with(&["A-1", "A-2"]);
        let seat = room.join(link(&["A-1", "A-2"]));
        room.erase("A-1");
        room.hub.refresh(seat.key, link(&["A-2"]), now());
        assert_eq!(seat.news().0, texts(["A-2"]));
    }

    #[test]
    fn a_read_under_way_does_not_answer_for_the_eyes_before() {
        let mut room = Room::with(&["A-1", "A-2"]);
        let seat = room.join(user(Some(&["A-1"])));
        assert_eq!(seat.news().0, texts(["A-1"]));
        room.hub.audit(seat.key);
        let under_way = room.hub.take_due_reads(1);
        room.hub.refresh(seat.key, user(Some(&["A-2"])), now());
        let snapshot = Snapshot::new(&Default::default(), vec![START], Default::default());
        assert_eq!(room.hub.reconcile(&under_way.sessions[0], &snapshot, now()), crate::hub::Reconciled::Gone);
        room.read();
        assert_eq!(seat.news(), (texts(["A-2"]), texts(["A-1"])));
    }

    #[test]
    fn who_waits_for_the_client_s_sync_waits_on() {
        let mut room = Room::with(&["A-1", "A-2"]);
        let mailbox = Arc::new(Mailbox::new(65_536));
        let joining =
            Joining { viewer: user(None), mailbox: mailbox.clone(), start: false, place: None, identity: None };
        let key = room.hub.join(joining).unwrap();
        room.hub.refresh(key, user(Some(&["A-2"])), now());
        assert!(!room.hub.has_due_reads());
        room.hub.sync(key, Default::default());
        room.read();
        assert_eq!(Seat { key, mailbox }.news().0, texts(["A-2"]));
    }

    #[test]
    fn a_link_is_complete_when_all_its_orders_are_terminal() {
        let mut room = Room::with(&["A-1"]);
        let (both, customer) = (room.join(link(&["A-1", "A-2"])), room.join(user(Some(&["A-1"]))));
        room.publish("A-1", "delivered");
        assert!(!room.hub.is_complete(both.key), "A-2 is not known");
        let nothing = room.join(link(&[]));
        assert!(!room.hub.is_complete(nothing.key), "there is nothing that could be");
        assert!(!room.hub.is_complete(customer.key), "a user may get more orders");
        room.publish("A-2", "delivered");
        assert!(room.hub.is_complete(both.key));
        room.publish("A-2", "returning");
        assert!(!room.hub.is_complete(both.key), "not any more");
        room.hub.refresh(both.key, link(&["A-1"]), now());
        assert!(room.hub.is_complete(both.key));
    }
}
