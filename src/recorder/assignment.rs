//! The partitions this recorder was assigned, and how far it is with each. Pure: what the consumer and the writer say
//! comes in as calls, what is to be done next is asked for. The thread performs it; a simulation can, too.
//!
//! ```text
//!   assigned ─► Opening ─► Checking ─► ReadingBack ─► Reading ─► batches
//!                 ▲  ▲         │             │
//!                 │  └─ Moving ┴──── Halted ◄┘
//!                 └── lost, refused: begin again from stored progress, under a new fence
//! ```
//!
//! What is read comes from the recorder's own consumer or, once both have come to the same record, from the fanout:
//! [`taking_over`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use self::taking_over::Source;
use super::batch::Collected;
use crate::{
    domain::{Epoch, Halt, LastRecord, Progress, Stamp},
    log::{
        Policies,
        continuity::{self, Continuity, Decision, Move},
        hand_over::Seam,
        progress::ProgressView,
        rules::{LogRule, LogRules},
        view::{Compaction, LogView, Watermarks},
    },
};

mod taking_over;

/// How soon progress is read again where there was none.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The state of all assigned partitions.
#[derive(Debug)]
pub(crate) struct Assignment {
    log_id: String,
    compaction: Option<Compaction>,
    policies: Policies,
    pub(crate) rules: LogRules,
    partitions: BTreeMap<i32, Partition>,
    last_fence: u64,
    /// The positions the consumer reads from are not those it was told last.
    stands_elsewhere: bool,
    /// Partitions that something came from since the client was told where to read. Before that, what it says of a
    /// position may be about the place before.
    heard: BTreeSet<i32>,
    /// Records the store refused, with what it said: dead letters when they come again.
    rejected: HashMap<Stamp, String>,
    /// Where what the fanout has read can be gone on with, as was looked up last.
    seams: BTreeMap<i32, Seam>,
    /// When the store was last to be told of a halt.
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Partition {
    /// What is in flight of this partition carries this fence; what carries an older one is invalid.
    fence: u64,
    phase: PartitionPhase,
}

#[derive(Debug)]
enum PartitionPhase {
    /// Progress is to be read, not before this moment.
    Opening { not_before: Option<Instant>, asked: bool },
    /// Progress was read; the log is to be compared with it.
    Checking { progress: Progress, read_at: Instant },
    /// Progress is to be moved.
    Moving { from: Progress, to: Move, asked: bool },
    /// The last applied record is to be read back.
    ReadingBack { progress: Progress, expected: LastRecord, watermarks: Watermarks },
    /// Records are collected.
    Reading { collected: Collected, source: Source },
    /// Somebody has to decide.
    Halted { progress: Progress, halt: Halt },
}

/// What stands where the last applied record was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadBack {
    Same,
    Other,
    Missing,
}

/// What to do with a record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intake {
    /// It is the next one: decode it.
    Take {
        /// The life of the log it stands in.
        epoch: Epoch,
    },
    /// It is the next one, and the store refused it before: a dead letter.
    Reject {
        /// What the store said.
        message: String,
    },
    /// It is none of ours, or served only to prove that the log is the same.
    Pass,
}

impl Assignment {
    /// Nothing is assigned yet. Fences begin above `last_fence`.
    pub(crate) fn new(policies: Policies, last_fence: u64) -> Self {
        Self {
            log_id: String::new(),
            compaction: None,
            policies,
            rules: LogRules::default(),
            partitions: BTreeMap::new(),
            last_fence,
            stands_elsewhere: false,
            heard: BTreeSet::new(),
            rejected: HashMap::new(),
            seams: BTreeMap::new(),
            told_at: None,
        }
    }

    // ── from the consumer ──────────────────────────────────────────────────────────────────────────────────────────

    /// These partitions are ours from now on, and no others.
    pub(crate) fn on_assigned(&mut self, partitions: impl IntoIterator<Item = i32>) {
        let fence = self.next_fence();
        self.partitions = partitions
            .into_iter()
            .map(|partition| (partition, Partition { fence, phase: PartitionPhase::opening(None) }))
            .collect();
        self.stands_elsewhere = true;
    }

    /// None are ours any more. Returns the highest fence that is invalid now.
    pub(crate) fn on_revoked(&mut self) -> u64 {
        self.partitions.clear();
        self.stands_elsewhere = false;
        self.next_fence() - 1
    }

