//! What the recorder does with what it hears, and what it asks for next. Pure: joins [`Assignment`] with batches, tasks
//! and replies.

use std::time::{Duration, Instant};

use super::{
    assignment::{Assignment, Intake},
    batch::RefusedRecord,
    write_task::{Reply, Task},
};
use crate::{
    domain::{
        Epoch, Progress,
        decode::{Decoded, Refusal, RefusalCode},
    },
    log::{
        kafka::record::OwnedRecord,
        progress::ProgressView,
        view::{LogView, Watermarks},
    },
    store::{HaltFinding, Relocation, TopicOpening},
};

/// How long nobody may record before a recorder without partitions joins its group anew.
const FIRST_PATIENCE: Duration = Duration::from_secs(20);
/// The longest the same is put up with where that did not help.
const LAST_PATIENCE: Duration = Duration::from_secs(600);
/// What was seen of the log and of progress longer ago says nothing of now.
const LATELY: Duration = Duration::from_secs(5);
/// How long a partition waits whose dead letters cannot be delivered.
const BLOCKED_PAUSE: Duration = Duration::from_secs(15);

/// What became of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was collected.
    Event {
        /// It had an `occurred_at` that cannot be read.
        occurred_at_unreadable: bool,
    },
    /// It was collected to become a dead letter.
    Refused(RefusalCode),
    /// It is none of ours.
    Passed,
}

impl Assignment {
    /// Takes the record at `place` (partition, offset) into what is collected, if it is the next one there.
    pub(crate) fn take(
        &mut self,
        place: (i32, i64),
        digest: u64,
        decode: impl FnOnce(Epoch) -> Result<Decoded, Refusal>,
        keep: impl FnOnce() -> OwnedRecord,
    ) -> Taken {
        let (partition, offset) = place;
        let decoded = match self.on_record(partition, offset, digest) {
            Intake::Pass => return Taken::Passed,
            Intake::Take { epoch } => decode(epoch),
            Intake::Reject { message } => Err(Refusal { code: RefusalCode::RejectedByStore, message }),
        };
        let Some(collected) = self.collected(partition) else { return Taken::Passed };
        match decoded {
            Ok(Decoded { event, occurred_at_unreadable }) => {
                collected.push_event(event, keep);
                Taken::Event { occurred_at_unreadable }
            }
            Err(refusal) => {
                let code = refusal.code;
                collected.push_refused(RefusedRecord { record: keep(), refusal });
                Taken::Refused(code)
            }
        }
    }

    /// Hears what became of a task. Returns the highest fence that is invalid now, if one is.
    pub(crate) fn on_reply(&mut self, reply: Reply, now: Instant) -> Option<u64> {
        match reply {
            Reply::Opened { fence, progress, read_at } => self.on_progress(fence, &progress, read_at),
            Reply::Relocated { partition, .. } => self.on_moved(partition),
            Reply::Applied { positions, blocked, .. } => {
                for (partition, next_offset) in positions {
                    self.on_applied(partition, next_offset);
                }
                self.block(blocked, now);
            }
            Reply::Blocked(partitions) => self.block(partitions, now),
            Reply::HaltSet | Reply::Invalidated => {}
            Reply::Lost => return Some(self.on_lost(None)),
            Reply::Rejected(events) => {
                return Some(self.on_rejected(events.into_iter().map(|event| (event.stamp, event.message))));
            }
        }
        None
    }

    fn block(&mut self, partitions: Vec<i32>, now: Instant) {
        for partition in partitions {
            self.on_blocked(partition, now + BLOCKED_PAUSE);
        }
    }

    /// What the writer has to do besides batches: before partitions can be read, and of those that are not to be.
    pub(crate) fn next_task(
        &mut self,
        topic: &str,
        view: &LogView,
        stored: &ProgressView,
        now: Instant,
    ) -> Option<Task> {
        if let Some((fence, _)) = self.take_openings(now) {
            // Those that somebody else has, too: of a partition without a row nothing can be proved, and nobody would know
            // what was lost of it unrecorded.
            let opening = TopicOpening {
                topic: topic.to_owned(),
                log_id: view.log_id.clone(),
                partition_count: view.partition_count(),
                low_watermarks: view.watermarks().map(|(partition, log)| (partition, log.low)).collect(),
            };
            return Some(Task::Open { fence, opening });
        }
        if let Some((fence, from, moved)) = self.take_move() {
            let relocation = Relocation {
                topic: topic.to_owned(),
                from,
                to: moved.to,
                lost_range: moved.lost_range,
                partition_count: moved.recount.then(|| view.partition_count()),
            };
            return Some(Task::Relocate { fence, relocation });
        }
        let (at, halt) = self.take_halt(stored, now)?;
        Some(Task::SetHalt(HaltFinding { topic: topic.to_owned(), at, halt }))
    }
}

/// Notices a database that was restored from a backup: it stands below what was stored, and on a quiet log no batch runs
/// into that.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Stored progress lay below what this recorder stored when it was read at this moment; no batch was in flight since.
    below_at: Option<Instant>,
}

