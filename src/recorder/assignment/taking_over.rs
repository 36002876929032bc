//! Where the records of a partition that is being read come from.
//!
//! ```text
//!            the same record ends a stretch of the fanout
//!     Own ───────────────────────────────────────────────────► Fanout
//!      ▲                                                          │ the next stretch is not there any more,
//!      │ it is the same                                           │ or nothing comes
//!      └─────── Returning: the last record is read back ◄─────────┘
//! ```
//!
//! Both ways lead over one record that both have read, compared by its digest: two clients that read two logs under one name do
//! not complete each other.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Assignment, PartitionPhase};
use crate::{
    domain::{Epoch, LastRecord, decode::LogContext},
    log::{
        hand_over::{Place, Seam, Taker},
        view::Compaction,
    },
    recorder::batch::TakenOver,
};

/// How long the fanout may stand elsewhere than the log's end and bring nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who reads a partition.
#[derive(Debug)]
pub(super) enum Source {
    /// The recorder's own consumer.
    Own,
    /// The same, once it has come to this record again.
    Returning { expected: LastRecord },
    /// The fanout: its next stretch, behind this record.
    Fanout { next: Place, last: LastRecord, quiet_since: Option<Instant> },
}

impl Source {
    pub(super) fn fanout(seam: Seam) -> Self {
        Self::Fanout { next: seam.next, last: seam.record, quiet_since: None }
    }

    /// Where the recorder's own consumer has to stand, if it has to.
    pub(super) fn place(&self, next_offset: i64) -> Option<i64> {
        match self {
            Self::Own => Some(next_offset),
            Self::Returning { expected } => Some(expected.offset),
            Self::Fanout { .. } => None,
        }
    }

    /// Whether what the own consumer brought, a record or the end, says that it reads the log that the fanout read. `None`:
    /// that is not in question, or not yet.
    pub(super) fn reads_back(&self, found: Option<(i64, u64)>, compaction: Option<Compaction>) -> Option<bool> {
        let Self::Returning { expected } = self else { return None };
        match found {
            Some((offset, _)) if offset < expected.offset => None,
            Some((offset, digest)) if offset == expected.offset => Some(digest == expected.digest),
            // Compaction takes records whose key has a newer one.
            _ => Some(matches!(compaction, Some(Compaction::On | Compaction::Unknown))),
        }
    }
}

impl Assignment {
    /// Takes over what the fanout has read, `room` records or a little more, and looks up where partitions that are read here
    /// can go over to it.
    pub(crate) fn take_over(&mut self, taker: &mut Taker, accepts_unversioned: bool, room: usize) -> TakenOver {
        let reading = |(partition, entry): (&i32, &super::Partition)| {
            matches!(entry.phase, PartitionPhase::Reading { .. }).then_some(*partition)
        };
        taker.claim(self.partitions.iter().filter_map(reading));
        let (mut all, mut own, mut epochs) = (TakenOver::default(), Vec::new(), BTreeMap::new());
        for (partition, entry) in &mut self.partitions {
            let PartitionPhase::Reading { collected, source } = &mut entry.phase else { continue };
            let Source::Fanout { next, last, quiet_since } = source else {
                own.push((*partition, collected.next_offset()));
                epochs.insert(*partition, collected.epoch());
                continue;
            };
            if all.records >= room {
                continue;
            }
            let mut goes_on = false;
            if let Some(stretches) = taker.take(*partition, *next, room - all.records) {
                goes_on = true;
                for stretch in stretches {
                    // It was decoded as it would have been here, or it is not taken.
                    if stretch.log != (LogContext { epoch: collected.epoch(), accepts_unversioned }) {
                        goes_on = false;
                        break;
                    }
                    (*next, *last, *quiet_since) = (next.next(), stretch.last.unwrap_or(*last), None);
                    all += collected.take_over(stretch);
                }
            }
            if !goes_on {
                *source = Source::Returning { expected: *last };
                self.stands_elsewhere = true;
            }
        }
        self.seams = taker.seams(&own);
        self.seams.retain(|partition, seam| {
            let as_here = |epoch: &Epoch| seam.log == LogContext { epoch: *epoch, accepts_unversioned };
            // What the store has refused comes from the recorder's own consumer, whole.
            epochs.get(partition).is_some_and(as_here) && self.rejected.is_empty()
        });
        all
    }

