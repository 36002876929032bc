//! The recorder of one instance: the real decisions, and what thread and writer would perform of them.

use std::{collections::VecDeque, sync::Arc};

use super::{
    broker::{Consumer, Group, Polled},
    database::{Answer, Ask},
    instance::Clock,
    rules::{Rule, Switches},
    topic::{Record, TOPIC, Topic},
};
use crate::{
    domain::Halts,
    log::{
        Policies,
        hand_over::{Original, Taker},
        kafka::record::OwnedRecord,
        progress::ProgressView,
        view::LogView,
    },
    recorder::{
        MAX_TASKS,
        assignment::Assignment,
        batch::{RefusedRecord, Work},
        in_flight::InFlight,
        scheduler::{Restored, Taken},
        write_task::{Next, Reply, Task, WriteTask},
    },
    store::{DeadLetter, StoreError},
};
use rand::{Rng, rngs::SmallRng, seq::IteratorRandom};

/// Thread and writer of the recorder.
pub(super) struct Recorder {
    assignment: Assignment,
    in_flight: InFlight,
    consumer: Consumer,
    taker: Taker,
    /// The group's generation whose partitions it has.
    generation: u64,
    restored: Restored,
    unanswered: usize,
    gathered: bool,
    /// Records that were taken over from the fanout.
    pub(super) taken_over: u64,
    pub(super) halts: Halts,
    tasks: VecDeque<Vec<Task>>,
    replies: VecDeque<Vec<Reply>>,
    /// What the writer has in flight.
    sides: Vec<Side>,
    off: Option<Rule>,
    /// DeadLetters that were sent and that nobody waits for.
    unacknowledged: Vec<(i32, i64)>,
}

/// One of the tasks that are done side by side.
struct Side {
    write_task: WriteTask,
    phase: Phase,
}

enum Phase {
    Busy,
    /// It waits for the answer to this call.
    Asked(u64),
    /// It waits before it tries again.
    Pausing(u64),
    Done(Reply),
}

impl Original for Arc<Record> {
    fn place(&self) -> (i32, i64) {
        (self.stamp.partition, self.stamp.offset)
    }

    fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }

    fn digest(&self) -> u64 {
        self.digest
    }

    fn copy(&self) -> OwnedRecord {
        Record::copy(self)
    }
}

/// What the thread needs to see of the world.
pub(super) struct Surroundings<'a> {
    pub(super) topic: &'a Topic,
    pub(super) group: &'a mut Group,
    pub(super) view: Option<&'a Arc<LogView>>,
    pub(super) progress: Option<&'a Arc<ProgressView>>,
    pub(super) broker: bool,
    pub(super) clock: Clock,
    pub(super) rng: &'a mut SmallRng,
}

impl Recorder {
    pub(super) fn new(policies: Policies, switches: &Switches, taker: Taker) -> Self {
        let mut assignment = Assignment::new(policies, 0);
        assignment.rules = switches.log;
        Self {
            assignment,
            in_flight: InFlight::default(),
            consumer: Consumer::default(),
            taker,
            generation: 0,
            restored: Restored::default(),
            unanswered: 0,
            gathered: false,
            taken_over: 0,
            halts: Halts::new(),
            tasks: VecDeque::new(),
            replies: VecDeque::new(),
            sides: Vec::new(),
            off: switches.off,
            unacknowledged: Vec::new(),
        }
    }

    /// The topic is another one now.
    pub(super) fn silence(&mut self) {
        self.consumer.silence();
    }

    fn invalidate(&mut self, invalid: Option<u64>) {
        if let Some(invalid) = invalid {
            self.in_flight.invalidate(invalid);
        }
    }