    /// A record was read. Says what to do with it.
    pub(crate) fn on_record(&mut self, partition: i32, offset: i64, digest: u64) -> Intake {
        self.heard.insert(partition);
        let Some(entry) = self.partitions.get_mut(&partition) else { return Intake::Pass };
        if let PartitionPhase::ReadingBack { expected, .. } = entry.phase {
            if offset < expected.offset {
                return Intake::Pass;
            }
            let found = match (offset == expected.offset, digest == expected.digest) {
                (true, true) => ReadBack::Same,
                (true, false) => ReadBack::Other,
                (false, _) => ReadBack::Missing,
            };
            entry.phase = entry.phase.read_back(found, self.compaction, &self.log_id, self.policies);
            self.stands_elsewhere |= !matches!(entry.phase, PartitionPhase::Reading { .. });
        }
        let PartitionPhase::Reading { collected, source } = &mut entry.phase else { return Intake::Pass };
        match source.reads_back(Some((offset, digest)), self.compaction) {
            Some(true) => *source = Source::Own,
            None => {}
            Some(false) => {
                self.begin_again(partition, None);
                return Intake::Pass;
            }
        }
        if offset < collected.next_offset() || !matches!(source, Source::Own) {
            return Intake::Pass;
        }
        collected.on_record(offset, digest);
        let here = LastRecord { offset, digest };
        if let Some(seam) = self.seams.get(&partition).filter(|seam| seam.record == here) {
            *source = Source::fanout(*seam);
            self.stands_elsewhere = true;
        }
        match self.rejected.get(&Stamp { epoch: collected.epoch(), partition, offset }) {
            Some(message) => Intake::Reject { message: message.clone() },
            None => Intake::Take { epoch: collected.epoch() },
        }
    }

    /// The consumer came to the end of a partition without another record.
    pub(crate) fn on_end_of_partition(&mut self, partition: i32) {
        self.heard.insert(partition);
        let Some(entry) = self.partitions.get_mut(&partition) else { return };
        match &mut entry.phase {
            PartitionPhase::ReadingBack { .. } => {
                entry.phase = entry.phase.read_back(ReadBack::Missing, self.compaction, &self.log_id, self.policies);
                self.stands_elsewhere = true;
            }
            PartitionPhase::Reading { source, .. } => match source.reads_back(None, self.compaction) {
                Some(true) => *source = Source::Own,
                Some(false) => self.begin_again(partition, None),
                None => {}
            },
            _ => {}
        }
    }

    /// The consumer says that it has passed everything below `offset`. Where the fanout reads, that is nothing to go by: what
    /// came since was left to it.
    pub(crate) fn on_position(&mut self, partition: i32, offset: i64) {
        let entry = self.partitions.get_mut(&partition).filter(|_| self.heard.contains(&partition));
        if let Some(PartitionPhase::Reading { collected, source: Source::Own }) = entry.map(|entry| &mut entry.phase) {
            collected.advance(offset);
        }
    }

    // ── from the writer ────────────────────────────────────────────────────────────────────────────────────────────

    /// Progress was read, for what was asked under `fence` or before.
    pub(crate) fn on_progress(&mut self, fence: u64, progress: &[Progress], read_at: Instant) {
        for (partition, entry) in &mut self.partitions {
            if entry.fence <= fence && matches!(entry.phase, PartitionPhase::Opening { asked: true, .. }) {
                let progress = progress.iter().find(|progress| progress.partition == *partition);
                entry.phase = match progress {
                    Some(progress) => PartitionPhase::Checking { progress: progress.clone(), read_at },
                    // Its watermarks were not known when progress rows were made.
                    None => PartitionPhase::opening(Some(read_at + RETRY_INTERVAL)),
                };
            }
        }
    }

    /// A partition's progress was moved, or somebody else moved it: it is read again.
    pub(crate) fn on_moved(&mut self, partition: i32) {
        if let Some(entry) = self.partitions.get_mut(&partition)
            && matches!(entry.phase, PartitionPhase::Moving { .. })
        {
            entry.phase = PartitionPhase::opening(None);
        }
    }

    /// Nobody knows how far progress is, or whether the log is still the same: all that was collected is dropped and
    /// every partition begins again, not before that moment. Returns the highest fence that is invalid now.
    pub(crate) fn on_lost(&mut self, not_before: Option<Instant>) -> u64 {
        let fence = self.next_fence();
        for entry in self.partitions.values_mut().filter(|entry| !matches!(entry.phase, PartitionPhase::Halted { .. }))
        {
            *entry = Partition { fence, phase: PartitionPhase::opening(not_before) };
        }
        self.stands_elsewhere = true;
        fence - 1
    }

    /// The store refused these records: begin again, and make them dead letters when they come.
    pub(crate) fn on_rejected(&mut self, records: impl IntoIterator<Item = (Stamp, String)>) -> u64 {
        self.rejected.extend(records);
        self.on_lost(None)
    }

