//! The database of all instances, by the rules of the store: each statement is one step, a transaction changes all or
//! nothing. And the auditor who reads along: what is recorded must be the log, each record once.

use std::{collections::BTreeMap, time::Duration};

use super::{
    flaws::{Flaw, Flaws},
    rules::Rule,
    topic::{LOG_ID, Topic},
};
use crate::{
    domain::{
        Epoch, Halt, History, Known, OrderId, Position, Progress, Snapshot, SnapshotQuery, Verdict, decode::RefusalCode,
    },
    store::{
        Applied, Batch, HaltFinding, PartitionBatch, ProgressReading, RefusedRecord, RejectedEvent, Relocation,
        StoreError, TopicOpening,
        plan::{check_positions, unordered_event},
    },
};

/// Rows, progress and dead letters.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) rows: BTreeMap<OrderId, History>,
    pub(super) progress: BTreeMap<i32, Progress>,
    partition_count: Option<i32>,
    halts: BTreeMap<i32, Halt>,
    refused: Vec<RefusedRecord>,
    last_dead_letter: i64,
    /// Where partitions went on behind lost records.
    lost: BTreeMap<i32, Position>,
    /// Which stretches of which logs were recorded, in the order of their commits.
    journal: Vec<Stretch>,
}

/// Records of one partition that were recorded together.
#[derive(Debug, Clone)]
struct Stretch {
    partition: i32,
    epoch: Epoch,
    from: i64,
    to: i64,
    /// The records that became dead letters because their order is known from another partition.
    unordered: Vec<i64>,
}

/// What is asked of the database.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Open(TopicOpening),
    Relocate(Relocation),
    SetHalt(HaltFinding),
    Apply(Batch),
    Progress(i64),
    Snapshot(SnapshotQuery),
}

/// What it says.
#[derive(Debug)]
pub(super) enum Answer {
    Opened(Result<Vec<Progress>, StoreError>),
    Relocated(Result<(), StoreError>),
    HaltSet(Result<(), StoreError>),
    Applied(Result<Applied, StoreError>),
    Progress(Result<ProgressReading, StoreError>),
    Snapshot(Result<Snapshot, StoreError>),
}

/// The connection broke, or nothing was heard for too long.
pub(super) fn unavailable() -> StoreError {
    StoreError::no_answer(Duration::from_secs(5))
}

impl Ask {
    /// What who asked hears when there is no answer.
    pub(super) fn unanswered(&self) -> Answer {
        match self {
            Self::Open(_) => Answer::Opened(Err(unavailable())),
            Self::Relocate(_) => Answer::Relocated(Err(unavailable())),
            Self::SetHalt(_) => Answer::HaltSet(Err(unavailable())),
            Self::Apply(_) => Answer::Applied(Err(unavailable())),
            Self::Progress(_) => Answer::Progress(Err(unavailable())),
            Self::Snapshot(_) => Answer::Snapshot(Err(unavailable())),
        }
    }
}

impl Database {
    /// Executes one statement. `torn`: where rows and progress were two transactions, only the first is committed.
    pub(super) fn execute(&mut self, ask: &Ask, topic: &Topic, off: Option<Rule>, torn: bool) -> Answer {
        match ask {
            Ask::Open(opening) => Answer::Opened(Ok(self.open(opening))),
            Ask::Relocate(relocation) => Answer::Relocated(self.relocate(relocation)),
            Ask::SetHalt(finding) => {
                if off != Some(Rule::HaltsInSql) {
                    self.set_halt(finding);
                }
                Answer::HaltSet(Ok(()))
            }
            Ask::Apply(batch) => Answer::Applied(self.apply(batch, topic, off, torn)),
            Ask::Progress(after) => Answer::Progress(Ok(self.read(*after))),
            Ask::Snapshot(query) => Answer::Snapshot(Ok(self.snapshot(query))),
        }
    }

    fn open(&mut self, opening: &TopicOpening) -> Vec<Progress> {
        self.partition_count.get_or_insert(opening.partition_count);
        for (partition, low) in &opening.low_watermarks {
            self.progress.entry(*partition).or_insert_with(|| Progress {
                partition: *partition,
                log_id: opening.log_id.clone(),
                generation: 0,
                next_offset: *low,
                last_record: None,
            });
        }
        self.progress.values().cloned().collect()
    }

    fn set_halt(&mut self, finding: &HaltFinding) {
        let partition = finding.at.partition;
        if self.progress.get(&partition) == Some(&finding.at) {
            self.halts.remove(&partition);
            self.halts.extend(finding.halt.map(|halt| (partition, halt)));
        }
    }