    /// One round of the thread. Whether a newer look at the log is asked for.
    pub(super) fn step(&mut self, fence: usize, news: bool, most: usize, around: &mut Surroundings<'_>) -> bool {
        let now = around.clock.instant();
        let mut look_now = false;
        while let Some(replies) = self.replies.pop_front() {
            self.unanswered -= 1;
            self.restored.on_reply();
            for reply in replies {
                look_now |= matches!(reply, Reply::Opened { .. });
                if let Reply::Applied { positions, .. } = &reply {
                    around.group.committed.extend(positions.iter().copied());
                }
                let invalid = self.assignment.on_reply(reply, now);
                self.invalidate(invalid);
            }
        }
        if let Some(view) = around.view.filter(|_| news) {
            let invalid = self.assignment.on_log(view);
            self.invalidate(invalid);
            self.halts = self.assignment.halts();
        }
        if let (Some(view), Some(stored)) = (around.view, around.progress) {
            while self.unanswered < MAX_TASKS
                && let Some(task) = self.assignment.next_task(TOPIC, view, stored, now)
            {
                self.give(vec![task]);
            }
        }
        if let Some(places) = self.assignment.take_places() {
            self.consumer.assign(places);
        }
        self.take_over(most * 2, around);
        self.read(fence, most, around);
        if around.rng.random_bool(0.3) {
            self.tick(around);
        }
        if self.unanswered < MAX_TASKS && (!self.gathered || around.rng.random_bool(0.5)) {
            self.hand_over(around.rng.random_range(1..4));
        }
        look_now
    }

    fn give(&mut self, tasks: Vec<Task>) {
        self.in_flight.started();
        self.unanswered += 1;
        self.tasks.push_back(tasks);
    }

    fn hand_over(&mut self, large: usize) {
        let work = Work::take(TOPIC, self.assignment.reading());
        self.gathered = false;
        if let Some(work) = work {
            self.give(work.divide(large).into_iter().map(Task::Apply).collect());
        }
    }

    fn read(&mut self, fence: usize, most: usize, around: &mut Surroundings<'_>) {
        if !around.broker {
            return;
        }
        if self.generation != around.group.generation {
            self.generation = around.group.generation;
            let invalid = self.assignment.on_revoked();
            self.in_flight.invalidate(invalid);
            self.assignment.on_assigned(around.group.assigned_to(fence));
            self.consumer.assign([]);
            return;
        }
        for _ in 0..most {
            let first = around.rng.random_range(0..8);
            match self.consumer.poll(around.topic, first) {
                Some(Polled::Record(record)) => self.take(&record, around.topic),
                Some(Polled::End(partition)) => self.assignment.on_end_of_partition(partition),
                Some(Polled::OutOfRange) => {
                    let pause = std::time::Duration::from_secs(1);
                    let invalid = self.assignment.on_lost(Some(around.clock.instant() + pause));
                    self.in_flight.invalidate(invalid);
                    return;
                }
                None => return,
            }
        }
    }

    fn take_over(&mut self, room: usize, around: &Surroundings<'_>) {
        let versions = around.progress.zip(around.view);
        let accepts = versions.is_some_and(|(stored, view)| stored.accepts_unversioned(view.partition_count()));
        let taken = self.assignment.take_over(&mut self.taker, accepts, room);
        self.taken_over += taken.records as u64;
        self.gathered |= taken.records > 0;
    }

    fn take(&mut self, record: &Record, topic: &Topic) {
        let stamp = record.stamp;
        let decode = |epoch| {
            let event = topic.decode(record, epoch)?;
            Ok(crate::domain::decode::Decoded { event, occurred_at_unreadable: false })
        };
        let keep = || record.copy();
        let taken = self.assignment.take((stamp.partition, stamp.offset), record.digest, decode, keep);
        self.gathered |= taken != Taken::Passed;
    }

    fn tick(&mut self, around: &Surroundings<'_>) {
        for (partition, offset) in self.consumer.positions() {
            self.assignment.on_position(partition, offset);
        }
        if let Some(view) = around.view {
            let ends = view.watermarks().map(|(partition, log)| (partition, log.high)).collect();
            self.assignment.notice_silence(&ends, around.clock.instant());
        }
        if let Some(stored) = around.progress.filter(|_| self.unanswered == 0)
            && self.restored.is_seen(&self.assignment, stored)
        {
            let invalid = self.assignment.on_lost(None);
            self.in_flight.invalidate(invalid);
        }
    }