    /// This partition cannot go on for now: it begins again at `not_before`.
    pub(crate) fn on_blocked(&mut self, partition: i32, not_before: Instant) {
        self.begin_again(partition, Some(not_before));
    }

    fn begin_again(&mut self, partition: i32, not_before: Option<Instant>) {
        let fence = self.next_fence();
        if let Some(entry) = self.partitions.get_mut(&partition) {
            *entry = Partition { fence, phase: PartitionPhase::opening(not_before) };
            self.stands_elsewhere = true;
        }
    }

    /// Progress is stored up to here; records refused below it will not come again.
    pub(crate) fn on_applied(&mut self, partition: i32, next_offset: i64) {
        self.rejected.retain(|stamp, _| stamp.partition != partition || stamp.offset >= next_offset);
    }

    /// Whether progress, as it was read while no batch was in flight, lies below what has been stored: the database was
    /// restored from a backup.
    pub(crate) fn stands_above(&self, stored: &[Progress]) -> bool {
        self.partitions.iter().any(|(partition, entry)| {
            let PartitionPhase::Reading { collected, .. } = &entry.phase else { return false };
            let row = stored.iter().find(|progress| progress.partition == *partition);
            row.is_none_or(|row| row.next_offset < collected.read_from())
        })
    }

    // ── from the log ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Compares partitions whose progress was read with the log. Another log under way makes all begin again: then it
    /// returns the highest fence that is invalid now.
    pub(crate) fn on_log(&mut self, view: &LogView) -> Option<u64> {
        let log_id = &view.log_id;
        let watermarks: BTreeMap<i32, Watermarks> = view.watermarks().collect();
        self.compaction = view.compaction;
        let replaced = !self.log_id.is_empty() && self.log_id != *log_id;
        log_id.clone_into(&mut self.log_id);
        if replaced {
            return Some(self.on_lost(None));
        }
        for (partition, entry) in &mut self.partitions {
            let PartitionPhase::Checking { progress, read_at } = &entry.phase else { continue };
            // An older answer could show a log that ends below what was applied in the meantime.
            let newer = |log: &&Watermarks| log.queried_at >= *read_at || !self.rules.hold(LogRule::NewerLook);
            let Some(log) = watermarks.get(partition).filter(newer) else { continue };
            let continuity = continuity::compare(progress, &self.log_id, *log);
            entry.phase = PartitionPhase::decided(continuity, progress.clone(), &self.log_id, *log, self.policies);
            self.stands_elsewhere = true;
        }
        None
    }

    // ── what is to be done ─────────────────────────────────────────────────────────────────────────────────────────

    /// The partitions whose progress has to be read, and the fence to ask under; none if nothing is to be asked.
    pub(crate) fn take_openings(&mut self, now: Instant) -> Option<(u64, Vec<i32>)> {
        let mut due = Vec::new();
        let mut highest = 0;
        for (partition, entry) in &mut self.partitions {
            if let PartitionPhase::Opening { not_before, asked: asked @ false } = &mut entry.phase
                && not_before.is_none_or(|moment| moment <= now)
            {
                *asked = true;
                highest = highest.max(entry.fence);
                due.push(*partition);
            }
        }
        (!due.is_empty()).then_some((highest, due))
    }

    /// A partition whose progress has to be moved: its fence, from where, and how.
    pub(crate) fn take_move(&mut self) -> Option<(u64, Progress, Move)> {
        self.partitions.values_mut().find_map(|entry| match &mut entry.phase {
            PartitionPhase::Moving { from, to, asked: asked @ false } => {
                *asked = true;
                Some((entry.fence, from.clone(), to.clone()))
            }
            _ => None,
        })
    }

    /// A partition of which the store does not say that it is halted, or still says so: where it stands, and what is true.
    pub(crate) fn take_halt(&mut self, stored: &ProgressView, now: Instant) -> Option<(Progress, Option<Halt>)> {
        // What was told last may not have been read yet.
        if self.told_at.is_some_and(|told_at| stored.read_at <= told_at) {
            return None;
        }
        let unreported = self.partitions.iter().find_map(|(partition, entry)| {
            let at = stored.of(*partition)?;
            let (stands_there, halt) = match &entry.phase {
                PartitionPhase::Halted { progress, halt } => (progress == at, Some(*halt)),
                PartitionPhase::Reading { collected, .. } => {
                    ((collected.epoch(), collected.read_from()) == (at.epoch(), at.next_offset), None)
                }
                _ => return None,
            };
            let told = stored.halts.get(partition).copied();
            (stands_there && told != halt).then(|| (at.clone(), halt))
        })?;
        self.told_at = Some(now);
        Some(unreported)
    }