    fn relocate(&mut self, relocation: &Relocation) -> Result<(), StoreError> {
        let partition = relocation.from.partition;
        if self.progress.get(&partition) != Some(&relocation.from) {
            return Err(StoreError::LostPartition { partition });
        }
        self.progress.insert(partition, relocation.to.clone());
        self.halts.remove(&partition);
        if let Some((_, next_offset)) = relocation.lost_range {
            self.lost.insert(partition, Position { partition, epoch: relocation.from.epoch(), next_offset });
        }
        Ok(())
    }

    fn apply(&mut self, batch: &Batch, topic: &Topic, off: Option<Rule>, torn: bool) -> Result<Applied, StoreError> {
        if off != Some(Rule::CompareAndSet) {
            let stored: Vec<Progress> = self.progress.values().cloned().collect();
            check_positions(batch, &stored)?;
        }
        let rejected: Vec<RejectedEvent> = batch
            .partitions
            .iter()
            .flat_map(|part| &part.events)
            .filter(|event| topic.record(event.stamp).is_some_and(|record| record.rejected))
            .map(|event| RejectedEvent { stamp: event.stamp, message: "refused".to_owned() })
            .collect();
        if !rejected.is_empty() {
            return Err(StoreError::Rejected(rejected));
        }
        let (mut rows, mut unordered) = (self.rows.clone(), Vec::new());
        for event in batch.partitions.iter().flat_map(|part| &part.events) {
            let before = rows.remove(&event.order_id);
            let known_from = before.as_ref().map(|history| history.known.stamp());
            let (history, verdict) = History::fold(before, event, |_| true);
            rows.extend(history.map(|history| (event.order_id.clone(), history)));
            if let (Verdict::Unordered, Some(known_from)) = (verdict, known_from) {
                unordered.push(unordered_event(event.stamp, known_from));
            }
        }
        if !unordered.is_empty() {
            return Err(StoreError::Unordered(unordered));
        }
        self.rows = rows;
        if torn && off == Some(Rule::OneTransaction) {
            return Err(unavailable());
        }
        for part in &batch.partitions {
            self.record(part);
        }
        Ok(Applied::default())
    }

    fn record(&mut self, part: &PartitionBatch) {
        let epoch = part.epoch();
        self.halts.remove(&part.partition);
        if let Some(progress) = self.progress.get_mut(&part.partition) {
            progress.next_offset = part.next_offset;
            progress.last_record = part.last_record.or(progress.last_record);
        }
        for dead_letter in &part.dead_letters {
            self.last_dead_letter += 1;
            if [RefusalCode::RejectedByStore, RefusalCode::Unordered]
                .map(RefusalCode::as_str)
                .contains(&dead_letter.code)
            {
                let (id, partition, offset) = (self.last_dead_letter, part.partition, dead_letter.offset);
                self.refused.push(RefusedRecord { id, epoch, partition, offset });
            }
        }
        let (partition, from, to) = (part.partition, part.read_from, part.next_offset);
        let dead_letters =
            part.dead_letters.iter().filter(|dead_letter| dead_letter.code == RefusalCode::Unordered.as_str());
        let unordered = dead_letters.map(|dead_letter| dead_letter.offset).collect();
        self.journal.push(Stretch { partition, epoch, from, to, unordered });
    }

    fn read(&self, after: i64) -> ProgressReading {
        ProgressReading {
            progress: self.progress.values().cloned().collect(),
            partition_count: self.partition_count,
            dead_letters: self.refused.iter().filter(|refused| refused.id > after).copied().collect(),
            last_dead_letter: self.last_dead_letter,
            lost: self.lost.values().copied().collect(),
            halts: self.halts.clone(),
        }
    }

    fn snapshot(&self, query: &SnapshotQuery) -> Snapshot {
        let answers = self.rows.iter().filter(|(order_id, history)| {
            let listed = |state: &_| query.lists_state(state) && query.lists().any(|part| state.names(&part.user));
            query.orders.contains(order_id) || history.known.order().is_some_and(|state| listed(state))
        });
        let histories = answers.map(|(order_id, history)| (order_id.clone(), history.clone())).collect();
        Snapshot::new(query, self.progress.values().map(Progress::position).collect(), histories)
    }

