//! What has been read of a partition and not yet handed to the writer, and the batches made of it. Pure.

use std::{collections::BTreeMap, ops::AddAssign};

use hashbrown::{HashMap, HashSet};

use crate::{
    domain::{
        Epoch, LastRecord, OrderEvent, Progress, Stamp,
        decode::{Refusal, RefusalCode},
    },
    log::{
        hand_over::{Given, Stretch},
        kafka::record::OwnedRecord,
    },
    store::{Batch, PartitionBatch, RejectedEvent},
};

/// How many transactions store a large batch.
const SIDES: usize = 2;

/// A stretch of one partition, from the position it was read from to where it ends now.
#[derive(Debug)]
pub(crate) struct Collected {
    partition: i32,
    log_id: String,
    generation: i32,
    epoch: Epoch,
    read_from: i64,
    next_offset: i64,
    last_record: Option<LastRecord>,
    events: Vec<OrderEvent>,
    /// The records of those events that the store may call unordered, in log order.
    kept: Vec<OwnedRecord>,
    refused: Vec<RefusedRecord>,
}

/// A record that cannot be used, whole, and why.
#[derive(Debug)]
pub(crate) struct RefusedRecord {
    pub(crate) record: OwnedRecord,
    pub(crate) refusal: Refusal,
}

/// What was taken over from the fanout.
#[derive(Debug, Default)]
pub(crate) struct TakenOver {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// Events with an `occurred_at` that cannot be read.
    pub(crate) occurred_at_unreadable: u64,
    pub(crate) refused: Vec<RefusalCode>,
}

impl AddAssign for TakenOver {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.occurred_at_unreadable += other.occurred_at_unreadable;
        self.refused.extend(other.refused);
    }
}

/// Records of several partitions on their way to the store.
#[derive(Debug)]
pub(crate) struct Work {
    /// The batch; its dead letters are still to be made of `refused`.
    pub(crate) batch: Batch,
    /// The fence each partition's part was read under.
    pub(crate) fences: BTreeMap<i32, u64>,
    /// Per partition, in log order.
    pub(crate) refused: BTreeMap<i32, Vec<RefusedRecord>>,
    /// The records of events that the store may call unordered; likewise.
    kept: BTreeMap<i32, Vec<OwnedRecord>>,
}

impl From<&Progress> for Collected {
    fn from(progress: &Progress) -> Self {
        Self {
            partition: progress.partition,
            log_id: progress.log_id.clone(),
            generation: progress.generation,
            epoch: progress.epoch(),
            read_from: progress.next_offset,
            next_offset: progress.next_offset,
            last_record: None,
            events: Vec::new(),
            kept: Vec::new(),
            refused: Vec::new(),
        }
    }
}

impl Collected {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn read_from(&self) -> i64 {
        self.read_from
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(crate) fn on_record(&mut self, offset: i64, digest: u64) {
        self.next_offset = offset + 1;
        self.last_record = Some(LastRecord { offset, digest });
    }

    pub(crate) fn advance(&mut self, offset: i64) {
        self.next_offset = self.next_offset.max(offset);
    }

    /// Takes an event. What goes by log order is judged by the store, and its record is kept for the case that it has to
    /// become a dead letter.
    pub(crate) fn push_event(&mut self, event: OrderEvent, keep: impl FnOnce() -> OwnedRecord) {
        if event.goes_by_log_order() {
            self.kept.push(keep());
        }
        self.events.push(event);
    }

    /// Takes what the fanout has read and decoded.
    pub(crate) fn take_over(&mut self, stretch: Stretch) -> TakenOver {
        let mut taken = TakenOver { records: stretch.records.len(), bytes: stretch.bytes, ..TakenOver::default() };
        for given in stretch.records {
            match given {
                Given::Event(decoded, kept) => {
                    taken.occurred_at_unreadable += u64::from(decoded.occurred_at_unreadable);
                    self.kept.extend(kept);
                    self.events.push(decoded.event);
                }
                Given::Refused(refusal, record) => {
                    taken.refused.push(refusal.code);
                    self.refused.push(RefusedRecord { record, refusal });
                }
            }
        }
        self.last_record = stretch.last.or(self.last_record);
        self.advance(stretch.next_offset);
        taken
    }

    pub(crate) fn push_refused(&mut self, refused: RefusedRecord) {
        self.refused.push(refused);
    }

