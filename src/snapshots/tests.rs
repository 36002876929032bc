//! No read is lost: the coalescer over a real database, and orders whose answers break off.

use super::*;
use crate::{
    domain::{Change, Epoch, OrderEvent, OrderId, OrderState, Position, Stamp, UserId, Version, VersionKind, Viewer},
    hub::{Joining, Mailbox},
    protocol::Delivery,
    store::{Batch, PartitionBatch, PoolLimits, TopicOpening, connect},
    telemetry::Metrics,
};

const TOPIC: &str = "orders";
const LOG: &str = "log";
const PATIENCE: Duration = Duration::from_secs(60);

/// A hub, a database, and what lies between.
struct Room {
    dependencies: SnapshotDependencies,
    recorded: i64,
    _directory: tempfile::TempDir,
}

impl Room {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let second = Duration::from_secs(2);
        let limits = PoolLimits { max_connections: 4, acquire_timeout: second, transaction_timeout: second };
        let store = connect(&format!("sqlite:{}", directory.path().join("orders.db").display()), limits).unwrap();
        store.migrate().await.unwrap();
        let low_watermarks = vec![(0, 0)];
        let opening = TopicOpening { topic: TOPIC.into(), log_id: LOG.into(), partition_count: 1, low_watermarks };
        store.open_topic(&opening).await.unwrap();
        let mut hub = Hub::new(usize::MAX);
        hub.begin(Position { partition: 0, epoch: Epoch::of(LOG, 0), next_offset: 0 });
        let dependencies = SnapshotDependencies {
            store,
            topic: TOPIC.into(),
            hub: Arc::new(SharedHub::new(hub)),
            reads: Arc::default(),
            lifecycle: Arc::new(Lifecycle::new(&[], &[])),
            max_orders: 1_000,
            terminal_window: Duration::ZERO,
            snapshot_timeout: PATIENCE,
            metrics: Metrics::new(Timestamp::now()).snapshots,
        };
        Self { dependencies, recorded: 0, _directory: directory }
    }

    /// A record is stored; the fanout has still to [bring](Self::fan) it.
    async fn store(&mut self, order: &str, user: &str, status: &str) -> OrderEvent {
        let stamp = Stamp { epoch: Epoch::of(LOG, 0), partition: 0, offset: self.recorded };
        let order_id = OrderId::parse(order).unwrap();
        let state = OrderState {
            order_id: order_id.clone(),
            user_id: UserId::parse(user).unwrap(),
            viewers: Box::default(),
            status: status.into(),
            terminal: false,
            version: Version { kind: VersionKind::Field, number: self.recorded.unsigned_abs() + 1 },
            stamp,
            occurred_at: Timestamp::now(),
            details: None,
            event_id: None,
        };
        let event = OrderEvent { order_id, stamp, change: Change::Set(Arc::new(state)) };
        let part = PartitionBatch {
            partition: 0,
            log_id: LOG.into(),
            generation: 0,
            read_from: self.recorded,
            next_offset: self.recorded + 1,
            last_record: None,
            events: vec![event.clone()],
            dead_letters: Vec::new(),
        };
        self.recorded += 1;
        let batch = Batch { topic: TOPIC.into(), partitions: vec![part], version_jump: u64::MAX };
        self.dependencies.store.apply(&batch).await.unwrap();
        event
    }

    fn fan(&self, event: &OrderEvent) {
        self.dependencies.hub.step(|hub| hub.on_record(event));
    }

    async fn publish(&mut self, order: &str, user: &str, status: &str) {
        let event = self.store(order, user, status).await;
        self.fan(&event);
    }

    fn join(&self, user: &str) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(1 << 20));
        let viewer = Viewer::User { id: UserId::parse(user).unwrap(), only: None };
        let joining = Joining { viewer, mailbox: mailbox.clone(), start: true, place: None, identity: None };
        self.dependencies.hub.step(|hub| hub.join(joining)).unwrap();
        mailbox
    }
}

