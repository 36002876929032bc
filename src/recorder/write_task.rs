//! What the writer does with a task. Pure: it is asked what comes next, and told what store and dead-letter
//! topic said to it.
//!
//! ```text
//!   Apply ─► dead letters, partition by partition ─► one transaction ─► reply
//!                  ▲                                       │
//!                  └── what it calls unordered ◄───────────┘
//! ```

use std::{collections::BTreeMap, time::Instant};

use super::{
    batch::{RefusedRecord, Work},
    in_flight::InFlight,
};
use crate::{
    domain::{Progress, Stamp, decode::RefusalCode},
    store::{Applied, Batch, DeadLetter, HaltFinding, RejectedEvent, Relocation, StoreError, TopicOpening},
};

/// What the thread asks for.
#[derive(Debug)]
pub(crate) enum Task {
    /// Make progress rows where they are missing, and read them.
    Open { fence: u64, opening: TopicOpening },
    /// Move progress.
    Relocate { fence: u64, relocation: Relocation },
    /// Say whether a partition is halted.
    SetHalt(HaltFinding),
    /// Apply a batch.
    Apply(Work),
}

/// What became of a task; every task gets one.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Progress as it is.
    Opened { fence: u64, progress: Vec<Progress>, read_at: Instant },
    /// Progress of this partition has moved, by this task or by somebody else.
    Relocated { partition: i32, lost_range: bool },
    /// Whether the partition is halted is known to all.
    HaltSet,
    /// The batch is stored, but for the parts that could not be delivered as dead letters.
    Applied {
        positions: Vec<(i32, i64)>,
        applied: Applied,
        dead_letters: Vec<RefusalCode>,
        /// The events among these that the store called unordered.
        unordered: Vec<Stamp>,
        blocked: Vec<i32>,
    },
    /// None of the dead letters could be delivered, and there was nothing else.
    Blocked(Vec<i32>),
    /// It was taken back before it was done.
    Invalidated,
    /// Somebody else moved a partition on, or an answer to a commit was lost: nobody knows how far progress is.
    Lost,
    /// The store refused these events.
    Rejected(Vec<RejectedEvent>),
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// Ask the store, and tell [`WriteTask::on_opened`].
    Open(&'a TopicOpening),
    /// Ask the store, and tell [`WriteTask::on_relocated`].
    Relocate(&'a Relocation),
    /// Ask the store, and tell [`WriteTask::on_halt_set`].
    SetHalt(&'a HaltFinding),
    /// Deliver these records of one partition, and tell [`WriteTask::on_delivery`].
    Deliver(&'a [RefusedRecord]),
    /// Ask the store, and tell [`WriteTask::on_applied`].
    Apply(&'a Batch),
    /// The task is done with.
    Done(Reply),
}

/// A task under way.
#[derive(Debug)]
pub(crate) struct WriteTask {
    task: Task,
    /// The dead letters that were delivered, by partition, and the partitions of those that were not.
    delivered: BTreeMap<i32, Vec<RefusalCode>>,
    undelivered: Vec<i32>,
    /// The events that the store called unordered.
    unordered: Vec<Stamp>,
}

impl WriteTask {
    /// Begins a task.
    pub(crate) fn new(task: Task) -> Self {
        Self { task, delivered: BTreeMap::new(), undelivered: Vec::new(), unordered: Vec::new() }
    }

    /// What is to be done next; to be asked again after each answer that was an error.
    pub(crate) fn next(&mut self, in_flight: &InFlight) -> Next<'_> {
        let Self { task, undelivered, .. } = self;
        match task {
            Task::Open { fence, opening } if !in_flight.is_invalid(*fence) => Next::Open(opening),
            Task::Relocate { fence, relocation } if !in_flight.is_invalid(*fence) => Next::Relocate(relocation),
            Task::Apply(work) => {
                work.drop_invalid(|partition, fence| in_flight.is_partition_invalid(partition, fence));
                if let Some(refused) = work.refused.values().next() {
                    Next::Deliver(refused)
                } else if !work.is_empty() {
                    Next::Apply(&work.batch)
                } else if undelivered.is_empty() {
                    Next::Done(Reply::Invalidated)
                } else {
                    Next::Done(Reply::Blocked(std::mem::take(undelivered)))
                }
            }
            // Never invalid: the store heeds it only where the partition still stands there.
            Task::SetHalt(finding) => Next::SetHalt(finding),
            Task::Open { .. } | Task::Relocate { .. } => Next::Done(Reply::Invalidated),
        }
    }

    /// The records that were to be delivered have been, as these dead letters; or not all of them, and the partition is to
    /// wait. Names the partition.
    pub(crate) fn on_delivery(&mut self, dead_letters: Option<Vec<DeadLetter>>, in_flight: &InFlight) -> Option<i32> {
        let Task::Apply(work) = &mut self.task else { return None };
        let (partition, refused) = work.refused.pop_first()?;
        match dead_letters {
            Some(dead_letters) => {
                let codes = refused.iter().map(|refused| refused.refusal.code);
                self.delivered.entry(partition).or_default().extend(codes);
                if let Some(part) = work.batch.partitions.iter_mut().find(|part| part.partition == partition) {
                    part.dead_letters.extend(dead_letters);
                    part.dead_letters.sort_by_key(|dead_letter| dead_letter.offset);
                }
            }
            None => {
                let fence = work.fences.get(&partition).copied().unwrap_or_default();
                in_flight.block(partition, fence);
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
        let Task::Open { fence, .. } = &self.task else { return Ok(Reply::Invalidated) };
        opened.map(|progress| Reply::Opened { fence: *fence, progress, read_at })
    }

    /// The store has answered.
    pub(crate) fn on_relocated(&mut self, relocated: Result<(), StoreError>) -> Result<Reply, StoreError> {
        let Task::Relocate { relocation, .. } = &self.task else { return Ok(Reply::Invalidated) };
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

    /// The store has answered. Where nobody knows how far progress is now, all that was collected with it is invalid. `None`:
    /// there is a dead letter to be written first, so ask what comes [next](Self::next).
    pub(crate) fn on_applied(
        &mut self,
        applied: Result<Applied, StoreError>,
        in_flight: &InFlight,
    ) -> Result<Option<Reply>, StoreError> {
        let Task::Apply(work) = &mut self.task else { return Ok(Some(Reply::Invalidated)) };
        match applied {
            Ok(applied) => {
                let positions: Vec<(i32, i64)> =
                    work.batch.partitions.iter().map(|part| (part.partition, part.next_offset)).collect();
                // DeadLetters of a partition that has to wait for others of its own are delivered again with them.
                let is_stored = |partition: i32| positions.iter().any(|(stored, _)| *stored == partition);
                self.unordered.retain(|stamp| is_stored(stamp.partition));
                self.delivered.retain(|partition, _| is_stored(*partition));
                Ok(Some(Reply::Applied {
                    positions,
                    applied,
                    dead_letters: std::mem::take(&mut self.delivered).into_values().flatten().collect(),
                    unordered: std::mem::take(&mut self.unordered),
                    blocked: std::mem::take(&mut self.undelivered),
                }))
            }
            Err(StoreError::LostPartition { .. }) => {
                in_flight.invalidate(work.highest_fence());
                Ok(Some(Reply::Lost))
            }
            Err(StoreError::Rejected(events)) => {
                in_flight.invalidate(work.highest_fence());
                Ok(Some(Reply::Rejected(events)))
            }
            Err(StoreError::Unordered(events)) => {
                let aside = work.set_aside(events.clone());
                self.unordered.extend(&aside);
                if aside.is_empty() { Err(StoreError::Unordered(events)) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            Timestamp,
            decode::{Decoder, DecoderOptions, LogContext, RawRecord, Refusal},
        },
        log::kafka::record::{KafkaTimestamp, OwnedRecord},
        recorder::batch::Collected,
    };

    /// Three records of a partition: two events that go by log order around one that cannot be used.
    fn work(partitions: &[i32]) -> Work {
        let decoder = Decoder::new(&DecoderOptions::default()).unwrap();
        let mut collected: Vec<(i32, Collected)> = Vec::new();
        for partition in partitions {
            let row = Progress {
                partition: *partition,
                log_id: "log".into(),
                generation: 0,
                next_offset: 0,
                last_record: None,
            };
            let mut of_partition = Collected::from(&row);
            for offset in 0..3 {
                let value = if offset == 1 { "{" } else { r#"{"order_id":"A-1","user_id":"u","status":"x"}"# };
                let raw = RawRecord {
                    partition: *partition,
                    offset,
                    timestamp_millis: None,
                    received_at: Timestamp::from_millis(0).unwrap(),
                    key: Some(b"A-1"),
                    value: Some(value.as_bytes()),
                    headers: &[],
                };
                let keep = || OwnedRecord {
                    partition: *partition,
                    offset,
                    timestamp: KafkaTimestamp::NotAvailable,
                    key: Some(b"A-1".to_vec()),
                    value: Some(value.into()),
                    headers: None,
                };
                of_partition.on_record(offset, 7);
                match decoder.decode(&raw, &LogContext { epoch: row.epoch(), accepts_unversioned: true }) {
                    Ok(decoded) => of_partition.push_event(decoded.event, keep),
                    Err(refusal) => of_partition.push_refused(RefusedRecord { record: keep(), refusal }),
                }
            }
            collected.push((*partition, of_partition));
        }
        Work::take("t", collected.iter_mut().map(|(partition, collected)| (*partition, 1, collected))).unwrap()
    }

    /// Delivers what is to be delivered next, or fails to. Returns which records, and why.
    fn deliver(write_task: &mut WriteTask, in_flight: &InFlight, succeeds: bool) -> Vec<(i32, i64, RefusalCode)> {
        let Next::Deliver(refused) = write_task.next(in_flight) else { panic!("nothing to deliver") };
        let name = |it: &RefusedRecord| (it.record.partition, it.record.offset, it.refusal.code);
        let (names, mut dead_letters) = (refused.iter().map(name).collect(), Vec::new());
        for RefusedRecord { record, refusal: Refusal { code, message } } in refused {
            dead_letters.push(DeadLetter {
                offset: record.offset,
                code: code.as_str(),
                message: message.clone(),
                timestamp_millis: None,
                key: record.key.clone(),
                held_record: None,
            });
        }
        write_task.on_delivery(succeeds.then_some(dead_letters), in_flight);
        names
    }

    /// The batch that is to be applied next: offsets of events and of dead letters, by partition.
    fn batch(write_task: &mut WriteTask, in_flight: &InFlight) -> Vec<(i32, Vec<i64>, Vec<i64>)> {
        let Next::Apply(batch) = write_task.next(in_flight) else { panic!("nothing to apply") };
        let parts = batch.partitions.iter().map(|part| {
            let events = part.events.iter().map(|event| event.stamp.offset).collect();
            (part.partition, events, part.dead_letters.iter().map(|dead_letter| dead_letter.offset).collect())
        });
        parts.collect()
    }

    fn unordered(
        write_task: &mut WriteTask,
        in_flight: &InFlight,
        partition: i32,
        offsets: &[i64],
    ) -> Result<Option<Reply>, StoreError> {
        let epoch = crate::domain::Epoch::of("log", 0);
        let named = offsets.iter().map(|offset| RejectedEvent {
            stamp: Stamp { epoch, partition, offset: *offset },
            message: "no".to_owned(),
        });
        write_task.on_applied(Err(StoreError::Unordered(named.collect())), in_flight)
    }

    #[test]
    fn what_the_store_calls_unordered_is_kept_before_progress_passes_it() {
        let in_flight = InFlight::default();
        let mut write_task = WriteTask::new(Task::Apply(work(&[0])));
        assert_eq!(deliver(&mut write_task, &in_flight, true), [(0, 1, RefusalCode::NotJson)]);
        assert_eq!(batch(&mut write_task, &in_flight), [(0, vec![0, 2], vec![1])]);
        assert!(matches!(unordered(&mut write_task, &in_flight, 0, &[0]), Ok(None)));
        assert_eq!(deliver(&mut write_task, &in_flight, true), [(0, 0, RefusalCode::Unordered)]);
        // By the time of the second try another recorder has changed the order.
        assert_eq!(batch(&mut write_task, &in_flight), [(0, vec![2], vec![0, 1])]);
        assert!(matches!(unordered(&mut write_task, &in_flight, 0, &[2]), Ok(None)));
        assert_eq!(deliver(&mut write_task, &in_flight, true), [(0, 2, RefusalCode::Unordered)]);
        assert_eq!(batch(&mut write_task, &in_flight), [(0, vec![], vec![0, 1, 2])]);
        let Ok(Some(Reply::Applied { positions, dead_letters, unordered, blocked, .. })) =
            write_task.on_applied(Ok(Applied::default()), &in_flight)
        else {
            panic!("it is stored");
        };
        assert_eq!((positions, blocked), (vec![(0, 3)], vec![]));
        assert_eq!(dead_letters, [RefusalCode::NotJson, RefusalCode::Unordered, RefusalCode::Unordered]);
        assert_eq!(unordered.iter().map(|stamp| stamp.offset).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn a_partition_whose_unordered_event_cannot_be_kept_waits_and_the_others_go_on() {
        let in_flight = InFlight::default();
        let mut write_task = WriteTask::new(Task::Apply(work(&[0, 1])));
        deliver(&mut write_task, &in_flight, true);
        deliver(&mut write_task, &in_flight, true);
        assert_eq!(batch(&mut write_task, &in_flight).len(), 2);
        assert!(matches!(unordered(&mut write_task, &in_flight, 1, &[2]), Ok(None)));
        assert_eq!(deliver(&mut write_task, &in_flight, false), [(1, 2, RefusalCode::Unordered)]);
        assert_eq!(batch(&mut write_task, &in_flight), [(0, vec![0, 2], vec![1])]);
        let applied = write_task.on_applied(Ok(Applied::default()), &in_flight);
        let Ok(Some(Reply::Applied { positions, dead_letters, unordered, blocked, .. })) = applied else { panic!() };
        assert_eq!((positions, dead_letters, blocked), (vec![(0, 3)], vec![RefusalCode::NotJson], vec![1]));
        assert!(unordered.is_empty(), "it comes again");
    }

    #[test]
    fn an_event_that_is_not_in_the_batch_is_not_put_aside_for_ever() {
        let in_flight = InFlight::default();
        let mut write_task = WriteTask::new(Task::Apply(work(&[0])));
        deliver(&mut write_task, &in_flight, true);
        assert!(matches!(unordered(&mut write_task, &in_flight, 0, &[9]), Err(StoreError::Unordered(_))));
    }
}
