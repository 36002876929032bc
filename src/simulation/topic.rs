//! The topic: what the producer wrote, and what is true of every order because of it, at every moment.

use std::sync::Arc;

use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

use super::faults::Faults;
use crate::{
    domain::{
        Epoch, History, Known, OrderEvent, OrderId, Stamp, Timestamp, UserId,
        decode::{Decoder, DecoderOptions, LogContext, RESET_HEADER, RawRecord, Refusal},
    },
    log::kafka::record::{KafkaTimestamp, OwnedRecord},
};

/// Names the log, as every instance does.
pub(super) const LOG_ID: &str = "cluster/orders/0";
/// The topic's name.
pub(super) const TOPIC: &str = "orders";
/// When the world begins, by an honest wall clock.
pub(super) const BEGINNING: i64 = 1_800_000_000_000;

/// All partitions, and the orders they are about.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
    pub(super) orders: Vec<OrderId>,
    pub(super) users: Vec<UserId>,
    /// What was true of each order from when on, oldest first.
    truths: Vec<Vec<Truth>>,
    histories: Vec<Option<History>>,
    versions: Vec<u64>,
    epochs: Vec<Epoch>,
    decoder: Decoder,
}

/// One partition; offsets are places in `slots`.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// How often the log was replaced.
    pub(super) life: usize,
    /// The oldest offset there is.
    pub(super) low: i64,
    /// `None` is a hole: a transaction marker, or a record of a transaction that is aborted in the end.
    pub(super) slots: Vec<Option<Arc<Record>>>,
    /// The transactions that are open: where each began, and when it is aborted.
    open: Vec<(i64, u64)>,
    /// The logs before this one.
    before: Vec<Log>,
}

/// The oldest offset and the slots of a log that was replaced.
type Log = (i64, Vec<Option<Arc<Record>>>);

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) stamp: Stamp,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) digest: u64,
    pub(super) event: Result<OrderEvent, Refusal>,
    /// The database refuses it although decode accepts it.
    pub(super) rejected: bool,
    /// If it is a tombstone, it resets the order.
    reset: bool,
}

/// What is true of an order from one moment on.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    since: u64,
    known: Option<Known>,
}

impl Record {
    pub(super) fn copy(&self) -> OwnedRecord {
        OwnedRecord {
            partition: self.stamp.partition,
            offset: self.stamp.offset,
            timestamp: KafkaTimestamp::NotAvailable,
            key: Some(self.key.clone()),
            value: self.value.clone(),
            headers: None,
        }
    }

    /// Whether it ends as a dead letter.
    pub(super) fn is_bad(&self) -> bool {
        self.event.is_err() || self.rejected
    }
}

impl Partition {
    pub(super) fn high(&self) -> i64 {
        self.slots.len() as i64
    }

    /// Where what may be read ends: at the first record of the oldest open transaction.
    pub(super) fn stable_end(&self) -> i64 {
        self.open.first().map_or(self.high(), |(offset, _)| *offset)
    }

    /// A producer begins a transaction with a record, and hangs.
    pub(super) fn begin_transaction(&mut self, aborted_at: u64) {
        self.open.push((self.high(), aborted_at));
        self.slots.push(None);
    }

    /// Transactions that are open for too long are aborted, each with a marker.
    pub(super) fn abort_transactions(&mut self, now: u64) {
        let aborted = self.open.extract_if(.., |(_, aborted_at)| *aborted_at <= now).count();
        self.slots.extend((0..aborted).map(|_| None));
    }

    /// The log of one life.
    pub(super) fn log(&self, life: usize) -> &[Option<Arc<Record>>] {
        self.before.get(life).map_or(&self.slots, |(_, slots)| slots)
    }

    /// The oldest offset of one life.
    pub(super) fn low_of(&self, life: usize) -> i64 {
        self.before.get(life).map_or(self.low, |(low, _)| *low)
    }
}

impl Topic {
    pub(super) fn new(partitions: usize, orders: usize) -> Self {
        let epochs = (0..4).map(|generation| Epoch::of(LOG_ID, generation)).collect();
        Self {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            orders: (0..orders).map(|n| OrderId::parse(&format!("o{n}")).unwrap()).collect(),
            users: ["a", "b", "c"].map(|user| UserId::parse(user).unwrap()).to_vec(),
            truths: vec![vec![Truth { since: 0, known: None }]; orders],
            histories: vec![None; orders],
            versions: vec![0; orders],
            epochs,
            decoder: Decoder::new(&DecoderOptions::default()).unwrap(),
        }
    }

    /// How often the log had been replaced in this epoch.
    pub(super) fn life_of(&self, epoch: Epoch) -> Option<usize> {
        self.epochs.iter().position(|known| *known == epoch)
    }

    /// The record of this stamp.
    pub(super) fn record(&self, stamp: Stamp) -> Option<&Arc<Record>> {
        let partition = self.partitions.get(usize::try_from(stamp.partition).ok()?)?;
        partition.log(self.life_of(stamp.epoch)?).get(usize::try_from(stamp.offset).ok()?)?.as_ref()
    }

    /// The records that may be meant by this stamp: until the recorder has looked, the records of a log that was replaced
    /// are taken for those of the log before.
    pub(super) fn records(&self, stamp: Stamp) -> impl Iterator<Item = &Arc<Record>> + Clone {
        let partition = usize::try_from(stamp.partition).ok().and_then(|place| self.partitions.get(place));
        let offset = usize::try_from(stamp.offset).unwrap_or(usize::MAX);
        let meant = self.life_of(stamp.epoch);
        partition.into_iter().flat_map(move |partition| {
            let lives = meant.into_iter().flat_map(move |life| life..=partition.life);
            lives.filter_map(move |life| partition.log(life).get(offset)?.as_ref())
        })
    }

