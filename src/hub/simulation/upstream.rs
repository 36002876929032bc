//! The producer and its log: what happened to the orders, late and doubled records included.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

use super::mix::{Feature, Mix};
use crate::domain::{Change, Epoch, OrderEvent, OrderId, OrderState, Stamp, Timestamp, UserId, Version, VersionKind};

/// Terminal orders that changed before this moment are not listed.
pub(super) const TERMINAL_SINCE: i64 = 1_000;

/// The topic.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) logs: Vec<Log>,
    pub(super) orders: Vec<OrderId>,
    pub(super) users: Vec<UserId>,
    /// Every state ever produced, by its rev.
    pub(super) states: HashMap<String, Arc<OrderState>>,
    versions: Vec<u64>,
}

/// One partition in one life.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) epoch: Epoch,
    pub(super) records: Vec<OrderEvent>,
    /// What the store will refuse.
    pub(super) bad: HashSet<i64>,
}

impl Log {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch: Epoch(epoch), records: Vec::new(), bad: HashSet::new() }
    }

    pub(super) fn end(&self) -> i64 {
        self.records.len() as i64
    }

    fn append(&mut self, event: OrderEvent) -> &OrderEvent {
        self.records.push(event);
        &self.records[self.records.len() - 1]
    }
}

impl Upstream {
    pub(super) fn new(mix: &Mix, partitions: usize) -> Self {
        let order = |n| OrderId::parse(&format!("o{n}")).unwrap();
        Self {
            logs: (0..partitions).map(|_| Log::new(1)).collect(),
            orders: (0..mix.orders).map(order).collect(),
            users: ["a", "b", "c"].map(|user| UserId::parse(user).unwrap()).to_vec(),
            states: HashMap::new(),
            versions: vec![0; mix.orders],
        }
    }

    /// Appends one record.
    pub(super) fn produce(&mut self, mix: &Mix, rng: &mut SmallRng) -> &OrderEvent {
        let order = rng.random_range(0..self.orders.len());
        let astray = mix.has(Feature::Partitioners) && rng.random_bool(0.4);
        let partition = if astray { rng.random_range(0..self.logs.len()) } else { order % self.logs.len() };
        let log = &mut self.logs[partition];
        let stamp = Stamp { epoch: log.epoch, partition: partition as i32, offset: log.end() };
        let order_id = self.orders[order].clone();
        let kind = rng.random::<f64>();
        let erases = !mix.has(Feature::Partitioners);
        if kind < 0.02 && erases {
            self.versions[order] = 0;
            return log.append(OrderEvent { order_id, stamp, change: Change::Reset });
        }
        if kind < 0.08 && erases {
            return log.append(OrderEvent { order_id, stamp, change: Change::Erase });
        }
        let known = self.versions[order];
        let number = if kind < mix.late && known > 0 { rng.random_range(1..=known) } else { known + 1 };
        self.versions[order] = known.max(number);
        let mut version = Version { kind: VersionKind::Field, number };
        let unversioned = astray || mix.has(Feature::Partitioners) && order % 2 == 1;
        if unversioned || mix.has(Feature::Kinds) && rng.random_bool(0.1) {
            version = Version { kind: VersionKind::Log(log.epoch), number: stamp.offset as u64 + 1 };
        }
        let old = version.number % 4 == 3;
        let seen_by = rng.random_range(1..=self.users.len());
        let named: Vec<UserId> = self.users.choose_multiple(rng, seen_by).cloned().collect();
        let content = if mix.has(Feature::Content) { stamp.offset } else { 0 };
        let state = Arc::new(OrderState {
            order_id: order_id.clone(),
            user_id: named[0].clone(),
            viewers: named[1..].into(),
            status: format!("s{}-{content}", version.number).into(),
            terminal: old,
            version,
            stamp,
            occurred_at: Timestamp::from_millis(if old { 0 } else { TERMINAL_SINCE + 1 + stamp.offset }).unwrap(),
            details: None,
            event_id: None,
        });
        if mix.has(Feature::Rejected) && rng.random_bool(0.05) {
            log.bad.insert(stamp.offset);
        }
        self.states.insert(state.rev().to_string(), state.clone());
        log.append(OrderEvent { order_id, stamp, change: Change::Set(state) })
    }

    /// The versions of an order start again.
    pub(super) fn forget_version(&mut self, order_id: &OrderId) {
        if let Some(order) = self.orders.iter().position(|order| order == order_id) {
            self.versions[order] = 0;
        }
    }
}
