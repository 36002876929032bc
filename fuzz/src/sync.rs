//! A conversation: whatever a client says of what it shows, and whenever, it gets what its token may see, no more is kept for
//! it than the mailbox takes, and in the end its screen is the truth.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use ordercast::{
    domain::{
        Change, Epoch, History, OrderEvent, OrderId, OrderState, Position, Snapshot, SnapshotQuery, Stamp, Timestamp,
        UserId, Version, VersionKind, Viewer,
    },
    hub::{Hub, Joining, Mailbox, SessionKey},
    protocol::{ClientMessage, Delivery},
    session::{Beginning, HubRequest, Now, Opening, Output, RefusedToken, Renewal, Request, Session, SessionConfig},
};
use serde_json::Value;

const EPOCH: Epoch = Epoch(7);
const MAILBOX_BYTES: usize = 2_000;
/// What one frame may take above that.
const ENTRY_BYTES: usize = 1_000;
const MOMENT: Duration = Duration::from_secs(10);

/// The first byte chooses the viewer. Then line by line: `!` and a byte is an event, `?` lets reads wait, `.` lets the socket
/// stand still, anything else is a message of the client. After each line what is due is read and written, unless it is to wait.
pub fn check(input: &[u8]) {
    let Some((&viewer, lines)) = input.split_first() else { return };
    let mut conversation = Conversation::open(viewer);
    let (mut reads, mut writes) = (true, true);
    for line in lines.split(|byte| *byte == b'\n') {
        conversation.now.instant += MOMENT;
        match line {
            [b'!', byte] => conversation.publish(*byte),
            b"?" => reads = !reads,
            b"." => writes = !writes,
            line => {
                let Ok(text) = std::str::from_utf8(line) else { continue };
                conversation.hear(text);
            }
        }
        if reads {
            conversation.read();
        }
        if writes {
            conversation.write();
        }
    }
    conversation.settle();
}

struct Conversation {
    hub: Hub,
    rows: HashMap<OrderId, History>,
    next_offset: i64,
    viewer: Viewer,
    subscribed: Option<Vec<OrderId>>,
    mailbox: Arc<Mailbox>,
    key: SessionKey,
    session: Session,
    now: Now,
    /// What a page would show: order → rev.
    screen: BTreeMap<String, Option<String>>,
}

impl Conversation {
    fn open(viewer: u8) -> Self {
        let mut hub = Hub::new(1 << 20);
        hub.begin(Position { partition: 0, epoch: EPOCH, next_offset: 0 });
        let viewer = match viewer % 3 {
            0 => Viewer::User { id: user(1), only: None },
            1 => viewer_of("1357"),
            _ => Viewer::Link { orders: Arc::new([order(1), order(2)].into()) },
        };
        let now =
            Now { instant: Instant::now(), wall: Timestamp::from_millis(1_795_253_400_000).expect("is in range") };
        let (mailbox, key, session) = join(&mut hub, &viewer, now);
        let (rows, screen) = (HashMap::new(), BTreeMap::new());
        Self { hub, rows, next_offset: 0, viewer, subscribed: None, mailbox, key, session, now, screen }
    }

    /// The byte says of which order, whether it erases it, and whom it names.
    fn publish(&mut self, byte: u8) {
        let order_id = order(byte);
        let stamp = Stamp { epoch: EPOCH, partition: 0, offset: self.next_offset };
        let named: Vec<u8> = (1..=2).filter(|user| byte >> (2 + user) & 1 == 1).collect();
        let change = match named.split_first() {
            None => Change::Erase,
            Some((owner, viewers)) => Change::Set(Arc::new(OrderState {
                order_id: order_id.clone(),
                user_id: user(*owner),
                viewers: viewers.iter().copied().map(user).collect(),
                status: "packed".into(),
                terminal: byte & 0x20 != 0,
                version: Version { kind: VersionKind::Field, number: self.next_offset.unsigned_abs() },
                stamp,
                occurred_at: self.now.wall,
                details: serde_json::value::to_raw_value(&named).ok(),
                event_id: None,
            })),
        };
        let event = OrderEvent { order_id: order_id.clone(), stamp, change };
        let (history, _) = History::fold(self.rows.remove(&order_id), &event, |_| true);
        self.rows.extend(history.map(|history| (order_id, history)));
        self.next_offset += 1;
        self.hub.on_record(&event);
        assert!(self.mailbox.pending_bytes() <= MAILBOX_BYTES + ENTRY_BYTES);
    }