    /// Decodes a record as the pipelines do, under the epoch they take it for.
    pub(super) fn decode(&self, record: &Record, epoch: Epoch) -> Result<OrderEvent, Refusal> {
        if record.stamp.epoch == epoch {
            return record.event.clone();
        }
        let stamp = Stamp { epoch, ..record.stamp };
        decode(&self.decoder, stamp, &record.key, record.value.as_deref(), record.reset, 0)
    }

    /// The producer writes something about some order.
    pub(super) fn produce(&mut self, rng: &mut SmallRng, now: u64, faults: &Faults) {
        let order = rng.random_range(0..self.orders.len());
        let astray = faults.partitioners && rng.random_bool(0.4);
        let place = if astray { rng.random_range(0..self.partitions.len()) } else { order % self.partitions.len() };
        let kind = if faults.calm { 1.0 } else { rng.random::<f64>() };
        let key = self.orders[order].as_str().as_bytes().to_vec();
        let known = self.versions[order];
        let reset = kind < 0.02 && !faults.partitioners;
        if reset {
            self.versions[order] = 0;
        }
        let value = match kind {
            x if x < 0.06 && !faults.partitioners => None,
            x if x < 0.10 => Some(br#"{"order_id":"#.to_vec()),
            x if x < 0.13 => return self.partitions[place].slots.push(None),
            // Published twice, byte for byte.
            x if x < 0.20 && !self.partitions[place].slots.is_empty() => {
                let again = self.partitions[place].slots.choose(rng).cloned().flatten();
                let Some(again) = again else { return };
                return self.append(place, again.key.clone(), again.value.clone(), again.reset, now, again.rejected);
            }
            x => {
                let late = x < 0.35 && known > 0;
                let version = if late { rng.random_range(1..=known) } else { known + 1 };
                self.versions[order] = known.max(version);
                let many = rng.random_range(1..=self.users.len());
                let named: Vec<&str> = self.users.choose_multiple(rng, many).map(UserId::as_str).collect();
                let viewers = named[1..].iter().map(|user| format!("{user:?}")).collect::<Vec<_>>().join(",");
                let unversioned = faults.partitioners && order % 2 == 1;
                let own = if unversioned { String::new() } else { format!(r#","version":{version}"#) };
                let fields = format!(r#""user_id":"{}","viewers":[{viewers}]{own}"#, named[0]);
                let status = format!("s{version}-{}", rng.random_range(0..1_000));
                Some(format!(r#"{{"order_id":"o{order}",{fields},"status":"{status}"}}"#).into_bytes())
            }
        };
        let rejected = faults.rejects && value.is_some() && rng.random_bool(0.05);
        self.append(place, key, value, reset, now, rejected);
    }

    fn append(&mut self, place: usize, key: Vec<u8>, value: Option<Vec<u8>>, reset: bool, now: u64, rejected: bool) {
        let partition = &mut self.partitions[place];
        let epoch = self.epochs[partition.life];
        let stamp = Stamp { epoch, partition: place as i32, offset: partition.high() };
        let event = decode(&self.decoder, stamp, &key, value.as_deref(), reset, now);
        let digest = (stamp.epoch.0 ^ (place as u64) << 40).wrapping_add(stamp.offset as u64);
        let rejected = rejected && event.is_ok();
        if let (Ok(event), false) = (&event, rejected)
            && let Some(order) = self.orders.iter().position(|order| *order == event.order_id)
        {
            let (history, _) = History::fold(self.histories[order].take(), event, |_| true);
            let known = history.as_ref().map(|history| history.known.clone());
            self.histories[order] = history;
            self.truths[order].push(Truth { since: now, known });
        }
        partition.slots.push(Some(Arc::new(Record { stamp, key, value, digest, event, rejected, reset })));
    }

    /// The whole log is replaced by an empty one.
    pub(super) fn replace(&mut self) {
        for partition in &mut self.partitions {
            let old = std::mem::take(&mut partition.slots);
            partition.before.push((partition.low, old));
            (partition.life, partition.low) = (partition.life + 1, 0);
            partition.open.clear();
        }
        self.versions.iter_mut().for_each(|version| *version += 1);
    }

    /// Whether `user` may have been shown `stamp` of an order, or nothing of it, at some moment since `since`.
    pub(super) fn was_true(&self, order: usize, user: &UserId, shown: Option<Stamp>, since: u64) -> bool {
        let truths = &self.truths[order];
        let first = truths.partition_point(|truth| truth.since <= since).saturating_sub(1);
        truths[first..].iter().any(|truth| {
            let state = truth.known.as_ref().and_then(Known::order).filter(|state| state.names(user));
            state.map(|state| state.stamp) == shown
        })
    }
}

fn decode(
    decoder: &Decoder,
    stamp: Stamp,
    key: &[u8],
    value: Option<&[u8]>,
    reset: bool,
    now: u64,
) -> Result<OrderEvent, Refusal> {
    let headers = [(RESET_HEADER, Some(&b"true"[..]))];
    let log = LogContext { epoch: stamp.epoch, accepts_unversioned: true };
    let raw = RawRecord {
        partition: stamp.partition,
        offset: stamp.offset,
        timestamp_millis: Some(BEGINNING + now as i64),
        received_at: Timestamp::from_millis(BEGINNING).unwrap(),
        key: Some(key),
        value,
        headers: if reset { &headers } else { &[] },
    };
    decoder.decode(&raw, &log).map(|decoded| decoded.event)
}
