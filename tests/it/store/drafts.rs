//! Events and batches, written briefly; snapshots, read briefly.

use std::sync::Arc;

use ordercast::{
    domain::{
        Change, Epoch, Known, LastRecord, OrderEvent, OrderId, OrderState, Snapshot, SnapshotQuery, Stamp, Timestamp,
        UserId, Version, VersionKind,
    },
    store::{Applied, Batch, PartitionBatch, Store},
};

use super::databases::{LOG_ID, TOPIC};

/// An event without its place in the log.
#[derive(Clone)]
pub(super) struct Draft {
    order: OrderId,
    state: Option<StateDraft>,
    resets: bool,
}

#[derive(Clone)]
struct StateDraft {
    version: Option<u64>,
    status: String,
    user: String,
    viewers: Vec<String>,
    terminal: bool,
    occurred_at: i64,
    details: Option<String>,
    event_id: Option<String>,
}

/// The order gets this status.
pub(super) fn set(order: &str, version: u64, status: &str) -> Draft {
    let state = StateDraft {
        version: Some(version),
        status: status.into(),
        user: "u-1".into(),
        viewers: Vec::new(),
        terminal: false,
        occurred_at: 1_000_000,
        details: None,
        event_id: None,
    };
    Draft { order: OrderId::parse(order).unwrap(), state: Some(state), resets: false }
}

/// The order's tombstone.
pub(super) fn erase(order: &str) -> Draft {
    Draft { order: OrderId::parse(order).unwrap(), state: None, resets: false }
}

/// A tombstone that resets the order.
pub(super) fn reset(order: &str) -> Draft {
    Draft { resets: true, ..erase(order) }
}

impl Draft {
    fn change(mut self, change: impl FnOnce(&mut StateDraft)) -> Self {
        change(self.state.as_mut().expect("a tombstone says nothing"));
        self
    }

    /// The version is taken from the log instead.
    pub(super) fn unversioned(self) -> Self {
        self.change(|state| state.version = None)
    }

    pub(super) fn of(self, user: &str) -> Self {
        self.change(|state| state.user = user.into())
    }

    pub(super) fn seen_by(self, viewers: &[&str]) -> Self {
        self.change(|state| state.viewers = viewers.iter().map(|viewer| (*viewer).into()).collect())
    }

    pub(super) fn at(self, occurred_at: i64) -> Self {
        self.change(|state| state.occurred_at = occurred_at)
    }

    pub(super) fn terminal(self) -> Self {
        self.change(|state| state.terminal = true)
    }

    pub(super) fn details(self, details: &str) -> Self {
        self.change(|state| state.details = Some(details.into()))
    }

    pub(super) fn event_id(self, id: &str) -> Self {
        self.change(|state| state.event_id = Some(id.into()))
    }

    pub(super) fn place(self, stamp: Stamp) -> OrderEvent {
        let Self { order, state, resets } = self;
        let erasure = if resets { Change::Reset } else { Change::Erase };
        let change = state.map_or(erasure, |state| {
            let (kind, number) = match state.version {
                Some(number) => (VersionKind::Field, number),
                None => (VersionKind::Log(stamp.epoch), stamp.offset as u64 + 1),
            };
            Change::Set(Arc::new(OrderState {
                order_id: order.clone(),
                user_id: UserId::parse(&state.user).unwrap(),
                viewers: state.viewers.iter().map(|viewer| UserId::parse(viewer).unwrap()).collect(),
                status: state.status.into(),
                terminal: state.terminal,
                version: Version { kind, number },
                stamp,
                occurred_at: Timestamp::from_millis(state.occurred_at).unwrap(),
                details: state.details.map(|text| serde_json::value::RawValue::from_string(text).unwrap()),
                event_id: state.event_id.map(Into::into),
            }))
        });
        OrderEvent { order_id: order, stamp, change }
    }
}

/// One partition's records from an offset on.
pub(super) fn part(partition: i32, read_from: i64, drafts: impl IntoIterator<Item = Draft>) -> PartitionBatch {
    let epoch = Epoch::of(LOG_ID, 0);
    let events: Vec<OrderEvent> =
        (read_from..).zip(drafts).map(|(offset, draft)| draft.place(Stamp { epoch, partition, offset })).collect();
    let next_offset = read_from + events.len() as i64;
    PartitionBatch {
        partition,
        log_id: LOG_ID.into(),
        generation: 0,
        read_from,
        next_offset,
        last_record: (next_offset > read_from).then_some(LastRecord { offset: next_offset - 1, digest: u64::MAX - 7 }),
        events,
        dead_letters: Vec::new(),
    }
}

/// A batch of these parts.
pub(super) fn batch(partitions: impl IntoIterator<Item = PartitionBatch>) -> Batch {
    Batch { topic: TOPIC.into(), partitions: partitions.into_iter().collect(), version_jump: 1_000 }
}

/// Applies one partition's records, which must succeed.
pub(super) async fn apply(
    store: &Arc<dyn Store>,
    partition: i32,
    read_from: i64,
    drafts: impl IntoIterator<Item = Draft>,
) -> Applied {
    store.apply(&batch([part(partition, read_from, drafts)])).await.unwrap()
}

pub(super) fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| UserId::parse(name).unwrap()).collect()
}

pub(super) fn orders(names: &[&str]) -> Vec<OrderId> {
    names.iter().map(|name| OrderId::parse(name).unwrap()).collect()
}

/// What the store knows of these orders.
pub(super) async fn by_name(store: &Arc<dyn Store>, names: &[&str]) -> Snapshot {
    let query = SnapshotQuery { orders: orders(names), ..SnapshotQuery::default() };
    store.snapshot(TOPIC, &query).await.unwrap()
}

/// The orders listed for a user, sorted.
pub(super) async fn listed(store: &Arc<dyn Store>, user: &str) -> Vec<String> {
    let query = SnapshotQuery { users: users(&[user]), ..SnapshotQuery::default() };
    let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
    let mut orders: Vec<String> = snapshot.listed_for(&query.users[0]).iter().map(ToString::to_string).collect();
    orders.sort();
    orders
}

/// The state of an order that is there.
pub(super) fn state(snapshot: &Snapshot, order: &str) -> Arc<OrderState> {
    snapshot.history(order).and_then(|history| history.known.order()).expect("the order is known").clone()
}

/// Version and status, or `erased` with the marker's version, or nothing.
pub(super) fn short(snapshot: &Snapshot, order: &str) -> Option<(u64, String)> {
    snapshot.history(order).map(|history| match &history.known {
        Known::Order(state) => (state.version.number, state.status.to_string()),
        Known::Erased(marker) => (marker.version.number, "erased".into()),
    })
}

/// Versions of the timeline's steps.
pub(super) fn steps(snapshot: &Snapshot, order: &str) -> Vec<u64> {
    snapshot.history(order).unwrap().timeline.steps().iter().map(|step| step.version).collect()
}
