//! Where the fanout stands in each partition, and when it has to stand elsewhere. Pure: views, records and time come in
//! as calls.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::readings::Readings;
use crate::{
    domain::{Epoch, Position},
    hub::Hub,
    log::{
        continuity::place,
        view::{LogView, Watermarks},
    },
};

/// What an event costs the tail at the very least, to judge how many can fit.
const LEAST_EVENT_BYTES: usize = 512;
/// How long records may be known of and not come before the consumer is taken for broken.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// The longest the same is put up with when a new consumer did not help.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// And at least so many times what the last look at the log took: a new consumer asks slow brokers several things, one after
/// the other, before it has a record.
const PATIENCE_IN_LOOKS: u32 = 3;

/// All followed partitions.
#[derive(Debug)]
pub(crate) struct Cursors {
    partitions: BTreeMap<i32, Followed>,
    /// Events the tail can hold at most.
    tail_events: i64,
    patience: Duration,
    /// How long the last look at the log took.
    look_took: Duration,
}

#[derive(Debug)]
struct Followed {
    epoch: Epoch,
    position: i64,
    /// Something came from the broker since the client was last told where to read. Before that, what it says of
    /// its position may be about the place before.
    heard: bool,
    /// The high watermark known when the consumer was told: an end of partition that comes after that lies there or
    /// beyond, whatever the last records were.
    known_end: i64,
    /// Records were first seen to be missing at this moment, and none has come since.
    behind_since: Option<Instant>,
    /// At this moment the position lay above the end, as an older query had it.
    beyond: Option<(i64, Instant)>,
}

/// What has to be done before records are taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    /// A partition that was not followed before.
    Begin(Position),
    /// The partition goes on elsewhere: what lies between comes no more.
    Jump(Position),
}

impl Seek {
    /// Tells the hub.
    pub(crate) fn tell(self, hub: &mut Hub) {
        match self {
            Self::Begin(at) => hub.begin(at),
            Self::Jump(to) => hub.gap(to),
        }
    }
}

impl Cursors {
    pub(crate) fn new(tail_bytes: usize) -> Self {
        let tail_events = i64::try_from(tail_bytes / LEAST_EVENT_BYTES).unwrap_or(i64::MAX);
        Self { partitions: BTreeMap::new(), tail_events, patience: FIRST_PATIENCE, look_took: Duration::ZERO }
    }

    /// Compares where each partition stands with the log and with progress as it was known when that was asked for.
    pub(crate) fn on_view(&mut self, view: &LogView, readings: &Readings, now: Instant) -> Vec<Seek> {
        self.look_took = now.saturating_duration_since(view.listed_at);
        let mut seeks = Vec::new();
        let mut unknown = Vec::new();
        for (partition, log) in view.watermarks() {
            let Some(progress) = readings.by(log.queried_at) else { continue };
            let belongs = place(partition, progress.of(partition), &view.log_id, log);
            match self.partitions.get_mut(&partition) {
                None => unknown.push((belongs, log)),
                Some(followed) => {
                    if let Some(to) = followed.jump(belongs, log, now) {
                        *followed = Followed::standing_at(to, log);
                        seeks.push(Seek::Jump(to));
                    }
                }
            }
        }
        let behind: i64 = unknown.iter().map(|(at, log)| log.high - at.next_offset).sum();
        for (mut at, log) in unknown {
            // Older events than these would push each other out of the tail before anybody could ask for them.
            let share = (log.high - at.next_offset) as i128 * self.tail_events as i128 / behind.max(1) as i128;
            at.next_offset = at.next_offset.max(log.high - share as i64);
            self.partitions.insert(at.partition, Followed::standing_at(at, log));
            seeks.push(Seek::Begin(at));
        }
        seeks
    }

    /// Where the client is about to be told to read.
    pub(crate) fn assign(&mut self, view: &LogView) -> Vec<(i32, i64)> {
        let ends: BTreeMap<i32, Watermarks> = view.watermarks().collect();
        for (partition, followed) in &mut self.partitions {
            followed.heard = false;
            followed.known_end = ends.get(partition).map_or(0, |log| log.high);
        }
        self.positions().collect()
    }

