//! How much of each partition is still to be recorded, and which of them stand still. Pure: views and time come in as
//! calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    domain::Progress,
    log::{
        continuity::{self, Continuity},
        progress::ProgressView,
        view::{LogView, Watermarks},
    },
};

/// What was read or asked longer ago says nothing of now.
const LATELY: Duration = Duration::from_secs(5);
/// The shortest time between two lines about it.
const LEAST_SILENCE: Duration = Duration::from_secs(60);
/// How often it is mentioned again where nothing changes.
const REMINDER_INTERVAL: Duration = Duration::from_secs(300);

/// What one comparison found of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Records still to be recorded.
    pub(super) lag: i64,
    /// Nothing of them was recorded for too long.
    pub(super) stands_still: bool,
}

/// The partitions of which there is something to record.
#[derive(Debug)]
pub(super) struct Standing {
    patience: Duration,
    behind: BTreeMap<i32, Behind>,
}

#[derive(Debug)]
struct Behind {
    /// Progress as it has been since that moment; `None`: it has no row.
    progress: Option<Progress>,
    since: Instant,
    /// Both sides were last known at this moment.
    compared_at: Instant,
    stands_still: bool,
}

impl Standing {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, behind: BTreeMap::new() }
    }

    /// Compares the newest views; to be asked about once a second. Partitions that are halted wait for a decision, and are
    /// none that stand still.
    pub(super) fn compare(&mut self, view: &LogView, stored: &ProgressView, now: Instant) -> BTreeMap<i32, Found> {
        self.behind.retain(|partition, _| view.partitions.contains_key(partition));
        let found = view.watermarks().map(|(partition, log)| {
            let lag = lag(stored.of(partition), &view.log_id, log, stored.read_at);
            let stands_still = if lag == 0 || stored.halts.contains_key(&partition) {
                self.behind.remove(&partition);
                false
            } else {
                let recent = |moment| now.saturating_duration_since(moment) <= LATELY;
                self.stands_still(partition, stored, recent(stored.read_at) && recent(log.queried_at))
            };
            (partition, Found { lag, stands_still })
        });
        found.collect()
    }

    /// Of a partition that is behind. Where one side is not told at the moment, all stays as it was found last, and such
    /// a time counts for nothing: while the database is away nobody can record.
    fn stands_still(&mut self, partition: i32, stored: &ProgressView, both_told: bool) -> bool {
        if !both_told {
            return self.behind.get(&partition).is_some_and(|behind| behind.stands_still);
        }
        let (at, now) = (stored.of(partition), stored.read_at);
        let begin = || Behind { progress: at.cloned(), since: now, compared_at: now, stands_still: false };
        let behind = self.behind.entry(partition).or_insert_with(begin);
        if behind.progress.as_ref() != at {
            *behind = begin();
        }
        if !behind.stands_still && now.saturating_duration_since(behind.compared_at) > LATELY {
            behind.since = now;
        }
        behind.compared_at = now;
        behind.stands_still |= now.saturating_duration_since(behind.since) >= self.patience;
        behind.stands_still
    }
}

/// Records between progress and the end of the log; all there are, where progress counts in another log.
fn lag(progress: Option<&Progress>, log_id: &str, log: Watermarks, read_at: Instant) -> i64 {
    let next_offset = match progress {
        None => log.low,
        Some(progress) => match continuity::compare(progress, log_id, log) {
            // The log may only have been asked before the latest records were there.
            Continuity::Replaced if progress.log_id == log_id && log.queried_at < read_at => log.high,
            Continuity::Replaced | Continuity::Gap => log.low,
            Continuity::Continues { .. } => progress.next_offset,
        },
    };
    log.high - next_offset
}

/// When to speak of partitions that stand still.
#[derive(Debug, Default)]
pub(super) struct Voice {
    spoken_at: Option<Instant>,
    named: BTreeSet<i32>,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    Nothing,
    /// That there are such partitions, and which.
    Alarm,
    /// That there are none any more.
    Over,
}