    // ── the writer ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// What the writer does next: may ask the database. `kept` is the dead-letter topic; `delivers`: whether it takes
    /// what comes now. The answer says which side asks.
    pub(super) fn write(
        &mut self,
        now: u64,
        delivers: bool,
        kept: &mut Vec<(i32, i64)>,
        rng: &mut SmallRng,
    ) -> Option<(usize, Ask)> {
        if self.sides.is_empty() {
            kept.append(&mut self.unacknowledged);
            let tasks = self.tasks.pop_front()?;
            self.sides =
                tasks.into_iter().map(|task| Side { write_task: WriteTask::new(task), phase: Phase::Busy }).collect();
        }
        let ready = self.sides.iter_mut().enumerate().filter(|(_, side)| side.is_ready(now));
        let (fence, side) = ready.choose(rng)?;
        side.phase = Phase::Busy;
        let ask = match side.write_task.next(&self.in_flight) {
            Next::Done(reply) => {
                side.phase = Phase::Done(reply);
                self.done();
                return None;
            }
            Next::Deliver(refused) => {
                let (dead_letters, mut names) = dead_letters(refused);
                let delivered = if self.off == Some(Rule::DeadLetterFirst) {
                    self.unacknowledged.append(&mut names);
                    Some(dead_letters)
                } else if delivers {
                    kept.append(&mut names);
                    Some(dead_letters)
                } else {
                    // Some got through, and nobody knows which.
                    names.truncate(names.len() / 2);
                    kept.append(&mut names);
                    None
                };
                side.write_task.on_delivery(delivered, &self.in_flight);
                return None;
            }
            Next::Open(opening) => Ask::Open(opening.clone()),
            Next::Relocate(relocation) => Ask::Relocate(relocation.clone()),
            Next::SetHalt(finding) => Ask::SetHalt(finding.clone()),
            Next::Apply(batch) => Ask::Apply(batch.clone()),
        };
        Some((fence, ask))
    }

    /// This side has asked, under this fence.
    pub(super) fn on_asked(&mut self, side: usize, call: u64) {
        self.sides[side].phase = Phase::Asked(call);
    }

    /// The database answered the writer.
    pub(super) fn on_answer(&mut self, call: u64, answer: Answer, clock: Clock, committed: &Group, rng: &mut SmallRng) {
        let asked = |side: &&mut Side| matches!(side.phase, Phase::Asked(asked) if asked == call);
        let Some(side) = self.sides.iter_mut().find(asked) else { return };
        let answer = match answer {
            Answer::Opened(opened) => side.write_task.on_opened(opened, clock.instant()),
            Answer::Relocated(relocated) => side.write_task.on_relocated(relocated),
            Answer::HaltSet(set) => side.write_task.on_halt_set(set),
            Answer::Applied(applied) => match side.write_task.on_applied(applied, &self.in_flight).transpose() {
                Some(answer) => answer,
                None => {
                    side.phase = Phase::Busy;
                    return;
                }
            },
            Answer::Progress(_) | Answer::Snapshot(_) => return,
        };
        match answer {
            Ok(mut reply) => {
                if let (Reply::Opened { progress, .. }, Some(Rule::PositionsFromSql)) = (&mut reply, self.off) {
                    for row in progress {
                        row.next_offset = committed.committed.get(&row.partition).copied().unwrap_or(0);
                    }
                }
                side.phase = Phase::Done(reply);
                self.done();
            }
            Err(StoreError::Unavailable(_) | StoreError::Contended | _) => {
                self.in_flight.set_failing(true);
                side.phase = Phase::Pausing(clock.now + rng.random_range(50..3_000));
            }
        }
    }

    /// Replies once all sides are done.
    fn done(&mut self) {
        if !self.sides.iter().all(|side| matches!(side.phase, Phase::Done(_))) {
            return;
        }
        self.in_flight.set_failing(false);
        let replies = self.sides.drain(..).filter_map(|side| match side.phase {
            Phase::Done(reply) => Some(reply),
            _ => None,
        });
        self.replies.push_back(replies.collect());
        self.in_flight.finished();
    }
}

impl Side {
    fn is_ready(&self, now: u64) -> bool {
        match self.phase {
            Phase::Busy => true,
            Phase::Pausing(until) => until <= now,
            Phase::Asked(_) | Phase::Done(_) => false,
        }
    }
}

/// Rows of dead letters, and which records they are.
fn dead_letters(refused: &[RefusedRecord]) -> (Vec<DeadLetter>, Vec<(i32, i64)>) {
    let dead_letter = |refused: &RefusedRecord| DeadLetter {
        offset: refused.record.offset,
        code: refused.refusal.code.as_str(),
        message: refused.refusal.message.clone(),
        timestamp_millis: None,
        key: refused.record.key.clone(),
        held_record: None,
    };
    let name = |refused: &RefusedRecord| (refused.record.partition, refused.record.offset);
    (refused.iter().map(dead_letter).collect(), refused.iter().map(name).collect())
}