    /// A record was read. `None`: it is not the next one of a followed partition.
    pub(crate) fn on_record(&mut self, partition: i32, offset: i64) -> Option<Epoch> {
        let followed = self.partitions.get_mut(&partition)?;
        if offset < followed.position {
            return None;
        }
        followed.move_to(offset + 1);
        followed.heard = true;
        self.patience = FIRST_PATIENCE;
        Some(followed.epoch)
    }

    /// The consumer has come to the end of a partition.
    pub(crate) fn on_end_of_partition(&mut self, partition: i32) {
        if let Some(followed) = self.partitions.get_mut(&partition) {
            followed.heard = true;
            followed.move_to(followed.known_end);
        }
    }

    /// The consumer says that its next record lies at `offset` or beyond.
    pub(crate) fn on_position(&mut self, partition: i32, offset: i64) {
        if let Some(followed) = self.partitions.get_mut(&partition).filter(|followed| followed.heard) {
            followed.move_to(offset);
        }
    }

    /// Whether records are known of and do not come.
    pub(crate) fn is_stuck(&mut self, view: &LogView, now: Instant) -> bool {
        let patience = self.patience.max(self.look_took * PATIENCE_IN_LOOKS);
        let mut stuck = false;
        for (partition, log) in view.watermarks() {
            let Some(followed) = self.partitions.get_mut(&partition) else { continue };
            if followed.position >= log.high {
                followed.behind_since = None;
            } else {
                let since = *followed.behind_since.get_or_insert(now);
                stuck |= now.saturating_duration_since(since) >= patience;
            }
        }
        if stuck {
            self.patience = (self.patience * 2).min(LAST_PATIENCE);
            self.partitions.values_mut().for_each(|followed| followed.behind_since = None);
        }
        stuck
    }

    /// Where everything stands.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (i32, i64)> {
        self.partitions.iter().map(|(partition, followed)| (*partition, followed.position))
    }

    /// Where one partition stands.
    pub(crate) fn position(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).map(|followed| followed.position)
    }
}

impl Followed {
    fn standing_at(at: Position, log: Watermarks) -> Self {
        Self {
            epoch: at.epoch,
            position: at.next_offset,
            heard: false,
            known_end: log.high,
            behind_since: None,
            beyond: None,
        }
    }

    fn move_to(&mut self, position: i64) {
        if position > self.position {
            self.position = position;
            self.behind_since = None;
        }
    }

