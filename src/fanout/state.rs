//! What the fanout decides: where it stands, what the hub is told of the log, and whether this instance is fresh. Pure:
//! views, ends, records, positions and time come in as calls. The thread performs it; a simulation can, too.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    cursors::{Cursors, Seek},
    halts::HaltSources,
    readings::Readings,
    waiting::Waiting,
};
use crate::{
    domain::{Halts, decode::LogContext},
    log::{
        Policies,
        continuity::{self, Decision},
        freshness::Proofs,
        progress::ProgressView,
        view::{LogEnds, LogView},
    },
    protocol::StaleReasons,
};

/// The fanout without its consumer.
#[derive(Debug)]
pub(crate) struct FanoutState {
    cursors: Cursors,
    proofs: Proofs,
    policies: Policies,
    accepts_unversioned: bool,
    readings: Readings,
    /// Where everything stood when the hub was last told.
    reported_positions: BTreeMap<i32, i64>,
    /// The watermarks seen first: to have passed them is to be ready.
    ends_at_start: Option<Vec<(i32, i64)>>,
    /// The view last acted upon.
    view: Option<Arc<LogView>>,
    /// The ends last told.
    ends: Option<Arc<LogEnds>>,
    halts: HaltSources,
}

impl FanoutState {
    /// Follows nothing yet.
    pub(crate) fn new(cursors: Cursors, proofs: Proofs, policies: Policies) -> Self {
        Self {
            readings: Readings::new(proofs.rules),
            cursors,
            proofs,
            policies,
            accepts_unversioned: false,
            reported_positions: BTreeMap::new(),
            ends_at_start: None,
            view: None,
            ends: None,
            halts: HaltSources::default(),
        }
    }

    /// Progress was read.
    pub(crate) fn on_progress(&mut self, progress: &Arc<ProgressView>) {
        self.readings.note(progress);
        self.halts.stored.clone_from(&progress.halts);
        self.count_partitions();
    }

    /// The recorder of this instance has halted these partitions, and no others.
    pub(crate) fn on_own_halts(&mut self, own: Halts) {
        self.halts.own = own;
    }

    /// The ends of the log were told, whatever transactions are open.
    pub(crate) fn on_ends(&mut self, ends: &Arc<LogEnds>) {
        for (partition, end) in &ends.ends {
            self.proofs.on_end(*partition, *end, ends.queried_at);
        }
        self.ends = Some(ends.clone());
    }

    /// Acts on a new view. What it returns the hub has to be told before another record; then the consumer has to
    /// [assigned](Self::assign) anew, if there is anything.
    pub(crate) fn on_log(&mut self, log: &Arc<LogView>, now: Instant) -> Vec<Seek> {
        self.proofs.on_partitions(log.partitions.keys().copied(), log.listed_at);
        let seeks = self.cursors.on_view(log, &self.readings, now);
        for seek in &seeks {
            // The hub goes by the seek, so it is told of the position behind it even if that was told before.
            let (Seek::Begin(at) | Seek::Jump(at)) = seek;
            self.reported_positions.remove(&at.partition);
            match *seek {
                Seek::Begin(at) => self.proofs.on_position(at.partition, at.next_offset),
                Seek::Jump(to) => self.proofs.on_jump(to.partition, to.next_offset, now),
            }
        }
        for (partition, watermarks) in log.watermarks() {
            self.proofs.on_stable_end(partition, watermarks.high, watermarks.queried_at);
        }
        // Of partitions that were not listed before.
        if let Some(ends) = self.ends.clone() {
            self.on_ends(&ends);
        }
        self.judge(log);
        let is_known = log.watermarks().count() == log.partitions.len() && self.readings.newest().is_some();
        if self.ends_at_start.is_none() && is_known {
            self.ends_at_start = Some(log.watermarks().map(|(partition, log)| (partition, log.high)).collect());
        }
        self.readings.forget_before(log.listed_at);
        self.view = Some(log.clone());
        self.count_partitions();
        seeks
    }

    fn count_partitions(&mut self) {
        if let (Some(view), Some(progress)) = (&self.view, self.readings.newest()) {
            self.accepts_unversioned = progress.accepts_unversioned(view.partition_count());
        }
    }

    /// Where the client is about to be told to read.
    pub(crate) fn assign(&mut self) -> Vec<(i32, i64)> {
        match &self.view {
            Some(view) => self.cursors.assign(view),
            None => Vec::new(),
        }
    }

    /// A record was read. Says how to decode it; `None`: it is not the next one of a followed partition.
    pub(crate) fn on_record(&mut self, partition: i32, offset: i64) -> Option<LogContext> {
        let epoch = self.cursors.on_record(partition, offset)?;
        Some(LogContext { epoch, accepts_unversioned: self.accepts_unversioned })
    }