/// Waits for the first full snapshot, before which nothing may come. Returns the statuses in it.
async fn first_snapshot(mailbox: &Mailbox) -> Vec<String> {
    let mut taken = None;
    let delivery = std::future::poll_fn(|cx| match mailbox.poll_take(cx) {
        Delivery::Nothing => std::task::Poll::Pending,
        delivery => {
            taken = Some(delivery);
            std::task::Poll::Ready(())
        }
    });
    tokio::time::timeout(PATIENCE, delivery).await.expect("a snapshot in time");
    match taken {
        Some(Delivery::Snapshot(snapshot)) if !snapshot.partial => {
            snapshot.orders.values().map(|view| view.state.status.to_string()).collect()
        }
        other => panic!("not a full snapshot: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_panics_loses_no_read_and_its_own_is_tried_again() {
    for status in ["unfoldable", "unshowable"] {
        let mut room = Room::open().await;
        room.publish("A-0", "ann", status).await;
        for n in 1..30 {
            room.publish(&format!("A-{n}"), &format!("u-{n}"), "created").await;
        }
        // All in one statement.
        let ann = room.join("ann");
        let others: Vec<_> = (1..30).map(|n| room.join(&format!("u-{n}"))).collect();
        let component = start(room.dependencies.clone());
        for other in &others {
            assert_eq!(first_snapshot(other).await, ["created"]);
        }
        assert!(matches!(ann.take(), Delivery::Nothing), "{status}");
        // The same order, as a record makes it.
        room.publish("A-0", "ann", "fine").await;
        assert_eq!(first_snapshot(&ann).await, ["fine"], "{status}");
        component.stop(PATIENCE).await.unwrap();
        assert_eq!(room.dependencies.hub.look(Hub::due_reads), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_read_that_panics_is_tried_again_and_no_screen_blames_the_database() {
    let mut room = Room::open().await;
    let component = start(room.dependencies.clone());
    let ann = room.join("ann");
    assert!(first_snapshot(&ann).await.is_empty());
    room.publish("A-0", "ann", "unfoldable").await;
    let deadline = Instant::now() + PATIENCE;
    while room.dependencies.hub.look(Hub::due_reads) > 0 || room.dependencies.reads.oldest().is_some() {
        assert!(Instant::now() < deadline, "it is not read");
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(room.dependencies.hub.look(Hub::orders_in_doubt), 1, "it could not be answered");
    room.publish("A-0", "ann", "fine").await;
    let deadline = Instant::now() + PATIENCE;
    while room.dependencies.hub.look(Hub::orders_in_doubt) > 0 {
        assert!(Instant::now() < deadline, "an order is being read for ever");
        sleep(Duration::from_millis(10)).await;
    }
    component.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_coalescer_that_ends_are_due_again() {
    let mut room = Room::open().await;
    // The database is ahead of the hub, so the answer waits.
    let event = room.store("A-0", "ann", "created").await;
    let ann = room.join("ann");
    let component = start(room.dependencies.clone());
    let deadline = Instant::now() + PATIENCE;
    while room.dependencies.reads.oldest().is_none() {
        assert!(Instant::now() < deadline, "nothing is read");
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(room.dependencies.hub.look(Hub::due_reads), 0);
    component.stop(PATIENCE).await.unwrap();
    assert_eq!(room.dependencies.hub.look(Hub::due_reads), 1);
    room.fan(&event);
    let _component = start(room.dependencies.clone());
    assert_eq!(first_snapshot(&ann).await, ["created"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_long_to_share_a_statement_with_many_is_read_in_full() {
    let mut room = Room::open().await;
    let many = 99;
    for n in 0..=MAX_ORDERS_PER_STATEMENT / (many + 1) {
        room.publish(&format!("A-{n}"), "merchant", "created").await;
    }
    for n in 0..many {
        room.publish(&format!("B-{n}"), &format!("u-{n}"), "created").await;
    }
    // All in one statement.
    let merchant = room.join("merchant");
    let others: Vec<_> = (0..many).map(|n| room.join(&format!("u-{n}"))).collect();
    let component = start(room.dependencies.clone());
    for other in &others {
        assert_eq!(first_snapshot(other).await, ["created"]);
    }
    assert_eq!(first_snapshot(&merchant).await.len(), MAX_ORDERS_PER_STATEMENT / (many + 1) + 1);
    component.stop(PATIENCE).await.unwrap();
}