    /// Takes out the stretch, if it is not empty, and begins the next one behind it.
    fn take(&mut self) -> Option<(PartitionBatch, Vec<RefusedRecord>, Vec<OwnedRecord>)> {
        if self.next_offset == self.read_from {
            return None;
        }
        let part = PartitionBatch {
            partition: self.partition,
            log_id: self.log_id.clone(),
            generation: self.generation,
            read_from: std::mem::replace(&mut self.read_from, self.next_offset),
            next_offset: self.next_offset,
            last_record: self.last_record.take(),
            events: std::mem::take(&mut self.events),
            dead_letters: Vec::new(),
        };
        Some((part, std::mem::take(&mut self.refused), std::mem::take(&mut self.kept)))
    }
}

impl Work {
    fn empty(topic: &str) -> Self {
        let batch = Batch { topic: topic.to_owned(), partitions: Vec::new(), version_jump: u64::MAX };
        Self { batch, fences: BTreeMap::new(), refused: BTreeMap::new(), kept: BTreeMap::new() }
    }

    /// Takes what was collected of these partitions (in order). `None` if there is nothing.
    pub(crate) fn take<'a>(topic: &str, reading: impl Iterator<Item = (i32, u64, &'a mut Collected)>) -> Option<Self> {
        let mut work = Self::empty(topic);
        for (partition, fence, collected) in reading {
            if let Some((part, refused, kept)) = collected.take() {
                work.batch.partitions.push(part);
                work.fences.insert(partition, fence);
                work.kept.insert(partition, kept);
                if !refused.is_empty() {
                    work.refused.insert(partition, refused);
                }
            }
        }
        (!work.batch.partitions.is_empty()).then_some(work)
    }

    /// The same, which counts versions that grow by more than this.
    pub(crate) fn counting_jumps_beyond(mut self, version_jump: u64) -> Self {
        self.batch.version_jump = version_jump;
        self
    }

    /// Divides it into works of about the same size, which can be stored side by side, if it has `large` events or more. A
    /// partition stays in one work.
    pub(crate) fn divide(self, large: usize) -> Vec<Self> {
        let size = |part: &PartitionBatch| part.events.len();
        if self.batch.partitions.iter().map(size).sum::<usize>() < large {
            return vec![self];
        }
        let Self { batch: Batch { topic, mut partitions, version_jump }, mut fences, mut refused, mut kept } = self;
        partitions.sort_by_key(|part| std::cmp::Reverse(size(part)));
        let mut works: Vec<(usize, Self)> =
            (0..SIDES).map(|_| (0, Self::empty(&topic).counting_jumps_beyond(version_jump))).collect();
        for part in partitions {
            let Some((events, work)) = works.iter_mut().min_by_key(|(events, _)| *events) else { break };
            *events += size(&part);
            work.fences.extend(fences.remove_entry(&part.partition));
            work.refused.extend(refused.remove_entry(&part.partition));
            work.kept.extend(kept.remove_entry(&part.partition));
            work.batch.partitions.push(part);
        }
        let works = works.into_iter().map(|(_, mut work)| {
            work.batch.partitions.sort_by_key(|part| part.partition);
            work
        });
        works.filter(|work| !work.is_empty()).collect()
    }

    /// Drops the parts for which `is_invalid` says so.
    pub(crate) fn drop_invalid(&mut self, is_invalid: impl Fn(i32, u64) -> bool) {
        let Self { batch, fences, refused, kept } = self;
        fences.retain(|partition, fence| !is_invalid(*partition, *fence));
        batch.partitions.retain(|part| fences.contains_key(&part.partition));
        refused.retain(|partition, _| fences.contains_key(partition));
        kept.retain(|partition, _| fences.contains_key(partition));
    }

    /// Turns events that the store calls unordered into records that cannot be used. Returns which.
    pub(crate) fn set_aside(&mut self, unordered: Vec<RejectedEvent>) -> Vec<Stamp> {
        let mut messages: HashMap<Stamp, String> =
            unordered.into_iter().map(|event| (event.stamp, event.message)).collect();
        let mut aside = Vec::new();
        for part in &mut self.batch.partitions {
            let (partition, epoch) = (part.partition, part.epoch());
            let Some(kept) = self.kept.get_mut(&partition) else { continue };
            let mut refused = Vec::new();
            for record in std::mem::take(kept) {
                let stamp = Stamp { epoch, partition, offset: record.offset };
                match messages.remove(&stamp) {
                    Some(message) => {
                        let refusal = Refusal { code: RefusalCode::Unordered, message };
                        refused.push(RefusedRecord { record, refusal });
                        aside.push(stamp);
                    }
                    None => kept.push(record),
                }
            }
            if !refused.is_empty() {
                let offsets: HashSet<i64> = refused.iter().map(|refused| refused.record.offset).collect();
                part.events.retain(|event| !offsets.contains(&event.stamp.offset));
                self.refused.entry(partition).or_default().append(&mut refused);
            }
        }
        aside
    }

    /// The highest fence in it.
    pub(crate) fn highest_fence(&self) -> u64 {
        self.fences.values().copied().max().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.partitions.is_empty()
    }
}
