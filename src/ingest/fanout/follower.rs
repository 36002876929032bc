//! What the fanout decides: where it stands, what the hub is told of the log, and whether this instance is fresh. Pure:
//! views, records, positions and time come in as calls. The thread performs it; a simulation can, too.

use std::{sync::Arc, time::Instant};

use super::following::{Following, Turn};
use crate::{
    event::decode::LogContext,
    ingest::{
        freshness::Proofs,
        log_check::{self, Decision, Policies},
        log_watch::LogView,
        progress::ProgressView,
        recorder::Halts,
    },
    protocol::StaleReasons,
};

/// The fanout without its consumer.
#[derive(Debug)]
pub(crate) struct Follower {
    following: Following,
    proofs: Proofs,
    policies: Policies,
    accepts_unversioned: bool,
    /// The watermarks seen first: to have passed them is to be ready.
    ends_at_start: Option<Vec<(i32, i64)>>,
    /// The view last acted upon.
    view: Option<Arc<LogView>>,
    /// Partitions that whoever records them halts, as far as positions tell.
    halted: Halts,
    /// Partitions of which whoever records them says so.
    told: Halts,
}

impl Follower {
    /// Follows nothing yet.
    pub(crate) fn new(following: Following, proofs: Proofs, policies: Policies) -> Self {
        Self {
            following,
            proofs,
            policies,
            accepts_unversioned: false,
            ends_at_start: None,
            view: None,
            halted: Halts::new(),
            told: Halts::new(),
        }
    }

    /// Acts on new views. What it returns the hub has to be told before another record; then the consumer has to
    /// [stand](Self::stand) elsewhere, if there is anything.
    pub(crate) fn on_views(&mut self, log: &Arc<LogView>, progress: &ProgressView, now: Instant) -> Vec<Turn> {
        self.accepts_unversioned = progress.accepts_unversioned(log.partition_count());
        self.proofs.on_partitions(log.partitions.keys().copied(), log.listed_at);
        let turns = self.following.on_views(log, progress, now);
        for turn in &turns {
            match *turn {
                Turn::Begin(at) => self.proofs.on_position(at.partition, at.next_offset),
                Turn::Jump(to) => self.proofs.on_jump(to.partition, to.next_offset),
            }
        }
        for (partition, watermarks) in log.watermarks() {
            self.proofs.on_watermark(partition, watermarks.high, watermarks.queried_at);
        }
        self.judge(log, progress);
        self.told.clone_from(&progress.halts);
        if self.ends_at_start.is_none() && log.watermarks().count() == log.partitions.len() {
            self.ends_at_start = Some(log.watermarks().map(|(partition, log)| (partition, log.high)).collect());
        }
        self.view = Some(log.clone());
        turns
    }

    /// The consumer is about to be told to stand here.
    pub(crate) fn stand(&mut self) -> Vec<(i32, i64)> {
        match &self.view {
            Some(view) => self.following.stand(view),
            None => Vec::new(),
        }
    }

    /// A record was read. Says how to decode it; `None`: it is not the next one of a followed partition.
    pub(crate) fn on_record(&mut self, partition: i32, offset: i64) -> Option<LogContext> {
        let epoch = self.following.on_record(partition, offset)?;
        Some(LogContext { epoch, accepts_unversioned: self.accepts_unversioned })
    }

    /// The consumer has come to the end of a partition. Returns where that lies, if it is followed.
    pub(crate) fn on_end_of_partition(&mut self, partition: i32) -> Option<i64> {
        self.following.on_end_of_partition(partition);
        self.following.position(partition)
    }

    /// The consumer says where its next records lie, or beyond: transaction markers and holes move the position without
    /// a record. Returns where everything stands, to be told to the hub.
    pub(crate) fn on_positions(&mut self, positions: impl IntoIterator<Item = (i32, i64)>) -> Vec<(i32, i64)> {
        for (partition, offset) in positions {
            self.following.on_position(partition, offset);
        }
        let positions: Vec<(i32, i64)> = self.following.positions().collect();
        for (partition, offset) in &positions {
            self.proofs.on_position(*partition, *offset);
        }
        positions
    }

    /// Whether records are known of and do not come.
    pub(crate) fn is_stuck(&mut self, now: Instant) -> bool {
        self.view.as_ref().is_some_and(|view| self.following.is_stuck(view, now))
    }

    /// Whether it has passed the watermarks it saw first.
    pub(crate) fn has_caught_up(&self) -> bool {
        let passed = |(partition, end): &(i32, i64)| self.following.position(*partition).is_some_and(|at| at >= *end);
        self.ends_at_start.as_ref().is_some_and(|ends| ends.iter().all(passed))
    }

    /// Why what is shown may be out of date at `now`. Partitions that are not recorded count, too: here (`own`) and anywhere,
    /// which is seen at once where positions tell, and otherwise read from the store.
    pub(crate) fn reasons(&self, own: &Halts, now: Instant) -> StaleReasons {
        let halts = self.halted.values().chain(self.told.values()).chain(own.values());
        let halts = halts.map(|halt| halt.stale_reason()).collect();
        self.proofs.reasons(now).union(halts)
    }

    /// The view last acted upon.
    pub(crate) fn view(&self) -> Option<&LogView> {
        self.view.as_deref()
    }

    /// Where one partition stands.
    pub(crate) fn position(&self, partition: i32) -> Option<i64> {
        self.following.position(partition)
    }

    /// Whoever records a partition halts it if progress and log are like this; its screens here are stale, too.
    fn judge(&mut self, log: &LogView, progress: &ProgressView) {
        for (partition, watermarks) in log.watermarks().filter(|(_, log)| log.queried_at >= progress.read_at) {
            let decision = progress.of(partition).map(|progress| {
                let continuity = log_check::compare(progress, &log.log_id, watermarks);
                log_check::decide(continuity, progress, &log.log_id, watermarks, self.policies)
            });
            match decision {
                Some(Decision::Halt(halt)) => drop(self.halted.insert(partition, halt)),
                _ => drop(self.halted.remove(&partition)),
            }
        }
    }
}