    fn hear(&mut self, text: &str) {
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Sync { orders: Some(claims), .. }) => {
                let said = claims.iter().map(|(id, rev)| (id.to_string(), rev.map(|rev| rev.to_string())));
                self.screen = said.collect();
            }
            // A foreign `userId` is refused.
            Ok(ClientMessage::Subscribe { order_ids, user_id, .. })
                if user_id.is_none() || user_id.as_deref() == self.viewer.user().map(UserId::as_str) =>
            {
                self.subscribed = order_ids;
            }
            _ => {}
        }
        match self.session.on_message(text.len(), || ClientMessage::parse(text), self.now) {
            Some(Request::Hub(request)) => self.ask(request),
            Some(Request::Verify { token, id }) => {
                let refused = RefusedToken { code: "invalid_token", message: "the token is not valid".to_owned() };
                let expires_at = Timestamp::from_millis(self.now.wall.as_millis() + 3_600_000).expect("is in range");
                let renewal = match token.expose() {
                    "" => Err(refused),
                    digits => Ok(Renewal { viewer: viewer_of(digits), expires_at }),
                };
                if let Ok(request) = self.session.on_renewal(renewal, id, self.now) {
                    self.ask(request);
                }
            }
            None => {}
        }
        if self.session.cause().is_some() {
            self.come_back();
        }
    }

    fn ask(&mut self, request: HubRequest) {
        match request {
            HubRequest::Restart => self.hub.restart(self.key),
            HubRequest::Sync(claims) => self.hub.sync(self.key, claims),
            HubRequest::Subscribe(orders) => self.hub.subscribe(self.key, orders),
            HubRequest::Refresh(viewer) => {
                self.viewer = viewer.clone();
                self.hub.refresh(self.key, viewer, self.now.wall);
            }
        }
    }

    /// The session was ended, by the client's own doing: the next one begins with nothing.
    fn come_back(&mut self) {
        self.hub.leave(self.key);
        (self.mailbox, self.key, self.session) = join(&mut self.hub, &self.viewer, self.now);
        self.subscribed = None;
        self.screen.clear();
    }

    fn read(&mut self) {
        let reads = self.hub.take_due_reads(1000);
        let named =
            reads.orders.iter().map(|read| &read.order_id).chain(reads.sessions.iter().flat_map(|read| &read.orders));
        let query = SnapshotQuery {
            users: reads.sessions.iter().filter_map(|read| read.user.clone()).collect(),
            orders: named.cloned().collect(),
            ..SnapshotQuery::default()
        };
        let asked = |history: &History| {
            let state = history.known.order();
            state.is_some_and(|state| query.users.iter().any(|user| state.names(user)))
        };
        let rows = self.rows.iter().filter(|(id, history)| query.orders.contains(*id) || asked(history));
        let rows = rows.map(|(id, history)| (id.clone(), history.clone())).collect();
        let position = Position { partition: 0, epoch: EPOCH, next_offset: self.next_offset };
        let snapshot = Snapshot::new(&query, vec![position], rows);
        reads.sessions.iter().for_each(|read| _ = self.hub.reconcile(read, &snapshot, self.now.wall));
        reads.orders.iter().for_each(|read| _ = self.hub.prove(read, &snapshot, self.now.wall));
    }

    fn write(&mut self) {
        loop {
            while let Some(output) = self.session.next_output() {
                if let Output::Message(message) = output {
                    self.show(message.bytes());
                }
            }
            let delivery = self.mailbox.take();
            if matches!(delivery, Delivery::Nothing) {
                return;
            }
            if let Some(request) = self.session.on_delivery(delivery, self.now) {
                self.ask(request);
            }
            if self.session.cause().is_some() {
                self.come_back();
            }
        }
    }

    fn show(&mut self, text: &[u8]) {
        let frame: Value = serde_json::from_slice(text).expect("every text frame is JSON");
        match frame["type"].as_str().expect("every frame has a type") {
            "snapshot" => {
                if frame["first"] == true && frame["partial"] == false {
                    self.screen.clear();
                }
                frame["orders"].as_array().expect("orders").iter().for_each(|order| self.show_order(order));
                for removed in frame["removed"].as_array().expect("removed") {
                    self.screen.remove(removed.as_str().expect("an id"));
                }
            }
            "order_status" => self.show_order(&frame),
            "removed" => _ = self.screen.remove(frame["order_id"].as_str().expect("an id")),
            _ => {}
        }
    }

    /// A user is shown what names the user, a link what it lists; a list narrows. What is not to be seen any more is not sent,
    /// even if it was to be seen when it was read.
    fn show_order(&mut self, shown: &Value) {
        let order_id = shown["order_id"].as_str().expect("an id");
        let newest = self.rows.get(order_id).and_then(|history| history.known.order());
        assert!(newest.is_some_and(|newest| self.viewer.may_see(newest)), "{shown} has been withdrawn");
        let listed = self.viewer.listed_orders();
        assert!(listed.is_none_or(|orders| orders.iter().any(|id| id.as_str() == order_id)), "{shown} is not listed");
        if self.viewer.user().is_some() {
            let named = shown["details"].as_array().expect("who is named");
            assert!(named.iter().any(|user| *user == 1), "{shown} is foreign");
        }
        self.screen.insert(order_id.to_owned(), shown["rev"].as_str().map(str::to_owned));
    }

    /// With the log quiet and everything read and written, the screen is the truth.
    fn settle(&mut self) {
        self.write();
        while self.hub.has_due_reads() {
            self.read();
            self.write();
        }
        let states = self.rows.values().filter_map(|history| history.known.order());
        let seen = states
            .filter(|state| self.viewer.may_see(state))
            .filter(|state| self.subscribed.as_ref().is_none_or(|orders| orders.contains(&state.order_id)));
        let truth: BTreeMap<_, _> =
            seen.map(|state| (state.order_id.to_string(), Some(state.stamp.to_string()))).collect();
        assert_eq!(self.screen, truth);
        self.hub.leave(self.key);
        assert_eq!(self.hub.sessions(), 0);
    }
}

