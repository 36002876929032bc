//! What the fanout has read of the partitions that the recorder of the same instance records, so that nothing is fetched and
//! decoded twice. Bounded, and the one never waits for the other: what the recorder does not take in time is dropped, and it
//! reads that by itself. `docs/decisions/read-once.md` says why it is built so.
//!
//! ```text
//!   fanout ─► Giver ─► stretches of each claimed partition, numbered, the newest of them ─► Taker ─► recorder
//! ```

mod giver;
mod taker;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{giver::Giver, taker::Taker};
use super::kafka::record::{OwnedRecord, Record};
use crate::domain::{
    LastRecord,
    decode::{Decoded, LogContext, Refusal},
};

/// Records that are held at most, of all partitions together: two seconds of 8,000 a second.
const MAX_RECORDS: usize = 16_384;
/// And what they may take; orders themselves are shared with the hub.
const MAX_BYTES: usize = 8 << 20;

/// Both ends.
pub fn channel() -> (Giver, Taker) {
    let shared = Arc::new(Shared::default());
    (Giver::new(shared.clone()), Taker::new(shared))
}

/// A record as its log has it.
pub(crate) trait Original {
    /// Partition and offset.
    fn place(&self) -> (i32, i64);
    /// Bytes of key and value.
    fn size(&self) -> usize;
    /// See [`LastRecord`].
    fn digest(&self) -> u64;
    /// A copy.
    fn copy(&self) -> OwnedRecord;
}

impl Original for Record<'_> {
    fn place(&self) -> (i32, i64) {
        (self.partition(), self.offset())
    }

    fn size(&self) -> usize {
        self.len()
    }

    fn digest(&self) -> u64 {
        self.digest()
    }

    fn copy(&self) -> OwnedRecord {
        self.to_owned()
    }
}

/// A record that was read.
#[derive(Debug)]
pub(crate) enum Given {
    /// It can be used. Where the store may call it unordered its record is kept.
    Event(Decoded, Option<OwnedRecord>),
    /// It cannot.
    Refused(Refusal, OwnedRecord),
}

/// Records of one partition that follow each other.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// How they were decoded.
    pub(crate) log: LogContext,
    pub(crate) records: Vec<Given>,
    pub(crate) bytes: usize,
    /// The last of them; none in a stretch of transaction markers.
    pub(crate) last: Option<LastRecord>,
    /// All below this offset was passed.
    pub(crate) next_offset: i64,
}

/// A stretch's number among those that were read without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    run: u64,
    number: u64,
}

impl Place {
    pub(crate) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// Where a stretch ends: who has come to this record by himself can go on with the next stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seam {
    /// The last record of the stretch.
    pub(crate) record: LastRecord,
    /// How the stretch was decoded.
    pub(crate) log: LogContext,
    /// The next stretch.
    pub(crate) next: Place,
}

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<BTreeMap<i32, Held>>,
    /// Grows whenever other partitions are claimed.
    claims: AtomicU64,
}

/// The newest stretches of a partition that is claimed.
#[derive(Debug, Default)]
struct Held {
    run: u64,
    /// The number of the first.
    first: u64,
    stretches: VecDeque<Stretch>,
    records: usize,
    bytes: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For those who must not wait.
    fn try_lock(&self) -> Option<MutexGuard<'_, BTreeMap<i32, Held>>> {
        match self.held.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn claims(&self) -> u64 {
        self.claims.load(Ordering::Acquire)
    }
}

impl Held {
    /// Takes a stretch in, and takes out what there is no room for any more.
    fn push(&mut self, run: u64, stretch: Stretch, share: usize, out: &mut Vec<Stretch>) {
        if self.run != run {
            out.extend(std::mem::take(&mut self.stretches));
            *self = Self { run, ..Self::default() };
        }
        self.records += stretch.records.len();
        self.bytes += stretch.bytes;
        self.stretches.push_back(stretch);
        while self.records > MAX_RECORDS / share || self.bytes > MAX_BYTES / share {
            let Some(oldest) = self.pop() else { return };
            out.push(oldest);
        }
    }

    fn pop(&mut self) -> Option<Stretch> {
        let oldest = self.stretches.pop_front()?;
        self.first += 1;
        self.records -= oldest.records.len();
        self.bytes -= oldest.bytes;
        Some(oldest)
    }

    fn seam(&self, at_or_behind: i64) -> Option<Seam> {
        let numbered = (self.first..).zip(&self.stretches);
        let mut ends = numbered.filter_map(|(number, stretch)| Some((number, stretch.log, stretch.last?)));
        let (number, log, record) = ends.find(|(.., record)| record.offset >= at_or_behind)?;
        Some(Seam { record, log, next: Place { run: self.run, number: number + 1 } })
    }
}

#[cfg(test)]
mod tests;