    /// The consumer has come to the end of a partition. Returns where that lies, if it is followed.
    pub(crate) fn on_end_of_partition(&mut self, partition: i32) -> Option<i64> {
        self.cursors.on_end_of_partition(partition);
        self.cursors.position(partition)
    }

    /// The consumer says where its next records lie, or beyond: transaction markers and holes move the position without
    /// a record. Returns what has moved since the last call, to be told to the hub.
    pub(crate) fn on_positions(&mut self, positions: impl IntoIterator<Item = (i32, i64)>) -> Vec<(i32, i64)> {
        for (partition, offset) in positions {
            self.cursors.on_position(partition, offset);
        }
        let mut moved = Vec::new();
        for (partition, offset) in self.cursors.positions() {
            self.proofs.on_position(partition, offset);
            if self.reported_positions.insert(partition, offset) != Some(offset) {
                moved.push((partition, offset));
            }
        }
        moved
    }

    /// Whether records are known of and do not come.
    pub(crate) fn is_stuck(&mut self, now: Instant) -> bool {
        self.view.as_ref().is_some_and(|view| self.cursors.is_stuck(view, now))
    }

    /// Whether it has passed the watermarks it saw first.
    pub(crate) fn has_caught_up(&self) -> bool {
        let passed = |(partition, end): &(i32, i64)| self.cursors.position(*partition).is_some_and(|at| at >= *end);
        self.ends_at_start.as_ref().is_some_and(|ends| ends.iter().all(passed))
    }

    /// What keeps it from being ready.
    pub(crate) fn waits_for(&self) -> Option<Waiting> {
        let Some(view) = &self.view else { return Some(Waiting::Log) };
        if self.readings.newest().is_none() {
            return Some(Waiting::Progress);
        }
        let unknown = view.partitions.iter().filter(|(_, log)| log.is_none());
        let unknown: Vec<i32> = unknown.map(|(partition, _)| *partition).collect();
        if !unknown.is_empty() {
            return Some(Waiting::Ends(unknown));
        }
        let not_begun = view.partitions.keys().filter(|partition| self.position(**partition).is_none());
        let not_begun: Vec<i32> = not_begun.copied().collect();
        if !not_begun.is_empty() {
            return Some(Waiting::NewerLook(not_begun));
        }
        let behind = |(partition, end): &(i32, i64)| u64::try_from(end - self.position(*partition)?).ok();
        let behind: u64 = self.ends_at_start.iter().flatten().filter_map(behind).sum();
        (behind > 0).then_some(Waiting::Records(behind))
    }

    /// Partitions in which a transaction has been open for longer than `kafka.stale_after`, with the offset at which it
    /// began.
    pub(crate) fn open_transactions(&self, now: Instant) -> impl Iterator<Item = (i32, i64)> {
        self.proofs.open_transactions(now)
    }

    /// Why what is shown may be out of date at `now`. Partitions that nobody records count, too.
    pub(crate) fn reasons(&self, now: Instant) -> StaleReasons {
        self.proofs.reasons(now).union(self.halts.reasons())
    }

    /// The view last acted upon.
    pub(crate) fn view(&self) -> Option<&LogView> {
        self.view.as_deref()
    }

    /// Where one partition stands.
    pub(crate) fn position(&self, partition: i32) -> Option<i64> {
        self.cursors.position(partition)
    }