impl Voice {
    pub(super) fn on(&mut self, still: &BTreeSet<i32>, now: Instant) -> Say {
        if still.is_empty() {
            let was_named = !std::mem::take(&mut self.named).is_empty();
            return if was_named { Say::Over } else { Say::Nothing };
        }
        let silence = if still.is_subset(&self.named) { REMINDER_INTERVAL } else { LEAST_SILENCE };
        if self.spoken_at.is_some_and(|at| now.saturating_duration_since(at) < silence) {
            return Say::Nothing;
        }
        (self.spoken_at, self.named) = (Some(now), still.clone());
        Say::Alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Halt;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(30);

    fn view(partitions: &[(i64, i64)], at: Instant) -> LogView {
        let log = |(low, high): &(i64, i64)| Some(Watermarks { low: *low, high: *high, queried_at: at });
        let partitions = (0..).zip(partitions.iter().map(log)).collect();
        LogView { log_id: "log".into(), partitions, listed_at: at, compaction: None }
    }

    fn stored(offsets: &[i64], at: Instant) -> ProgressView {
        let row = |(partition, next_offset): (i32, &i64)| Progress {
            partition,
            log_id: "log".into(),
            generation: 0,
            next_offset: *next_offset,
            last_record: None,
        };
        let progress = (0..).zip(offsets).map(row).collect();
        ProgressView { progress, partition_count: None, halts: BTreeMap::new(), read_at: at }
    }

    /// The seconds of `when` at which partition 0 was found to stand still.
    fn still(
        standing: &mut Standing,
        when: std::ops::Range<u32>,
        views: impl Fn(u32) -> (LogView, ProgressView),
    ) -> Vec<u32> {
        let start = views(0).0.listed_at;
        let found = |second: &u32| {
            let (view, stored) = views(*second);
            standing.compare(&view, &stored, start + *second * SECOND)[&0].stands_still
        };
        when.filter(found).collect()
    }

    #[test]
    fn the_lag_of_every_partition_is_what_lies_between_progress_and_the_end() {
        let now = Instant::now();
        let lags = |view: &LogView, stored: &ProgressView| -> Vec<i64> {
            Standing::new(PATIENCE).compare(view, stored, now).values().map(|found| found.lag).collect()
        };
        let log = view(&[(0, 9), (3, 9), (4, 9), (2, 5)], now);
        assert_eq!(lags(&log, &stored(&[9, 4, 1], now)), [0, 5, 5, 3], "all there is, in a gap and without a row");
        assert_eq!(lags(&view(&[(2, 7)], now), &stored(&[9], now)), [5], "another log is to be recorded whole");
        assert_eq!(lags(&view(&[(2, 7)], now), &stored(&[9], now + SECOND)), [0], "an older look at the log says less");
        let other = LogView { log_id: "other".into(), ..view(&[(2, 7)], now) };
        assert_eq!(lags(&other, &stored(&[5], now + SECOND)), [5]);
    }

    #[test]
    fn a_partition_stands_still_when_nothing_of_it_was_recorded_for_long_although_there_is_something() {
        let start = Instant::now();
        let mut standing = Standing::new(PATIENCE);
        let at = |second| start + second * SECOND;
        let quiet = |second| (view(&[(0, 7)], at(second)), stored(&[7], at(second)));
        assert!(still(&mut standing, 0..90, quiet).is_empty(), "everything is recorded");
        let slow = |second: u32| (view(&[(0, 7_000)], at(second)), stored(&[i64::from(second / 20)], at(second)));
        assert!(still(&mut standing, 100..190, slow).is_empty(), "somebody records");
        // One record is enough, and the log may grow or not.
        let grows = |second: u32| (view(&[(0, 8 + i64::from(second / 50))], at(second)), stored(&[7], at(second)));
        assert_eq!(still(&mut standing, 200..240, grows), (230..240).collect::<Vec<_>>());
        assert!(
            still(&mut standing, 240..260, |second| (view(&[(0, 99)], at(second)), stored(&[8], at(second))))
                .is_empty()
        );
    }

    #[test]
    fn what_has_no_row_stands_still_too_and_what_is_halted_does_not() {
        let start = Instant::now();
        let at = |second| start + second * SECOND;
        let mut standing = Standing::new(PATIENCE);
        let unopened = |second| (view(&[(0, 7)], at(second)), stored(&[], at(second)));
        assert_eq!(still(&mut standing, 0..40, unopened), (30..40).collect::<Vec<_>>());
        let halted = |second| {
            let halts = BTreeMap::from([(0, Halt::Gap)]);
            (view(&[(3, 7)], at(second)), ProgressView { halts, ..stored(&[1], at(second)) })
        };
        assert!(still(&mut standing, 40..90, halted).is_empty());
    }

    #[test]
    fn a_look_every_five_seconds_is_often_enough() {
        let (start, mut standing) = (Instant::now(), Standing::new(PATIENCE));
        let found: Vec<bool> = (0..8)
            .map(|look| {
                let now = start + look * LATELY;
                standing.compare(&view(&[(0, 9)], now), &stored(&[7], now), now)[&0].stands_still
            })
            .collect();
        assert_eq!(found, [false, false, false, false, false, false, true, true]);
        let now = start + 8 * LATELY;
        let moved_on = standing.compare(&view(&[(0, 9)], now - LATELY), &stored(&[8], now), now);
        assert!(!moved_on[&0].stands_still, "what was asked five seconds ago is told");
    }

    #[test]
    fn time_in_which_one_side_is_not_told_counts_for_nothing_and_takes_no_alarm_back() {
        let start = Instant::now();
        let at = |second| start + second * SECOND;
        for database in [true, false] {
            let mut standing = Standing::new(PATIENCE);
            let views = |second: u32| {
                // Away from 20 to 60, and again from 100 on.
                let known = if (20..60).contains(&second) { 20 } else { second.min(100) };
                let (log, progress) = if database { (second, known) } else { (known, second) };
                (view(&[(0, 9)], at(log)), stored(&[7], at(progress)))
            };
            assert_eq!(still(&mut standing, 0..160, views), (90..160).collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_is_said_at_once_then_once_in_a_while_and_never_twice_a_minute() {
        let start = Instant::now();
        let mut voice = Voice::default();
        let mut say = |second: u32, still: &[i32]| voice.on(&still.iter().copied().collect(), start + second * SECOND);
        assert_eq!(say(0, &[]), Say::Nothing);
        assert_eq!(say(1, &[1]), Say::Alarm);
        let said: Vec<u32> = (2..700).filter(|second| say(*second, &[1]) == Say::Alarm).collect();
        assert_eq!(said, [301, 601]);
        let said: Vec<u32> = (700..800).filter(|second| say(*second, &[1, 2]) == Say::Alarm).collect();
        assert_eq!(said, [700], "another one is named");
        assert_eq!((say(800, &[1]), say(801, &[]), say(802, &[])), (Say::Nothing, Say::Over, Say::Nothing));
        let said: Vec<u32> = (803..860).filter(|second| say(*second, &[(*second % 3) as i32]) == Say::Alarm).collect();
        assert_eq!(said, [803]);
        let said: Vec<u32> = (860..900).filter(|second| say(*second, &[4]) == Say::Alarm).collect();
        assert_eq!(said, [863]);
    }
}