    /// Where the client has to read, if not where it was told last: partitions that are not read are not named.
    pub(crate) fn take_places(&mut self) -> Option<Vec<(i32, i64)>> {
        if !std::mem::take(&mut self.stands_elsewhere) {
            return None;
        }
        self.heard.clear();
        let at = |phase: &PartitionPhase| match phase {
            PartitionPhase::ReadingBack { expected, .. } => Some(expected.offset),
            PartitionPhase::Reading { collected, source } => source.place(collected.next_offset()),
            _ => None,
        };
        Some(self.partitions.iter().filter_map(|(partition, entry)| Some((*partition, at(&entry.phase)?))).collect())
    }

    /// What was collected of a partition that is being read.
    pub(crate) fn collected(&mut self, partition: i32) -> Option<&mut Collected> {
        match &mut self.partitions.get_mut(&partition)?.phase {
            PartitionPhase::Reading { collected, .. } => Some(collected),
            _ => None,
        }
    }

    /// Everything that is being read: partition, fence, what was collected.
    pub(crate) fn reading(&mut self) -> impl Iterator<Item = (i32, u64, &mut Collected)> {
        self.partitions.iter_mut().filter_map(|(partition, entry)| match &mut entry.phase {
            PartitionPhase::Reading { collected, .. } => Some((*partition, entry.fence, collected)),
            _ => None,
        })
    }

    /// Whether any partition is ours.
    pub(crate) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Whether the consumer owes records, given where the partitions end.
    pub(crate) fn awaits_records(&self, ends: &BTreeMap<i32, i64>) -> bool {
        self.partitions.iter().any(|(partition, entry)| match &entry.phase {
            // If not the record, then the end of the partition.
            PartitionPhase::ReadingBack { .. } => true,
            PartitionPhase::Reading { source: Source::Fanout { .. }, .. } => false,
            PartitionPhase::Reading { source: Source::Returning { .. }, .. } => true,
            PartitionPhase::Reading { collected, .. } => {
                ends.get(partition).is_some_and(|end| collected.next_offset() < *end)
            }
            _ => false,
        })
    }

    /// The halted partitions.
    pub(crate) fn halts(&self) -> BTreeMap<i32, Halt> {
        let halt = |phase: &PartitionPhase| match phase {
            PartitionPhase::Halted { halt, .. } => Some(*halt),
            _ => None,
        };
        self.partitions.iter().filter_map(|(partition, entry)| Some((*partition, halt(&entry.phase)?))).collect()
    }

    fn next_fence(&mut self) -> u64 {
        self.last_fence += 1;
        self.last_fence
    }
}

impl PartitionPhase {
    fn opening(not_before: Option<Instant>) -> Self {
        Self::Opening { not_before, asked: false }
    }

    fn reading(from: &Progress) -> Self {
        Self::Reading { collected: Collected::from(from), source: Source::Own }
    }

    fn decided(continuity: Continuity, progress: Progress, log_id: &str, log: Watermarks, policies: Policies) -> Self {
        match continuity::decide(continuity, &progress, log_id, log, policies) {
            Decision::Read { read_back: Some(expected) } => Self::ReadingBack { progress, expected, watermarks: log },
            Decision::Read { read_back: None } => Self::reading(&progress),
            Decision::Relocate(to) => Self::Moving { from: progress, to, asked: false },
            Decision::Halt(halt) => Self::Halted { progress, halt },
        }
    }

    /// The record to be read back came, or another one, or the end.
    fn read_back(&self, found: ReadBack, compaction: Option<Compaction>, log_id: &str, policies: Policies) -> Self {
        let Self::ReadingBack { progress, watermarks, .. } = self else {
            unreachable!("only a partition that reads back is asked")
        };
        match (found, compaction) {
            // Compaction takes records whose key has a newer one. Where it may be at work, that one is missing proves
            // nothing; another record in its place does, and so does a log that ends before.
            (ReadBack::Same, _) | (ReadBack::Missing, Some(Compaction::On | Compaction::Unknown)) => {
                Self::reading(progress)
            }
            (ReadBack::Missing, None) => Self::opening(Some(watermarks.queried_at + RETRY_INTERVAL)),
            (ReadBack::Other, _) | (ReadBack::Missing, Some(Compaction::Off)) => {
                Self::decided(Continuity::Replaced, progress.clone(), log_id, *watermarks, policies)
            }
        }
    }
}

#[cfg(test)]
mod tests;
