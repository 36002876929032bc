//! What the recorder's thread has to do besides reading: hear the writer, look at the log, give the writer tasks.

use std::time::Instant;

use super::{MAX_TASKS, RecorderThread, Reply, Task, UNORDERED_INTERVAL};
use crate::{domain::Stamp, store::Relocation};

impl RecorderThread {
    /// Hears what became of tasks.
    pub(super) fn take_replies(&mut self) {
        while let Ok(replies) = self.replies.try_recv() {
            self.unanswered -= 1;
            self.busy_at = Instant::now();
            self.restored.on_reply();
            for reply in replies {
                self.note(&reply);
                if let Some(invalid) = self.assignment().on_reply(reply, Instant::now()) {
                    self.in_flight.invalidate(invalid);
                }
            }
        }
    }

    fn note(&mut self, reply: &Reply) {
        let metrics = &self.dependencies.metrics;
        match reply {
            Reply::Opened { .. } => self.dependencies.look_now.ask(),
            Reply::Relocated { lost_range, .. } => {
                metrics.dead_letters.lost_ranges.inc_by(u64::from(*lost_range));
            }
            Reply::Applied { positions, applied, dead_letters, unordered, blocked } => {
                metrics.recorder.applied.inc_by(applied.applied);
                metrics.recorder.late.inc_by(applied.late);
                metrics.recorder.duplicate.inc_by(applied.duplicate);
                metrics.recorder.conflict.inc_by(applied.conflict);
                metrics.recorder.nothing_to_erase.inc_by(applied.nothing_to_erase);
                metrics.recorder.kind_changed.inc_by(applied.kind_changed);
                metrics.version_jumps.inc_by(applied.jumped);
                dead_letters.iter().for_each(|code| metrics.dead_letters.count(*code));
                metrics.dead_letters.topic_failures.inc_by(blocked.len() as u64);
                unordered.iter().for_each(|_| metrics.recorder.partition_changed());
                self.uncommitted.extend(positions.iter().copied());
                self.tell_of_unordered(unordered);
            }
            Reply::Blocked(partitions) => drop(metrics.dead_letters.topic_failures.inc_by(partitions.len() as u64)),
            Reply::HaltSet | Reply::Invalidated | Reply::Lost => {}
            Reply::Rejected(events) => {
                for event in events {
                    tracing::error!(
                        kafka.partition = event.stamp.partition,
                        kafka.offset = event.stamp.offset,
                        error = event.message,
                        "the database refused an event that should have been refused before: dead letter"
                    );
                }
            }
        }
    }

    /// Says, not too often, that producers do not agree where an order belongs.
    fn tell_of_unordered(&mut self, unordered: &[Stamp]) {
        let Some(first) = unordered.first() else { return };
        let is_due = self.told_of_unordered_at.is_none_or(|at| at.elapsed() >= UNORDERED_INTERVAL);
        if is_due {
            self.told_of_unordered_at = Some(Instant::now());
            tracing::warn!(
                kafka.partition = first.partition,
                kafka.offset = first.offset,
                "an event without a version stands in another partition than its order: a dead letter, and others may be; \
                 all producers of a topic must share one partitioner"
            );
        }
    }

    /// Acts on a new view of the log.
    pub(super) fn look(&mut self) {
        if !self.dependencies.log.has_changed().unwrap_or(false) {
            return;
        }
        self.view = self.dependencies.log.borrow_and_update().clone();
        let Some(view) = &self.view else { return };
        let mut assignment = self.assignment();
        if let Some(invalid) = assignment.on_log(view) {
            self.in_flight.invalidate(invalid);
        }
        let halts = assignment.halts();
        drop(assignment);
        if *self.halts.borrow() != halts {
            for (partition, halt) in &halts {
                tracing::error!(
                    kafka.partition = partition,
                    reason = halt.stale_reason().as_str(),
                    "the log does not go on where the database stands: the partition is not recorded until somebody decides"
                );
            }
            self.dependencies.metrics.recorder.partitions_halted.set(halts.len() as i64);
            self.halts.send_replace(halts);
        }
        self.measure();
    }

    fn measure(&mut self) {
        let Some(view) = &self.view else { return };
        let is_up = view.listed_at.elapsed() <= self.dependencies.stale_after;
        self.dependencies.metrics.recorder.kafka_up.set(i64::from(is_up));
    }

    /// A database that was restored from a backup is recorded into again, from where it stands.
    pub(super) fn check_progress(&mut self) {
        let stored = self.dependencies.progress.borrow().clone().filter(|_| self.unanswered == 0);
        let Some(stored) = stored else { return };
        let mut assignment = self.reader.context().rebalance().assignment();
        if self.restored.is_seen(&assignment, &stored) {
            tracing::warn!(
                "progress lies below what was stored: the database was restored; recording again from there"
            );
            self.in_flight.invalidate(assignment.on_lost(None));
        }
    }

    /// Asks the writer for what the assignment needs.
    pub(super) fn ask(&mut self) {
        let Some(view) = self.view.clone() else { return };
        // What versions without a field are worth has to be known before the first record.
        let Some(stored) = self.dependencies.progress.borrow().clone() else { return };
        self.accepts_unversioned = stored.accepts_unversioned(view.partition_count());
        while self.has_room() {
            let now = Instant::now();
            let task = self.assignment().next_task(&self.dependencies.topic, &view, &stored, now);
            let Some(task) = task else { return };
            if let Task::Relocate { relocation: Relocation { from, to, lost_range, .. }, .. } = &task {
                tracing::warn!(
                    kafka.partition = from.partition,
                    from = from.next_offset,
                    to = to.next_offset,
                    lost = lost_range.map_or(0, |(from, to)| to - from),
                    "the log does not go on where the database stands: going on elsewhere, as the settings say"
                );
            }
            self.give(vec![task]);
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.unanswered < MAX_TASKS
    }

    pub(super) fn give(&mut self, tasks: Vec<Task>) {
        self.in_flight.started();
        self.unanswered += 1;
        // There is room for all that can be unanswered. A writer that is gone ends the process.
        if self.tasks.try_send(tasks).is_err() {
            self.in_flight.finished();
        }
    }
}
