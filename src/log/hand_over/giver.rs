//! The fanout's end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Given, MAX_RECORDS, Original, Shared, Stretch};
use crate::domain::{
    LastRecord,
    decode::{Decoded, LogContext, Refusal},
};

/// Gives what was read. Waits for nobody.
#[derive(Debug)]
pub struct Giver {
    pub(super) shared: Arc<Shared>,
    /// The partitions that are claimed, as of this version.
    claimed: BTreeSet<i32>,
    seen_claims: u64,
    /// What is read of a partition without a break is a run. Each has a number of its own.
    runs: BTreeMap<i32, u64>,
    last_run: u64,
    /// How far each partition was given in its run.
    given: BTreeMap<i32, (LogContext, i64)>,
    /// What could not be given without waiting: it goes with the next.
    pending: Vec<(i32, Stretch)>,
}

/// What is being read: the last record of each partition is still at hand.
pub(crate) struct Gathered<'g, R> {
    giver: &'g mut Giver,
    stretches: BTreeMap<i32, (Stretch, R)>,
    is_broken: bool,
}

impl Giver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            claimed: BTreeSet::new(),
            seen_claims: 0,
            runs: BTreeMap::new(),
            last_run: 0,
            given: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// Begins a batch of records.
    pub(crate) fn gather<R: Original>(&mut self) -> Gathered<'_, R> {
        let claims = self.shared.claims();
        if claims != self.seen_claims {
            let claimed: Option<BTreeSet<i32>> = self.shared.try_lock().map(|held| held.keys().copied().collect());
            if let Some(claimed) = claimed {
                // What was read while it was not claimed is missing.
                let changed: Vec<i32> = claimed.symmetric_difference(&self.claimed).copied().collect();
                changed.into_iter().for_each(|partition| self.restart_partition(partition));
                (self.seen_claims, self.claimed) = (claims, claimed);
            }
        }
        Gathered { giver: self, stretches: BTreeMap::new(), is_broken: false }
    }

    /// What comes next does not follow what was given: the client was told where to read, or is another one.
    pub(crate) fn restart(&mut self) {
        self.runs.clear();
        self.given.clear();
        self.pending.clear();
    }

    fn restart_partition(&mut self, restarted: i32) {
        self.runs.remove(&restarted);
        self.given.remove(&restarted);
        self.pending.retain(|(partition, _)| *partition != restarted);
    }

    /// The client has passed everything below these offsets: transaction markers and holes move it without a record.
    pub(crate) fn passed(&mut self, positions: &[(i32, i64)]) {
        for (partition, position) in positions {
            // Before a record has come, a position may be about the place before.
            let Some((log, given)) = self.given.get_mut(partition).filter(|(_, given)| given < position) else {
                continue;
            };
            *given = *position;
            let stretch = Stretch { log: *log, records: Vec::new(), bytes: 0, last: None, next_offset: *position };
            self.pending.push((*partition, stretch));
        }
        self.flush();
    }

    /// Gives what is pending, unless somebody else looks at what is held at this moment.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut dropped = Vec::new();
        let Some(mut held) = self.shared.try_lock() else {
            if self.pending.iter().map(|(_, stretch)| stretch.records.len()).sum::<usize>() > MAX_RECORDS {
                self.restart();
            }
            return;
        };
        let share = held.len().max(1);
        for (partition, stretch) in self.pending.drain(..) {
            let run = *self.runs.entry(partition).or_insert_with(|| {
                self.last_run += 1;
                self.last_run
            });
            match held.get_mut(&partition) {
                Some(held) => held.push(run, stretch, share, &mut dropped),
                None => dropped.push(stretch),
            }
        }
        drop(held);
        // What is dropped is freed once nobody can be waiting for the lock.
        drop(dropped);
    }
}

impl<R: Original> Gathered<'_, R> {
    /// A record was read, and this is what it says.
    pub(crate) fn add(&mut self, record: R, log: &LogContext, decoded: &Result<Decoded, Refusal>) {
        let (partition, offset) = record.place();
        if !self.giver.claimed.contains(&partition) {
            return;
        }
        let (given, bytes) = match decoded {
            Ok(decoded) => {
                let kept = decoded.event.goes_by_log_order().then(|| record.copy());
                (Given::Event(decoded.clone(), kept), record.size())
            }
            Err(refusal) => (Given::Refused(refusal.clone(), record.copy()), record.size()),
        };
        match self.stretches.get_mut(&partition).filter(|(stretch, _)| stretch.log == *log) {
            Some((stretch, last)) => {
                stretch.records.push(given);
                stretch.bytes += bytes;
                stretch.next_offset = offset + 1;
                *last = record;
            }
            None => {
                let stretch = Stretch { log: *log, records: vec![given], bytes, last: None, next_offset: offset + 1 };
                if let Some(before) = self.stretches.insert(partition, (stretch, record)) {
                    self.giver.end(partition, before);
                }
            }
        }
    }

    /// A record was passed over: what follows does not follow what was given.
    pub(crate) fn pass_over(&mut self) {
        self.is_broken = true;
    }

    /// The batch is complete.
    pub(crate) fn give(self) {
        let Self { giver, stretches, is_broken } = self;
        for (partition, stretch) in stretches {
            giver.end(partition, stretch);
        }
        if is_broken {
            giver.restart();
        }
        giver.flush();
    }
}

impl Giver {
    fn end<R: Original>(&mut self, partition: i32, (mut stretch, last): (Stretch, R)) {
        let (_, offset) = last.place();
        stretch.last = Some(LastRecord { offset, digest: last.digest() });
        self.given.insert(partition, (stretch.log, stretch.next_offset));
        self.pending.push((partition, stretch));
    }
}
