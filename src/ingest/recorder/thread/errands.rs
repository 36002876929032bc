//! What the recorder's thread has to do besides reading: hear the writer, look at the log, give the writer tasks.

use std::{collections::BTreeMap, time::Instant};

use rdkafka::consumer::Consumer;

use super::{Assignment, BLOCKED_PAUSE, MAX_TASKS, RecorderThread, Reply, Task};
use crate::{
    store::{Relocation, TopicOpening},
    telemetry::Metrics,
};

impl RecorderThread {
    /// Hears what became of tasks.
    pub(super) fn take_replies(&mut self) {
        while let Ok(reply) = self.replies.try_recv() {
            self.unanswered -= 1;
            self.restored_at = None;
            let (metrics, mut assignment) = (&self.parts.metrics, self.consumer.context().assignment());
            match reply {
                Reply::Opened { number, progress, read_at } => {
                    assignment.on_progress(number, &progress, read_at);
                    self.parts.look_now.ask();
                }
                Reply::Relocated { partition, lost_range } => {
                    metrics.dead_letters.lost_ranges.inc_by(u64::from(lost_range));
                    assignment.on_moved(partition);
                }
                Reply::Applied { positions, applied, dead_letters, blocked } => {
                    metrics.recorder.applied.inc_by(applied.applied);
                    metrics.recorder.late.inc_by(applied.late);
                    metrics.recorder.duplicate.inc_by(applied.duplicate);
                    metrics.recorder.conflict.inc_by(applied.conflict);
                    metrics.recorder.nothing_to_erase.inc_by(applied.nothing_to_erase);
                    metrics.recorder.kind_changed.inc_by(applied.kind_changed);
                    dead_letters.into_iter().for_each(|code| metrics.dead_letters.put_aside(code));
                    for (partition, next_offset) in positions {
                        assignment.on_applied(partition, next_offset);
                        self.uncommitted.insert(partition, next_offset);
                    }
                    block(&mut assignment, metrics, blocked);
                }
                Reply::Blocked(partitions) => block(&mut assignment, metrics, partitions),
                Reply::Void => {}
                Reply::Lost => self.hand.void(assignment.on_lost(None)),
                Reply::Rejected(events) => {
                    for event in &events {
                        tracing::error!(
                            kafka.partition = event.partition,
                            kafka.offset = event.offset,
                            error = event.message,
                            "the database refused an event that should have been refused before: dead letter"
                        );
                    }
                    let records = events.into_iter().map(|event| ((event.partition, event.offset), event.message));
                    self.hand.void(assignment.on_rejected(records));
                }
            }
        }
    }

    /// Acts on a new view of the log.
    pub(super) fn look(&mut self) {
        if !self.parts.log.has_changed().unwrap_or(false) {
            return;
        }
        self.view = self.parts.log.borrow_and_update().clone();
        let Some(view) = &self.view else { return };
        let mut assignment = self.consumer.context().assignment();
        if let Some(void) = assignment.on_log(view) {
            self.hand.void(void);
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
            self.parts.metrics.recorder.partitions_halted.set(halts.len() as i64);
            self.halts.send_replace(halts);
        }
        self.measure();
    }

    fn measure(&mut self) {
        let Some(view) = &self.view else { return };
        let metrics = &self.parts.metrics.recorder;
        metrics.kafka_up.set(i64::from(view.listed_at.elapsed() <= self.parts.stale_after));
        let mut assignment = self.consumer.context().assignment();
        let reading: BTreeMap<i32, i64> =
            assignment.reading().map(|(partition, _, collected)| (partition, collected.next_offset())).collect();
        for (partition, log) in view.watermarks() {
            match reading.get(&partition) {
                Some(next_offset) => metrics.set_lag(partition, (log.high - next_offset).max(0)),
                None => metrics.forget_lag(partition),
            }
        }
    }

    /// A database that was restored from a backup stands below what was stored, and on a quiet log no batch notices.
    pub(super) fn check_progress(&mut self) {
        let stored = self.parts.progress.borrow().clone().filter(|_| self.unanswered == 0);
        let Some(stored) = stored else { return };
        let mut assignment = self.consumer.context().assignment();
        let behind = assignment.stands_above(&stored.progress);
        match self.restored_at {
            _ if !behind => self.restored_at = None,
            None => self.restored_at = Some(stored.read_at),
            // The first may have been on its way while the last batch was stored; this one was not.
            Some(first) if first < stored.read_at => {
                tracing::warn!(
                    "progress lies below what was stored: the database was restored; recording again from there"
                );
                self.hand.void(assignment.on_lost(None));
                self.restored_at = None;
            }
            Some(_) => {}
        }
    }

    /// Asks the writer for what the assignment needs.
    pub(super) fn ask(&mut self) {
        let Some(view) = self.view.clone() else { return };
        // What versions without a field are worth has to be known before the first record.
        let Some(count) = self.parts.progress.borrow().as_ref().map(|progress| progress.partition_count) else {
            return;
        };
        self.accepts_unversioned = count.is_none_or(|first| first == view.partition_count());
        while self.has_room() {
            let mut assignment = self.consumer.context().assignment();
            let task = if let Some((number, partitions)) = assignment.take_openings(Instant::now()) {
                let low = view.watermarks().filter(|(partition, _)| partitions.contains(partition));
                let opening = TopicOpening {
                    topic: self.parts.topic.clone(),
                    log_id: view.log_id.clone(),
                    partition_count: view.partition_count(),
                    low_watermarks: low.map(|(partition, log)| (partition, log.low)).collect(),
                };
                Task::Open { number, opening }
            } else if let Some((number, from, moved)) = assignment.take_move() {
                tracing::warn!(
                    kafka.partition = from.partition,
                    from = from.next_offset,
                    to = moved.to.next_offset,
                    lost = moved.lost_range.map_or(0, |(from, to)| to - from),
                    "the log does not go on where the database stands: going on elsewhere, as the settings say"
                );
                let relocation = Relocation {
                    topic: self.parts.topic.clone(),
                    from,
                    to: moved.to,
                    lost_range: moved.lost_range,
                    partition_count: moved.recount.then(|| view.partition_count()),
                };
                Task::Relocate { number, relocation }
            } else {
                return;
            };
            drop(assignment);
            self.give(task);
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.unanswered < MAX_TASKS
    }

    pub(super) fn give(&mut self, task: Task) {
        self.hand.given();
        self.unanswered += 1;
        // There is room for every task that can be unanswered. A writer that is gone ends the process.
        if self.tasks.try_send(task).is_err() {
            self.hand.done();
        }
    }
}

fn block(assignment: &mut Assignment, metrics: &Metrics, partitions: Vec<i32>) {
    for partition in partitions {
        metrics.dead_letters.topic_failures.inc();
        assignment.on_blocked(partition, Instant::now() + BLOCKED_PAUSE);
    }
}