    /// Goes back to reading partitions, given where they end, of which records are known that do not come from the fanout, or
    /// that end below what was taken over: of a log that is another one it is the own consumer that hears.
    pub(crate) fn notice_silence(&mut self, ends: &BTreeMap<i32, i64>, now: Instant) {
        for (partition, entry) in &mut self.partitions {
            let PartitionPhase::Reading { collected, source } = &mut entry.phase else { continue };
            let Source::Fanout { last, quiet_since, .. } = source else { continue };
            if ends.get(partition).is_none_or(|end| collected.next_offset() == *end) {
                *quiet_since = None;
            } else if now.saturating_duration_since(*quiet_since.get_or_insert(now)) >= PATIENCE {
                *source = Source::Returning { expected: *last };
                self.stands_elsewhere = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{OnLogGap, OnLogRegression},
        domain::{
            Change, OrderEvent, OrderId, Progress, Stamp,
            decode::{Decoded, Refusal},
        },
        log::{
            Policies,
            hand_over::{Giver, Original, channel},
            kafka::record::{KafkaTimestamp, OwnedRecord},
            view::{LogView, Watermarks},
        },
        recorder::{assignment::Intake, batch::Work},
    };

    const SECOND: Duration = Duration::from_secs(1);

    struct At(i64);

    impl Original for At {
        fn place(&self) -> (i32, i64) {
            (0, self.0)
        }

        fn size(&self) -> usize {
            10
        }

        fn digest(&self) -> u64 {
            digest(self.0)
        }

        fn copy(&self) -> OwnedRecord {
            let (partition, offset, timestamp) = (0, self.0, KafkaTimestamp::NotAvailable);
            OwnedRecord { partition, offset, timestamp, key: None, value: None, headers: None }
        }
    }

    fn digest(offset: i64) -> u64 {
        offset as u64 + 1_000
    }

    fn row() -> Progress {
        Progress { partition: 0, log_id: "log".into(), generation: 0, next_offset: 5, last_record: None }
    }

    struct Pair {
        assignment: Assignment,
        giver: Giver,
        taker: Taker,
    }

    impl Pair {
        /// One partition, read from 5 by the recorder's own consumer.
        fn new(compaction: Compaction) -> Self {
            let policies = Policies { on_gap: OnLogGap::Halt, on_regression: OnLogRegression::Halt };
            let mut assignment = Assignment::new(policies, 0);
            let now = Instant::now();
            assignment.on_assigned([0]);
            let (fence, _) = assignment.take_openings(now).unwrap();
            assignment.on_progress(fence, &[row()], now);
            let log = Some(Watermarks { low: 0, high: 9, queried_at: now });
            let view = LogView {
                log_id: "log".into(),
                partitions: [(0, log)].into(),
                listed_at: now,
                compaction: Some(compaction),
            };
            assert_eq!(assignment.on_log(&view), None);
            assert_eq!(assignment.take_places(), Some(vec![(0, 5)]));
            let (giver, taker) = channel();
            let mut pair = Self { assignment, giver, taker };
            assert_eq!(pair.take_over(), 0);
            pair
        }

        /// Read up to 6, and the rest from the fanout, which has read 5, 6 and 7.
        fn handed_over(compaction: Compaction) -> Self {
            let mut pair = Self::new(compaction);
            pair.give(true, &[5, 6]);
            pair.give(true, &[7]);
            assert_eq!(pair.take_over(), 0);
            assert!(pair.reads(5) && pair.reads(6));
            assert_eq!(pair.assignment.take_places(), Some(vec![]), "the own consumer reads on no more");
            assert!(!pair.reads(7), "that is left to the fanout");
            pair.assignment.on_position(0, 8);
            let work = Work::take("t", pair.assignment.reading()).unwrap();
            assert_eq!(work.batch.partitions[0].next_offset, 7, "and so is where it ends");
            assert_eq!(pair.take_over(), 1);
            pair
        }

        fn give(&mut self, accepts_unversioned: bool, offsets: &[i64]) {
            let log = LogContext { epoch: row().epoch(), accepts_unversioned };
            let mut gathered = self.giver.gather();
            for offset in offsets {
                let stamp = Stamp { epoch: log.epoch, partition: 0, offset: *offset };
                let event = OrderEvent { order_id: OrderId::parse("A").unwrap(), stamp, change: Change::Erase };
                let decoded = Ok::<_, Refusal>(Decoded { event, occurred_at_unreadable: false });
                gathered.add(At(*offset), &log, &decoded);
            }
            gathered.give();
        }

        fn take_over(&mut self) -> usize {
            self.assignment.take_over(&mut self.taker, true, 100).records
        }

        fn reads(&mut self, offset: i64) -> bool {
            self.finds(offset, digest(offset))
        }

        fn finds(&mut self, offset: i64, digest: u64) -> bool {
            matches!(self.assignment.on_record(0, offset, digest), Intake::Take { .. })
        }

        /// Offsets collected, where from and to.
        fn batch(&mut self) -> (Vec<i64>, i64, i64) {
            let work = Work::take("t", self.assignment.reading()).unwrap();
            let part = &work.batch.partitions[0];
            let last = part.last_record.unwrap();
            assert_eq!(last.digest, digest(last.offset));
            (part.events.iter().map(|event| event.stamp.offset).collect(), part.read_from, part.next_offset)
        }
    }

    #[test]
    fn the_fanout_takes_over_at_a_record_that_both_have_read() {
        let mut pair = Pair::handed_over(Compaction::Off);
        assert_eq!(pair.batch(), (vec![7], 7, 8));
        pair.give(true, &[8, 11]);
        pair.giver.passed(&[(0, 13)]);
        assert_eq!(pair.take_over(), 2);
        assert_eq!(pair.batch(), (vec![8, 11], 8, 13));
        assert!(pair.assignment.take_places().is_none());
    }

    #[test]
    fn another_record_at_the_same_place_joins_nothing() {
        let mut pair = Pair::new(Compaction::Off);
        pair.give(true, &[5]);
        pair.give(true, &[6]);
        pair.take_over();
        pair.finds(5, 1);
        assert!(pair.reads(6) && pair.assignment.take_places().is_none());
    }

    #[test]
    fn what_was_decoded_by_other_rules_joins_nothing_and_is_not_taken() {
        let mut pair = Pair::new(Compaction::Off);
        pair.give(false, &[5]);
        pair.take_over();
        assert!(pair.reads(5) && pair.reads(6));
        let mut pair = Pair::handed_over(Compaction::Off);
        pair.give(false, &[8]);
        assert_eq!(pair.take_over(), 0);
        assert_eq!(pair.assignment.take_places(), Some(vec![(0, 7)]), "the last record is read back");
    }

    #[test]
    fn where_the_next_stretch_is_gone_the_last_record_is_read_back_and_the_next_one_taken() {
        let mut pair = Pair::handed_over(Compaction::Off);
        pair.giver.restart();
        pair.give(true, &[9]);
        assert_eq!(pair.take_over(), 0);
        assert_eq!(pair.assignment.take_places(), Some(vec![(0, 7)]));
        assert!(!pair.reads(7) && pair.reads(8) && !pair.reads(7));
        assert_eq!(pair.take_over(), 0);
        assert!(pair.reads(9), "and here they join again");
        assert_eq!(pair.assignment.take_places(), Some(vec![]));
    }

    #[test]
    fn a_partition_begins_again_where_another_record_stands_in_place_of_the_last() {
        for (found, compaction, goes_on) in [
            (Some((7, 1)), Compaction::Off, false),
            (Some((7, 1)), Compaction::On, false),
            (Some((8, digest(8))), Compaction::Off, false),
            (Some((8, digest(8))), Compaction::On, true),
            (None, Compaction::Off, false),
            (None, Compaction::Unknown, true),
        ] {
            let mut pair = Pair::handed_over(compaction);
            pair.giver.restart();
            pair.give(true, &[20]);
            pair.take_over();
            match found {
                Some((offset, digest)) => drop(pair.finds(offset, digest)),
                None => pair.assignment.on_end_of_partition(0),
            }
            let begins_again = pair.assignment.take_openings(Instant::now()).is_some();
            assert_eq!((pair.reads(9), begins_again), (goes_on, !goes_on), "{found:?} {compaction:?}");
        }
    }

    #[test]
    fn a_fanout_that_stands_still_is_not_waited_for() {
        let mut pair = Pair::handed_over(Compaction::Off);
        let start = Instant::now();
        let silence = |pair: &mut Pair, end, seconds| {
            pair.assignment.notice_silence(&BTreeMap::from([(0, end)]), start + seconds * SECOND);
            pair.assignment.take_places()
        };
        assert_eq!(silence(&mut pair, 8, 0), None);
        assert_eq!(silence(&mut pair, 8, 60), None, "there is nothing more");
        assert_eq!(silence(&mut pair, 9, 61), None);
        assert_eq!(silence(&mut pair, 9, 62), None);
        pair.give(true, &[8]);
        pair.take_over();
        assert_eq!(silence(&mut pair, 10, 64), None, "something came");
        assert_eq!(silence(&mut pair, 10, 66), Some(vec![(0, 8)]));
        assert!(pair.assignment.awaits_records(&BTreeMap::new()));
    }

    #[test]
    fn a_log_that_ends_below_what_was_taken_over_is_read_by_the_own_consumer() {
        let mut pair = Pair::handed_over(Compaction::Off);
        let start = Instant::now();
        let silence = |pair: &mut Pair, end, seconds| {
            pair.assignment.notice_silence(&BTreeMap::from([(0, end)]), start + seconds * SECOND);
            pair.assignment.take_places()
        };
        assert_eq!(silence(&mut pair, 6, 0), None, "that look may be older than what was taken");
        assert_eq!(silence(&mut pair, 8, 1), None);
        assert_eq!(silence(&mut pair, 6, 5), None);
        assert_eq!(silence(&mut pair, 6, 7), Some(vec![(0, 7)]));
    }

    #[test]
    fn what_the_store_has_refused_is_read_by_the_own_consumer() {
        let mut pair = Pair::new(Compaction::Off);
        let stamp = Stamp { epoch: row().epoch(), partition: 0, offset: 6 };
        pair.assignment.rejected.insert(stamp, "no".to_owned());
        pair.give(true, &[5]);
        pair.give(true, &[6]);
        pair.take_over();
        assert!(pair.reads(5));
        assert!(matches!(pair.assignment.on_record(0, 6, digest(6)), Intake::Reject { .. }));
        pair.assignment.on_applied(0, 7);
        pair.give(true, &[7]);
        pair.take_over();
        assert!(pair.reads(7));
        assert_eq!(pair.assignment.take_places(), Some(vec![]));
    }
}
