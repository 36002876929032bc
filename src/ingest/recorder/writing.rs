//! What the writer does with a task. Pure: it is asked what comes next, and told what store and dead-letter
//! topic said to it.
//!
//! ```text
//!   Apply ─► dead letters, partition by partition ─► one transaction ─► reply
//! ```

use std::time::Instant;

use super::{
    batch::{RefusedRecord, Work},
    hand::Hand,
};
use crate::{
    event::decode::RefusalCode,
    store::{Applied, Batch, DeadLetter, HaltFinding, Progress, RejectedEvent, Relocation, StoreError, TopicOpening},
};

/// What the thread asks for.
#[derive(Debug)]
pub(crate) enum Task {
    /// Make progress rows where they are missing, and read them.
    Open { number: u64, opening: TopicOpening },
    /// Move progress.
    Relocate { number: u64, relocation: Relocation },
    /// Say whether a partition is halted.
    SetHalt(HaltFinding),
    /// Apply a batch.
    Apply(Work),
}

/// What became of a task; every task gets one.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Progress as it is.
    Opened { number: u64, progress: Vec<Progress>, read_at: Instant },
    /// Progress of this partition has moved, by this task or by somebody else.
    Relocated { partition: i32, lost_range: bool },
    /// Whether the partition is halted is known to all.
    HaltSet,
    /// The batch is stored, but for the parts that could not be delivered as dead letters.
    Applied { positions: Vec<(i32, i64)>, applied: Applied, dead_letters: Vec<RefusalCode>, blocked: Vec<i32> },
    /// None of the dead letters could be delivered, and there was nothing else.
    Blocked(Vec<i32>),
    /// It was taken back before it was done.
    Void,
    /// Somebody else moved a partition on, or an answer to a commit was lost: nobody knows how far progress is.
    Lost,
    /// The store refused these events.
    Rejected(Vec<RejectedEvent>),
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// Ask the store, and tell [`Writing::on_opened`].
    Open(&'a TopicOpening),
    /// Ask the store, and tell [`Writing::on_relocated`].
    Relocate(&'a Relocation),
    /// Ask the store, and tell [`Writing::on_halt_set`].
    SetHalt(&'a HaltFinding),
    /// Deliver these records of one partition, and tell [`Writing::on_delivery`].
    Deliver(&'a [RefusedRecord]),
    /// Ask the store, and tell [`Writing::on_applied`].
    Apply(&'a Batch),
    /// The task is done with.
    Done(Reply),
}

/// A task under way.
#[derive(Debug)]
pub(crate) struct Writing {
    task: Task,
    /// The dead letters that were delivered, and the partitions of those that were not.
    delivered: Vec<RefusalCode>,
    undelivered: Vec<i32>,
}

impl Writing {
    /// Begins a task.
    pub(crate) fn new(task: Task) -> Self {
        Self { task, delivered: Vec::new(), undelivered: Vec::new() }
    }

    /// What is to be done next; to be asked again after each answer that was an error.
    pub(crate) fn next(&mut self, hand: &Hand) -> Next<'_> {
        let Self { task, undelivered, .. } = self;
        match task {
            Task::Open { number, opening } if !hand.is_void(*number) => Next::Open(opening),
            Task::Relocate { number, relocation } if !hand.is_void(*number) => Next::Relocate(relocation),
            Task::Apply(work) => {
                work.drop_void(|partition, number| hand.is_part_void(partition, number));
                if let Some(refused) = work.refused.values().next() {
                    Next::Deliver(refused)
                } else if !work.is_empty() {
                    Next::Apply(&work.batch)
                } else if undelivered.is_empty() {
                    Next::Done(Reply::Void)
                } else {
                    Next::Done(Reply::Blocked(std::mem::take(undelivered)))
                }
            }
            // Never void: the store heeds it only where the partition still stands there.
            Task::SetHalt(finding) => Next::SetHalt(finding),
            Task::Open { .. } | Task::Relocate { .. } => Next::Done(Reply::Void),
        }
    }

    /// The records that were to be delivered have been, as these letters; or not all of them, and the partition is to
    /// wait. Names the partition.
    pub(crate) fn on_delivery(&mut self, letters: Option<Vec<DeadLetter>>, hand: &Hand) -> Option<i32> {
        let Task::Apply(work) = &mut self.task else { return None };
        let (partition, refused) = work.refused.pop_first()?;
        match letters {
            Some(letters) => {
                self.delivered.extend(refused.iter().map(|refused| refused.refusal.code));
                let part = work.batch.partitions.iter_mut().find(|part| part.partition == partition);
                part.into_iter().for_each(|part| part.dead_letters.clone_from(&letters));
            }
            None => {
                let number = work.numbers.get(&partition).copied().unwrap_or_default();
                hand.block(partition, number);
                self.undelivered.push(partition);
            }
        }
        Some(partition)
    }

    /// The store has answered. An error: to be tried again after a pause; so with the others.
    pub(crate) fn on_opened(
        &mut self,
        opened: Result<Vec<Progress>, StoreError>,
        read_at: Instant,
    ) -> Result<Reply, StoreError> {
        let Task::Open { number, .. } = &self.task else { return Ok(Reply::Void) };
        opened.map(|progress| Reply::Opened { number: *number, progress, read_at })
    }

    /// The store has answered.
    pub(crate) fn on_relocated(&mut self, relocated: Result<(), StoreError>) -> Result<Reply, StoreError> {
        let Task::Relocate { relocation, .. } = &self.task else { return Ok(Reply::Void) };
        let partition = relocation.from.partition;
        match relocated {
            Ok(()) => Ok(Reply::Relocated { partition, lost_range: relocation.lost_range.is_some() }),
            Err(StoreError::LostPartition { .. }) => Ok(Reply::Relocated { partition, lost_range: false }),
            Err(error) => Err(error),
        }
    }

    /// The store has answered.
    pub(crate) fn on_halt_set(&mut self, set: Result<(), StoreError>) -> Result<Reply, StoreError> {
        set.map(|()| Reply::HaltSet)
    }

    /// The store has answered. Where nobody knows how far progress is now, all that was collected with it is void.
    pub(crate) fn on_applied(
        &mut self,
        applied: Result<Applied, StoreError>,
        hand: &Hand,
    ) -> Result<Reply, StoreError> {
        let Task::Apply(work) = &self.task else { return Ok(Reply::Void) };
        match applied {
            Ok(applied) => {
                let parts = work.batch.partitions.iter();
                Ok(Reply::Applied {
                    positions: parts.map(|part| (part.partition, part.next_offset)).collect(),
                    applied,
                    dead_letters: std::mem::take(&mut self.delivered),
                    blocked: std::mem::take(&mut self.undelivered),
                })
            }
            Err(StoreError::LostPartition { .. }) => {
                hand.void(work.highest_number());
                Ok(Reply::Lost)
            }
            Err(StoreError::Rejected(events)) => {
                hand.void(work.highest_number());
                Ok(Reply::Rejected(events))
            }
            Err(error) => Err(error),
        }
    }
}