    /// Whether every partition stands at its end.
    pub(super) fn has_recorded_all(&self, topic: &Topic) -> bool {
        topic.partitions.iter().enumerate().all(|(partition, log)| {
            let at = self.progress.get(&(partition as i32));
            at.is_some_and(|at| at.next_offset == log.high() && at.generation as usize == log.life)
        })
    }

    /// What the rows must be: the fold of the stretches that were recorded.
    pub(super) fn judge(&self, topic: &Topic, flaws: &mut Flaws) {
        let mut ends: BTreeMap<(i32, u64), i64> = BTreeMap::new();
        let mut rows: BTreeMap<OrderId, History> = BTreeMap::new();
        for Stretch { partition, epoch, from, to, unordered } in &self.journal {
            let Some(life) = topic.life_of(*epoch) else {
                flaws.push((Flaw::Recorded, format!("an epoch of no log: {epoch:?}")));
                continue;
            };
            // Only a log that expired unread has a gap.
            let low = topic.partitions[*partition as usize].low_of(life);
            let end = ends.insert((*partition, epoch.0), *to).unwrap_or(0);
            if *from != end && !(*from > end && *from <= low) {
                flaws.push((
                    Flaw::Recorded,
                    format!("{partition}: {from}..{to} follows {end}, the log begins at {low}"),
                ));
            }
            let log = topic.partitions[*partition as usize].log(life);
            let Some(stretch) = log.get(*from as usize..*to as usize) else {
                flaws.push((Flaw::Recorded, format!("{partition}: {from}..{to} of a log that ends at {}", log.len())));
                continue;
            };
            for record in stretch.iter().flatten().filter(|record| !record.rejected) {
                let Ok(event) = &record.event else { continue };
                let (history, verdict) = History::fold(rows.remove(&event.order_id), event, |_| true);
                rows.extend(history.map(|history| (event.order_id.clone(), history)));
                if unordered.contains(&record.stamp.offset) != matches!(verdict, Verdict::Unordered) {
                    flaws.push((
                        Flaw::DeadLetter,
                        format!("{:?} is {verdict:?}, a dead letter: {unordered:?}", record.stamp),
                    ));
                }
            }
        }
        let shape = |history: &History| {
            (history.known.stamp(), matches!(history.known, Known::Erased(_)), history.timeline.clone())
        };
        for order in &topic.orders {
            let (is, should) = (self.rows.get(order).map(shape), rows.get(order).map(shape));
            if is != should {
                flaws.push((Flaw::Rows, format!("{order} is {is:?}, the log says {should:?}")));
            }
        }
        for (partition, progress) in &self.progress {
            let end = ends.get(&(*partition, progress.epoch().0));
            let (at, low) = (progress.next_offset, topic.partitions[*partition as usize].low);
            if progress.log_id != LOG_ID || end.is_some_and(|end| *end != at && !(*end < at && at <= low)) {
                flaws.push((Flaw::Recorded, format!("{progress:?}, recorded to {end:?}")));
            }
        }
    }

    /// Whether what a batch brought is exactly what stands in the log, and its dead letters have been kept before.
    pub(super) fn judge_batch(batch: &Batch, topic: &Topic, kept: &[(i32, i64)], flaws: &mut Flaws) {
        for part in &batch.partitions {
            let Some(life) = topic.life_of(part.epoch()) else { continue };
            let log = topic.partitions[part.partition as usize].log(life);
            let Some(stretch) = log.get(part.read_from as usize..part.next_offset as usize) else {
                flaws.push((Flaw::Recorded, format!("beyond the end of the log: {part:?}")));
                continue;
            };
            let unordered = |offset| {
                let mut dead_letters = part.dead_letters.iter();
                dead_letters.any(|dead_letter| {
                    dead_letter.offset == offset && dead_letter.code == RefusalCode::Unordered.as_str()
                })
            };
            let (bad, good): (Vec<_>, Vec<_>) =
                stretch.iter().flatten().partition(|record| record.is_bad() || unordered(record.stamp.offset));
            let brought = part.events.iter().map(|event| event.stamp.offset);
            if !brought.eq(good.iter().map(|record| record.stamp.offset)) {
                flaws.push((Flaw::Recorded, format!("not what stands in the log: {part:?}")));
            }
            for record in bad {
                let offset = record.stamp.offset;
                let has_row = part.dead_letters.iter().any(|dead_letter| dead_letter.offset == offset);
                if !has_row || !kept.contains(&(part.partition, offset)) {
                    flaws
                        .push((Flaw::DeadLetter, format!("{:?} was not kept before progress passed it", record.stamp)));
                }
            }
        }
    }
}