impl Restored {
    /// The writer has done something.
    pub(crate) fn on_reply(&mut self) {
        self.below_at = None;
    }

    /// Compares with progress as it was read last; to be asked only while nothing is in flight. Says once that it stands
    /// below what was stored.
    pub(crate) fn is_seen(&mut self, assignment: &Assignment, stored: &ProgressView) -> bool {
        let below = assignment.stands_above(&stored.progress);
        match self.below_at {
            _ if !below => self.below_at = None,
            None => self.below_at = Some(stored.read_at),
            // The first may have been on its way while the last batch was stored; this one was not.
            Some(first) if first < stored.read_at => {
                self.below_at = None;
                return true;
            }
            Some(_) => {}
        }
        false
    }
}

/// Notices that nobody records: this recorder has no partition, the log does not end where progress stands, and progress
/// does not move. A group whose partitions were dealt out while the topic was not there deals them out no more.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded {
    /// Progress as it has stood since this moment.
    standing: Option<(Vec<Progress>, Instant)>,
    /// How often it was said in vain.
    said: u32,
}

impl Unrecorded {
    /// To be asked now and then. Says so again after longer and longer.
    pub(crate) fn is_seen(
        &mut self,
        assignment: &Assignment,
        view: &LogView,
        stored: &ProgressView,
        now: Instant,
    ) -> bool {
        let ends_elsewhere = |(partition, log): (i32, Watermarks)| {
            let at = stored.of(partition).map(|at| at.next_offset);
            at != Some(log.high) && !stored.halts.contains_key(&partition)
        };
        // Brokers and a database that do not answer are no reason for another client.
        let is_new = [stored.read_at, view.listed_at].iter().all(|at| now.saturating_duration_since(*at) < LATELY);
        if assignment.has_partitions() || !is_new || !view.watermarks().any(ends_elsewhere) {
            *self = Self::default();
            return false;
        }
        match &self.standing {
            Some((progress, since)) if *progress == stored.progress => {
                let patience = FIRST_PATIENCE.saturating_mul(1 << self.said.min(8)).min(LAST_PATIENCE);
                let is_seen = now.saturating_duration_since(*since) >= patience;
                if is_seen {
                    (self.standing, self.said) = (None, self.said + 1);
                }
                is_seen
            }
            _ => {
                self.standing = Some((stored.progress.clone(), now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        config::{OnLogGap, OnLogRegression},
        log::{Policies, view::Compaction},
    };

    fn stored(next_offset: i64, read_at: Instant) -> ProgressView {
        let row = Progress { partition: 0, log_id: "log".into(), generation: 0, next_offset, last_record: None };
        ProgressView { progress: vec![row], partition_count: None, halts: BTreeMap::new(), read_at }
    }

    #[test]
    fn a_recorder_without_partitions_notices_that_nobody_records() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let watermarks = Some(Watermarks { low: 0, high: 7, queried_at: start });
        let view = LogView {
            log_id: "log".into(),
            partitions: BTreeMap::from([(0, watermarks)]),
            listed_at: start,
            compaction: Some(Compaction::Off),
        };
        let policies = Policies { on_gap: OnLogGap::Halt, on_regression: OnLogRegression::Halt };
        let mut assignment = Assignment::new(policies, 0);
        let mut unrecorded = Unrecorded::default();
        let mut seen_at = |assignment: &Assignment, next_offset, seconds| {
            let view = LogView { listed_at: after(seconds), ..view.clone() };
            unrecorded.is_seen(assignment, &view, &stored(next_offset, after(seconds)), after(seconds))
        };
        let quiet: Vec<u64> = (0..90).filter(|second| seen_at(&assignment, 7, *second)).collect();
        assert!(quiet.is_empty(), "everything is recorded");
        let moving: Vec<u64> =
            (100..190).filter(|second| seen_at(&assignment, -(*second as i64) / 10, *second)).collect();
        assert!(moving.is_empty(), "somebody records");
        let standing: Vec<u64> = (200..330).filter(|second| seen_at(&assignment, 9, *second)).collect();
        assert_eq!(standing, [220, 261], "later and later");
        assignment.on_assigned([0]);
        let ours: Vec<u64> = (400..490).filter(|second| seen_at(&assignment, 3, *second)).collect();
        assert!(ours.is_empty(), "that is for us to do");
        for (listed_at, read_at, seen) in [(625, 625, true), (604, 625, false), (625, 604, false)] {
            let (mut unrecorded, nobody) = (Unrecorded::default(), Assignment::new(policies, 0));
            let mut seen_at = |listed_at, read_at, seconds| {
                let view = LogView { listed_at: after(listed_at), ..view.clone() };
                unrecorded.is_seen(&nobody, &view, &stored(3, after(read_at)), after(seconds))
            };
            assert!(!seen_at(600, 600, 600));
            assert_eq!(seen_at(listed_at, read_at, 625), seen, "what is old says nothing of now");
        }
    }
}