    /// Where to go on, if not here.
    fn jump(&mut self, belongs: Position, log: Watermarks, now: Instant) -> Option<Position> {
        if self.epoch != belongs.epoch {
            return Some(belongs);
        }
        if self.position < log.low {
            return Some(Position { next_offset: log.low, ..belongs });
        }
        if self.position <= log.high {
            self.beyond = None;
            return None;
        }
        // The answer may be older than the position. Only one that was asked for later, and still lies below where the
        // position was then, says that the log is shorter than it was.
        match self.beyond {
            Some((_, since)) if log.queried_at < since => None,
            Some((position, _)) if log.high < position => Some(belongs),
            // It has come to there, and not to where the position is now.
            Some(_) | None => {
                self.beyond = Some((self.position, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{domain::Progress, log::progress::ProgressView};

    const MIB: usize = 1 << 20;

    fn view(partitions: &[(i64, i64)], at: Instant) -> LogView {
        let log = |(low, high): &(i64, i64)| Some(Watermarks { low: *low, high: *high, queried_at: at });
        let partitions: BTreeMap<_, _> = (0..).zip(partitions.iter().map(log)).collect();
        LogView { log_id: "log".into(), partitions, listed_at: at, compaction: None }
    }

    fn progress(log_id: &str, generation: i32, offsets: &[i64], at: Instant) -> Readings {
        let row = |(partition, next_offset): (i32, &i64)| Progress {
            partition,
            log_id: log_id.into(),
            generation,
            next_offset: *next_offset,
            last_record: None,
        };
        let progress = (0..).zip(offsets).map(row).collect();
        let reading = ProgressView { progress, partition_count: None, halts: BTreeMap::new(), read_at: at };
        let mut readings = Readings::default();
        readings.note(&Arc::new(reading));
        readings
    }

    fn at(partition: i32, generation: i32, next_offset: i64) -> Position {
        Position { partition, epoch: Epoch::of("log", generation), next_offset }
    }

    /// Follows one partition from 5, in a log from 0 to 9.
    fn cursors(now: Instant) -> Cursors {
        let mut cursors = Cursors::new(MIB);
        let seeks = cursors.on_view(&view(&[(0, 9)], now), &progress("log", 0, &[5], now), now);
        assert_eq!(seeks, [Seek::Begin(at(0, 0, 5))]);
        cursors
    }

    #[test]
    fn a_partition_begins_at_progress_or_without_a_row_at_the_low_watermark() {
        let now = Instant::now();
        let mut cursors = Cursors::new(MIB);
        let seeks = cursors.on_view(&view(&[(0, 9), (3, 4)], now), &progress("log", 0, &[5], now), now);
        assert_eq!(seeks, [Seek::Begin(at(0, 0, 5)), Seek::Begin(at(1, 0, 3))]);
        let seeks = cursors.on_view(&view(&[(0, 9), (3, 4), (0, 2)], now), &progress("log", 0, &[5], now), now);
        assert_eq!(seeks, [Seek::Begin(at(2, 0, 0))]);
    }

    #[test]
    fn what_cannot_fit_the_tail_is_skipped_at_start_in_proportion() {
        let now = Instant::now();
        let mut cursors = Cursors::new(LEAST_EVENT_BYTES * 100);
        let log = view(&[(0, 4_000), (0, 2_000)], now);
        let seeks = cursors.on_view(&log, &progress("log", 0, &[1_000, 1_000], now), now);
        assert_eq!(seeks, [Seek::Begin(at(0, 0, 3_925)), Seek::Begin(at(1, 0, 1_975))]);
    }

    #[test]
    fn a_record_is_taken_once_and_in_order() {
        let mut cursors = cursors(Instant::now());
        assert_eq!(cursors.on_record(0, 4), None);
        assert_eq!(cursors.on_record(0, 7), Some(Epoch::of("log", 0)));
        assert_eq!(cursors.on_record(0, 7), None);
        assert_eq!(cursors.on_record(1, 0), None);
        assert_eq!(cursors.position(0), Some(8));
    }

    #[test]
    fn what_the_consumer_says_of_its_position_counts_only_once_it_was_heard() {
        let now = Instant::now();
        let mut cursors = cursors(now);
        cursors.on_position(0, 9);
        assert_eq!(cursors.position(0), Some(5));
        cursors.on_record(0, 5);
        cursors.on_position(0, 9);
        assert_eq!(cursors.position(0), Some(9));
        cursors.assign(&view(&[(0, 9)], now));
        cursors.on_position(0, 20);
        assert_eq!(cursors.position(0), Some(9));
    }

    #[test]
    fn the_end_of_a_partition_lies_at_or_above_the_watermark_known_before() {
        let mut cursors = cursors(Instant::now());
        cursors.on_end_of_partition(0);
        assert_eq!(cursors.position(0), Some(9));
    }

    #[test]
    fn an_expired_log_is_gone_on_with_at_its_low_watermark() {
        let now = Instant::now();
        let seeks = cursors(now).on_view(&view(&[(7, 9)], now), &progress("log", 0, &[5], now), now);
        assert_eq!(seeks, [Seek::Jump(at(0, 0, 7))]);
    }

    #[test]
    fn a_log_that_ends_below_the_position_is_believed_when_it_was_asked_again() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cursors = cursors(start);
        cursors.on_record(0, 20);
        let stale = view(&[(0, 9)], start);
        let known = progress("log", 0, &[5], start);
        assert_eq!(cursors.on_view(&stale, &known, start + second), []);
        assert_eq!(cursors.on_view(&stale, &known, start + 2 * second), []);
        // Asked for at the very moment at which it was seen.
        let fresh = view(&[(0, 9)], start + second);
        assert_eq!(cursors.on_view(&fresh, &known, start + 3 * second), [Seek::Jump(at(0, 0, 5))]);
    }

    #[test]
    fn a_log_that_has_come_to_where_the_position_was_is_none_that_is_shorter() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cursors = cursors(start);
        let known = progress("log", 0, &[5], start);
        cursors.on_record(0, 20);
        assert_eq!(cursors.on_view(&view(&[(0, 9)], start), &known, start + second), []);
        cursors.on_record(0, 29);
        let behind = view(&[(0, 21)], start + 2 * second);
        assert_eq!(cursors.on_view(&behind, &known, start + 3 * second), []);
        // The position stands since then, and the log has never come to it.
        let shorter = view(&[(0, 25)], start + 4 * second);
        assert_eq!(cursors.on_view(&shorter, &known, start + 5 * second), [Seek::Jump(at(0, 0, 5))]);
    }

    #[test]
    fn to_stand_at_the_end_of_the_log_is_not_to_stand_beyond_it() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cursors = cursors(start);
        let known = progress("log", 0, &[5], start);
        cursors.on_record(0, 8);
        assert_eq!(cursors.on_view(&view(&[(0, 9)], start), &known, start + second), []);
        // One look at another log is no proof.
        let other = view(&[(0, 7)], start + 2 * second);
        assert_eq!(cursors.on_view(&other, &known, start + 2 * second), []);
        assert_eq!(cursors.on_view(&other, &known, start + 3 * second), [Seek::Jump(at(0, 0, 5))]);
    }

    #[test]
    fn the_hub_is_told_where_a_partition_begins_and_that_it_goes_on_elsewhere() {
        let mut hub = Hub::new(MIB);
        let end = |hub: &Hub| hub.end(0).map(|end| (end.epoch, end.next_offset));
        Seek::Begin(at(0, 0, 5)).tell(&mut hub);
        assert_eq!(end(&hub), Some((Epoch::of("log", 0), 5)));
        Seek::Jump(at(0, 1, 2)).tell(&mut hub);
        assert_eq!(end(&hub), Some((Epoch::of("log", 1), 2)));
    }

    #[test]
    fn a_replaced_log_is_followed_from_its_beginning_under_the_next_epoch() {
        let now = Instant::now();
        let mut cursors = cursors(now);
        // The recorder has not decided yet: its progress lies beyond the new log.
        let seeks = cursors.on_view(&view(&[(0, 2)], now), &progress("log", 0, &[5], now), now);
        assert_eq!(seeks, [Seek::Jump(at(0, 1, 0))]);
        // It has: nothing changes for who stands there.
        let seeks = cursors.on_view(&view(&[(0, 2)], now), &progress("log", 1, &[0], now), now);
        assert_eq!(seeks, []);
        // It goes on in another life of the log.
        let seeks = cursors.on_view(&view(&[(0, 9)], now), &progress("log", 4, &[3], now), now);
        assert_eq!(seeks, [Seek::Jump(at(0, 4, 3))]);
    }

    #[test]
    fn records_that_do_not_come_make_it_stuck_with_growing_patience() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cursors = cursors(start);
        let log = view(&[(0, 9)], start);
        assert!(!cursors.is_stuck(&log, start));
        assert!(!cursors.is_stuck(&log, start + 4 * second));
        assert!(cursors.is_stuck(&log, start + 5 * second));
        assert!(!cursors.is_stuck(&log, start + 6 * second));
        assert!(!cursors.is_stuck(&log, start + 15 * second));
        assert!(cursors.is_stuck(&log, start + 16 * second));
        cursors.on_record(0, 8);
        assert!(!cursors.is_stuck(&log, start + 60 * second));
        let more = view(&[(0, 10)], start);
        assert!(!cursors.is_stuck(&more, start + 60 * second));
        assert!(cursors.is_stuck(&more, start + 65 * second));
    }

    #[test]
    fn a_consumer_that_only_repeats_its_position_is_stuck() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cursors = cursors(start);
        let log = view(&[(0, 9)], start);
        cursors.on_record(0, 5);
        for n in 0..5 {
            assert!(!cursors.is_stuck(&log, start + n * second), "{n} s");
            cursors.on_position(0, 6);
        }
        assert!(cursors.is_stuck(&log, start + 5 * second));
    }

    #[test]
    fn records_of_slow_brokers_are_waited_for_longer() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cursors = Cursors::new(MIB);
        let log = view(&[(0, 9)], start);
        cursors.on_view(&log, &progress("log", 0, &[5], start), start + 6 * second);
        assert!(!cursors.is_stuck(&log, start + 6 * second));
        assert!(!cursors.is_stuck(&log, start + 23 * second));
        assert!(cursors.is_stuck(&log, start + 24 * second));
    }
}
