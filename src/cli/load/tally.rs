//! What the sessions of a run saw, added up.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::Serialize;

use super::latency::Latencies;

/// What one thread counts while others look: plain numbers, none of which decides anything.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Sessions that have had their first snapshot.
    pub(super) live: AtomicU64,
    /// Sessions that ended, in whatever way.
    pub(super) ended: AtomicU64,
    /// Updates that came.
    pub(super) deliveries: AtomicU64,
    /// Reads that brought any of them, or anything else.
    pub(super) reads: AtomicU64,
    /// Updates that waited here for longer than they should, until they were read.
    pub(super) held: AtomicU64,
    /// When the last session ended.
    pub(super) last_end: AtomicU64,
    /// The longest interval between two heartbeats that was announced, in milliseconds.
    pub(super) heartbeat_ms: AtomicU64,
}

/// Adds to a number that only one thread writes.
pub(super) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// The counts of a run so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Updates that came.
    pub(super) deliveries: u64,
    /// Versions that were never shown, because a newer one came first.
    pub(super) merged: u64,
    pub(super) out_of_order: u64,
    pub(super) duplicate: u64,
    /// Orders shown to somebody they do not name.
    pub(super) foreign: u64,
    /// Messages that could not be read.
    pub(super) unreadable: u64,
    /// Times a session was told that it may be stale.
    pub(super) stale: u64,
    /// Close frames that came, by code; 1005 is one without.
    pub(super) closes: BTreeMap<u16, u64>,
    /// Sessions that ended without one.
    pub(super) lost: u64,
    /// Of those who did not read: sessions that were cut.
    pub(super) cut: u64,
    /// Handshakes that were refused, by the answer.
    pub(super) refused: BTreeMap<String, u64>,
}

/// Where the sessions of a run stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) live: u64,
    /// Versions that were published and are not shown.
    pub(super) missing: u64,
    /// Sessions that were told last that they may be stale.
    pub(super) stale: u64,
}

/// What one thread has to tell.
pub(super) struct Findings {
    pub(super) tally: Tally,
    /// Of the updates that were due in the window.
    pub(super) latencies: Latencies,
    /// From the beginning of a connection to its first snapshot, since they were last opened.
    pub(super) openings: Latencies,
}

impl std::ops::AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.merged += other.merged;
        self.out_of_order += other.out_of_order;
        self.duplicate += other.duplicate;
        self.foreign += other.foreign;
        self.unreadable += other.unreadable;
        self.stale += other.stale;
        self.lost += other.lost;
        self.cut += other.cut;
        other.closes.iter().for_each(|(code, count)| *self.closes.entry(*code).or_default() += count);
        other.refused.iter().for_each(|(why, count)| *self.refused.entry(why.clone()).or_default() += count);
    }
}

impl std::ops::AddAssign for Standing {
    fn add_assign(&mut self, other: Self) {
        self.live += other.live;
        self.missing += other.missing;
        self.stale += other.stale;
    }
}
