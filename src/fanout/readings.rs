//! Readings of progress of the last while. Pure: readings and moments come in as calls.
//!
//! An answer about the log says nothing of progress that was made while it was on its way: a log that ends below what was
//! recorded since would look like another one. So each answer is compared with progress as it was known when it was asked
//! for. Readings come once a second, and brokers may take longer than that to answer: had the newest reading to be older
//! than the answer, none would ever be.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::log::{
    progress::ProgressView,
    rules::{LogRule, LogRules},
};

/// Readings that come faster take each other's place.
const APART: Duration = Duration::from_millis(500);
/// With that, more than the longest look at the log takes.
const KEPT: usize = 120;

/// Readings in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    kept: VecDeque<Arc<ProgressView>>,
    rules: LogRules,
}

impl Readings {
    pub(crate) fn new(rules: LogRules) -> Self {
        Self { kept: VecDeque::new(), rules }
    }

    /// Progress was read.
    pub(crate) fn note(&mut self, reading: &Arc<ProgressView>) {
        let newest = self.kept.len().saturating_sub(1);
        let before = newest.checked_sub(1).and_then(|place| self.kept.get(place));
        let apart = |last: &Arc<ProgressView>, before: &Arc<ProgressView>| {
            last.read_at.saturating_duration_since(before.read_at) >= APART
        };
        if let (Some(last), Some(before)) = (self.kept.back(), before)
            && !apart(last, before)
        {
            self.kept.pop_back();
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(reading.clone());
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<&ProgressView> {
        self.kept.back().map(Arc::as_ref)
    }

    /// The newest that had been read by then.
    pub(crate) fn by(&self, moment: Instant) -> Option<&ProgressView> {
        let from = if self.rules.hold(LogRule::OlderReading) { 0 } else { self.kept.len().saturating_sub(1) };
        self.kept.range(from..).rev().find(|reading| reading.read_at <= moment).map(Arc::as_ref)
    }

    /// Nothing is asked about earlier moments any more.
    pub(crate) fn forget_before(&mut self, moment: Instant) {
        let older = self.kept.iter().take_while(|reading| reading.read_at <= moment).count();
        self.kept.drain(..older.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn reading(read_at: Instant) -> Arc<ProgressView> {
        Arc::new(ProgressView { progress: Vec::new(), partition_count: None, halts: BTreeMap::new(), read_at })
    }

    #[test]
    fn an_answer_finds_the_newest_reading_that_is_older_than_its_question() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut readings = Readings::default();
        assert_eq!(readings.by(start), None);
        (1..=4).for_each(|n| readings.note(&reading(start + n * second)));
        let found = |readings: &Readings, at| readings.by(at).map(|reading| (reading.read_at - start).as_millis());
        assert_eq!(found(&readings, start + second / 2), None);
        assert_eq!(found(&readings, start + second), Some(1_000));
        assert_eq!(found(&readings, start + second * 7 / 2), Some(3_000));
        assert_eq!(found(&readings, start + 9 * second), Some(4_000));
        readings.forget_before(start + 3 * second);
        assert_eq!(found(&readings, start + 3 * second), Some(3_000));
        assert_eq!(found(&readings, start + 2 * second), None);
        assert_eq!(readings.newest().map(|reading| reading.read_at), Some(start + 4 * second));
    }

    #[test]
    fn of_readings_that_come_fast_the_newest_is_kept() {
        let (start, moment) = (Instant::now(), Duration::from_millis(1));
        for (between, kept) in [(APART - moment, [0, 2]), (APART, [1, 2])] {
            let mut readings = Readings::default();
            (0..3).for_each(|n| readings.note(&reading(start + n * between)));
            let found = kept.map(|n| readings.by(start + n * between).map(|reading| reading.read_at));
            assert_eq!(found, kept.map(|n| Some(start + n * between)), "{between:?} apart");
            let between_both = readings.by(start + between + moment).map(|reading| reading.read_at);
            assert_eq!(between_both, Some(start + kept[0] * between));
        }
    }

    #[test]
    fn readings_that_come_fast_or_for_long_are_kept_few_and_reach_back_far() {
        let (start, moment) = (Instant::now(), Duration::from_millis(10));
        let mut readings = Readings::default();
        (0..100_000).for_each(|n| readings.note(&reading(start + n * moment)));
        assert!(readings.kept.len() <= KEPT);
        let end = start + 99_999 * moment;
        assert_eq!(readings.newest().map(|reading| reading.read_at), Some(end));
        for ago in (1..50).map(Duration::from_secs) {
            let found = readings.by(end - ago).expect("a reading of then");
            assert!(end - ago - found.read_at <= APART + moment, "{ago:?} ago");
        }
    }
}