fn join(hub: &mut Hub, viewer: &Viewer, now: Now) -> (Arc<Mailbox>, SessionKey, Session) {
    let mailbox = Arc::new(Mailbox::new(MAILBOX_BYTES));
    let joining =
        Joining { viewer: viewer.clone(), mailbox: mailbox.clone(), start: true, place: None, identity: None };
    let key = hub.join(joining).expect("there is no limit");
    let hour = Duration::from_secs(3600);
    let rules = SessionConfig {
        heartbeat_interval: hour,
        snapshot_timeout: hour,
        snapshot_page: 3,
        snapshot_bytes: 4_096,
        complete_after: hour,
    };
    let opening = Opening {
        session_id: "s".to_owned(),
        user: viewer.user().cloned(),
        expires_at: Timestamp::from_millis(now.wall.as_millis() + 3_600_000).expect("is in range"),
        beginning: Beginning::Snapshot,
    };
    (mailbox, key, Session::open(Arc::new(rules), opening, now))
}

/// User 1, who sees only the orders of these digits; all, if there are other bytes among them.
fn viewer_of(digits: &str) -> Viewer {
    let only = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| Arc::new(digits.bytes().map(order).collect()));
    Viewer::User { id: user(1), only }
}

/// One of eight orders.
fn order(byte: u8) -> OrderId {
    OrderId::parse(&format!("A-{}", byte & 7)).expect("is an id")
}

fn user(number: u8) -> UserId {
    UserId::parse(&format!("u-{number}")).expect("is an id")
}