    /// Whoever records a partition halts it if progress and log are like this; its screens here are stale, too.
    fn judge(&mut self, log: &LogView) {
        for (partition, watermarks) in log.watermarks() {
            let Some(known) = self.readings.by(watermarks.queried_at) else { continue };
            let decision = known.of(partition).map(|progress| {
                let continuity = continuity::compare(progress, &log.log_id, watermarks);
                continuity::decide(continuity, progress, &log.log_id, watermarks, self.policies)
            });
            match decision {
                Some(Decision::Halt(halt)) => drop(self.halts.compared.insert(partition, halt)),
                _ => drop(self.halts.compared.remove(&partition)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        config::{OnLogGap, OnLogRegression},
        domain::{Halt, Progress},
        log::view::Watermarks,
        protocol::StaleReason,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn state() -> FanoutState {
        let policies = Policies { on_gap: OnLogGap::Halt, on_regression: OnLogRegression::Halt };
        FanoutState::new(Cursors::new(1 << 20), Proofs::new(10 * SECOND), policies)
    }

    fn progress(next_offset: i64, read_at: Instant) -> Arc<ProgressView> {
        let log_id = "log".to_owned();
        let progress = vec![Progress { partition: 0, log_id, generation: 0, next_offset, last_record: None }];
        Arc::new(ProgressView { progress, partition_count: None, halts: BTreeMap::new(), read_at })
    }

    fn log(ends: Option<(i64, i64)>, queried_at: Instant) -> Arc<LogView> {
        let watermarks = ends.map(|(low, high)| Watermarks { low, high, queried_at });
        let partitions = [(0, watermarks)].into();
        Arc::new(LogView { log_id: "log".into(), partitions, listed_at: queried_at, compaction: None })
    }

    fn ends(end: i64, queried_at: Instant) -> Arc<LogEnds> {
        Arc::new(LogEnds { ends: [(0, end)].into(), queried_at })
    }

    #[test]
    fn however_long_a_look_takes_a_partition_begins_and_its_log_is_judged() {
        for took in [1_000, 2_000, 2_900, 9_000] {
            let (start, step) = (Instant::now(), Duration::from_millis(100));
            let mut state = state();
            let (mut asked, mut begun_at) = (start, None);
            for n in 0..400 {
                let now = start + n * step;
                // Progress is read a moment before each answer comes.
                if n % 10 == 9 {
                    state.on_progress(&progress(5, now));
                }
                if now >= asked + Duration::from_millis(took) {
                    let seeks = state.on_log(&log(Some((0, 9)), asked), now);
                    begun_at = begun_at.or((!seeks.is_empty()).then_some(now));
                    asked = now;
                }
            }
            let within = Duration::from_millis(2 * took + 2_000);
            assert!(begun_at.is_some_and(|at| at - start <= within), "{took} ms: {begun_at:?}");
            // Somebody makes the topic anew.
            state.on_log(&log(Some((0, 2)), start + 41 * SECOND), start + 50 * SECOND);
            let reasons = state.reasons(start + 50 * SECOND);
            assert!(reasons.contains(StaleReason::LogRegression), "{took} ms: {reasons:?}");
        }
    }

    #[test]
    fn an_answer_says_nothing_of_what_was_recorded_while_it_was_on_its_way() {
        let start = Instant::now();
        let mut state = state();
        state.on_progress(&progress(5, start));
        state.on_log(&log(Some((0, 9)), start + SECOND), start + SECOND);
        (5..20).for_each(|offset| assert!(state.on_record(0, offset).is_some()));
        state.on_progress(&progress(20, start + 3 * SECOND));
        // Asked for when the log ended at 10.
        let seeks = state.on_log(&log(Some((0, 10)), start + 2 * SECOND), start + 4 * SECOND);
        assert_eq!(seeks, []);
        assert!(!state.reasons(start + 4 * SECOND).contains(StaleReason::LogRegression));
        let seeks = state.on_log(&log(Some((0, 10)), start + 4 * SECOND), start + 5 * SECOND);
        assert_eq!(seeks.len(), 1, "now it is known to be another log: {seeks:?}");
        assert!(state.reasons(start + 5 * SECOND).contains(StaleReason::LogRegression));
    }

    #[test]
    fn an_open_transaction_is_no_news_for_whoever_reads_the_log() {
        let start = Instant::now();
        let mut state = state();
        state.on_progress(&progress(5, start));
        for n in 1..120 {
            let now = start + n * SECOND;
            state.on_ends(&ends(5 + i64::from(n), now));
            assert_eq!(state.on_log(&log(Some((0, 5)), now), now).is_empty(), n > 1);
            assert_eq!(state.on_end_of_partition(0), Some(5));
            assert!(!state.is_stuck(now), "{n} s");
            assert!(state.has_caught_up());
            let reasons: Vec<_> = state.reasons(now).iter().collect();
            assert_eq!(reasons, [StaleReason::OpenTransaction]);
            assert_eq!(state.open_transactions(now).collect::<Vec<_>>(), [(0, 5)]);
        }
    }

    #[test]
    fn the_hub_is_told_only_of_positions_that_move_and_screens_stay_fresh() {
        let start = Instant::now();
        let mut state = state();
        state.on_progress(&progress(5, start));
        assert_eq!(state.on_log(&log(Some((0, 7)), start + SECOND), start + SECOND).len(), 1);
        assert_eq!(state.on_positions([]), [(0, 5)]);
        assert!(state.on_record(0, 5).is_some() && state.on_record(0, 6).is_some());
        assert_eq!(state.on_positions([(0, 7)]), [(0, 7)]);
        for n in 2..60 {
            let now = start + n * SECOND;
            state.on_ends(&ends(7, now));
            state.on_log(&log(Some((0, 7)), now), now);
            (0..10).for_each(|_| assert_eq!(state.on_positions([(0, 7)]), []));
            assert!(state.reasons(now).is_fresh(), "{n} s");
        }
        // A transaction marker moves it without a record.
        assert_eq!(state.on_positions([(0, 8)]), [(0, 8)]);
        // What lies there now is another log.
        state.on_progress(&progress(0, start + 60 * SECOND));
        let other = Arc::new(LogView { log_id: "other".into(), ..(*log(Some((0, 8)), start + 61 * SECOND)).clone() });
        let seeks = state.on_log(&other, start + 61 * SECOND);
        assert_eq!(seeks.len(), 1, "{seeks:?}");
        assert_eq!(state.on_positions([]).len(), 1, "wherever it stands after that");
        assert_eq!(state.on_positions([]), []);
    }

    #[test]
    fn ends_that_were_told_before_the_partitions_count_once_these_are_known() {
        let start = Instant::now();
        let mut state = state();
        state.on_progress(&progress(5, start));
        state.on_ends(&ends(5, start + SECOND));
        state.on_log(&log(Some((0, 5)), start + SECOND), start + SECOND);
        assert!(state.reasons(start + SECOND).is_fresh());
    }

    #[test]
    fn a_partition_is_halted_for_as_long_as_anybody_says_so() {
        let start = Instant::now();
        let mut state = state();
        state.on_progress(&progress(5, start));
        state.on_ends(&ends(5, start + SECOND));
        state.on_log(&log(Some((0, 5)), start + SECOND), start + SECOND);
        state.on_ends(&ends(5, start + SECOND));
        assert!(state.reasons(start + SECOND).is_fresh());
        state.on_own_halts([(0, Halt::Gap)].into());
        let stored = ProgressView { halts: [(0, Halt::Regression)].into(), ..(*progress(5, start)).clone() };
        state.on_progress(&Arc::new(stored));
        let reasons = |state: &FanoutState| state.reasons(start + SECOND).iter().collect::<Vec<_>>();
        assert_eq!(reasons(&state).len(), 2);
        state.on_own_halts(Halts::new());
        assert_eq!(reasons(&state), [StaleReason::LogRegression]);
        state.on_progress(&progress(5, start));
        assert_eq!(reasons(&state), []);
    }

    #[test]
    fn versions_come_from_the_log_while_it_has_the_partitions_it_had_at_first() {
        let start = Instant::now();
        for (first, accepts) in [(None, true), (Some(1), true), (Some(2), false)] {
            let mut state = state();
            state.on_log(&log(Some((0, 9)), start), start);
            let read = ProgressView { partition_count: first, ..(*progress(5, start)).clone() };
            state.on_progress(&Arc::new(read));
            state.on_log(&log(Some((0, 9)), start + SECOND), start + SECOND);
            let context = state.on_record(0, 5).expect("it is the next one");
            assert_eq!(context.accepts_unversioned, accepts, "{first:?}");
        }
    }

    #[test]
    fn the_consumer_is_told_where_to_read_and_is_stuck_where_nothing_comes() {
        let start = Instant::now();
        let mut state = state();
        assert_eq!((state.assign(), state.view()), (vec![], None));
        assert!(!state.is_stuck(start));
        state.on_progress(&progress(5, start));
        let view = log(Some((0, 9)), start);
        state.on_log(&view, start);
        assert_eq!((state.assign(), state.view()), (vec![(0, 5)], Some(&*view)));
        assert!(!state.is_stuck(start), "it was told only just");
        assert!(state.is_stuck(start + 60 * SECOND));
    }

    #[test]
    fn who_is_not_ready_says_what_it_waits_for() {
        let start = Instant::now();
        let mut state = state();
        let waits = |state: &FanoutState| state.waits_for().map(|waiting| waiting.to_string()).unwrap_or_default();
        assert!(waits(&state).contains("the brokers to tell about the topic"));
        state.on_log(&log(None, start), start);
        assert!(waits(&state).contains("the database"));
        state.on_progress(&progress(5, start + SECOND));
        state.on_log(&log(None, start), start + SECOND);
        assert!(waits(&state).contains("the leaders of the partitions [0]"));
        assert!(!state.has_caught_up(), "whose ends are not known");
        state.on_log(&log(Some((0, 9)), start), start + SECOND);
        assert!(waits(&state).contains("newer than recorded progress"));
        assert!(!state.has_caught_up());
        state.on_log(&log(Some((0, 9)), start + SECOND), start + SECOND);
        assert!(waits(&state).contains("4 to go"));
        assert!(!state.has_caught_up());
        // Whatever is written meanwhile is not waited for.
        state.on_log(&log(Some((0, 20)), start + 2 * SECOND), start + 2 * SECOND);
        assert!(waits(&state).contains("4 to go"));
        (5..9).for_each(|offset| assert!(state.on_record(0, offset).is_some()));
        assert_eq!(state.waits_for(), None);
        assert!(state.has_caught_up());
    }
}
