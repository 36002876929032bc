//! Is the log still the one that progress was made in? Pure: compares stored progress with what the broker says.
//!
//! The recorder asks before it reads a partition, the fanout to know where to stand, and every instance once a second,
//! to tell its screens. What a replaced or expired log means for a partition is decided here and nowhere else.

use crate::{
    config::{OnLogGap, OnLogRegression},
    domain::{Epoch, Halt, LastRecord, Position, Progress},
    log::view::Watermarks,
    protocol::StaleReason,
};

/// How stored progress and the log relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// The log goes on where progress stands. Where a last record is known and still there, reading it back proves it.
    Continues {
        /// What to read back.
        read_back: Option<LastRecord>,
    },
    /// Records between progress and the low watermark are gone.
    Gap,
    /// It is another log, or an older state of it.
    Replaced,
}

/// Compares progress with the log of this name.
pub fn compare(progress: &Progress, log_id: &str, log: Watermarks) -> Continuity {
    if progress.log_id != log_id || log.high < progress.next_offset {
        Continuity::Replaced
    } else if log.low > progress.next_offset {
        Continuity::Gap
    } else {
        Continuity::Continues { read_back: progress.last_record.filter(|last| last.offset >= log.low) }
    }
}

/// Where a follower of the log belongs: at progress, or at the beginning of what there is.
pub fn place(partition: i32, progress: Option<&Progress>, log_id: &str, log: Watermarks) -> Position {
    let beginning = |epoch| Position { partition, epoch, next_offset: log.low };
    let Some(progress) = progress else { return beginning(Epoch::of(log_id, 0)) };
    match compare(progress, log_id, log) {
        Continuity::Continues { .. } => progress.position(),
        Continuity::Gap => beginning(progress.epoch()),
        Continuity::Replaced => beginning(replacement(progress, log_id, log).epoch()),
    }
}

impl Halt {
    /// What screens are told.
    pub fn stale_reason(self) -> StaleReason {
        match self {
            Self::Gap => StaleReason::LogGap,
            Self::Regression => StaleReason::LogRegression,
        }
    }
}

/// What the settings say about a log that does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    /// `kafka.on_log_gap`.
    pub on_gap: OnLogGap,
    /// `kafka.on_log_regression`.
    pub on_regression: OnLogRegression,
}

/// What the recorder does with a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Reads on at progress; first reads this record back.
    Read {
        /// What to read back.
        read_back: Option<LastRecord>,
    },
    /// Moves progress first.
    Relocate(Move),
    /// Leaves the partition alone and says so.
    Halt(Halt),
}

/// Progress that moves for another reason than records applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Where it goes.
    pub to: Progress,
    /// Records nobody will deliver any more: from, to (exclusive).
    pub lost_range: Option<(i64, i64)>,
    /// The whole log is another one, so its partitions are counted anew.
    pub recount: bool,
}

/// Decides what to do with a partition in which progress and the log relate like this.
pub fn decide(
    continuity: Continuity,
    progress: &Progress,
    log_id: &str,
    log: Watermarks,
    policies: Policies,
) -> Decision {
    match (continuity, policies) {
        (Continuity::Continues { read_back }, _) => Decision::Read { read_back },
        (Continuity::Gap, Policies { on_gap: OnLogGap::Halt, .. }) => Decision::Halt(Halt::Gap),
        (Continuity::Gap, _) => Decision::Relocate(Move {
            to: Progress { next_offset: log.low, last_record: None, ..progress.clone() },
            lost_range: Some((progress.next_offset, log.low)),
            recount: false,
        }),
        (Continuity::Replaced, Policies { on_regression: OnLogRegression::Halt, .. }) => {
            Decision::Halt(Halt::Regression)
        }
        (Continuity::Replaced, _) => {
            Decision::Relocate(Move { to: replacement(progress, log_id, log), lost_range: None, recount: true })
        }
    }
}

/// Progress at the beginning of the log that replaced the one `progress` was made in. The generation grows even if the
/// name is another one, so that no epoch comes twice when a name comes back.
fn replacement(progress: &Progress, log_id: &str, log: Watermarks) -> Progress {
    Progress {
        partition: progress.partition,
        log_id: log_id.to_owned(),
        generation: progress.generation + 1,
        next_offset: log.low,
        last_record: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const HALT: Policies = Policies { on_gap: OnLogGap::Halt, on_regression: OnLogRegression::Halt };
    const GO_ON: Policies = Policies { on_gap: OnLogGap::Continue, on_regression: OnLogRegression::Reset };

    fn progress(next_offset: i64, last: Option<i64>) -> Progress {
        let last_record = last.map(|offset| LastRecord { offset, digest: 7 });
        Progress { partition: 2, log_id: "log".into(), generation: 3, next_offset, last_record }
    }

    fn log(low: i64, high: i64) -> Watermarks {
        Watermarks { low, high, queried_at: Instant::now() }
    }

    #[test]
    fn progress_within_the_watermarks_continues_and_reads_its_last_record_back_if_it_is_there() {
        let last = Some(LastRecord { offset: 9, digest: 7 });
        for (log, read_back) in [(log(0, 10), last), (log(9, 12), last), (log(10, 10), None)] {
            assert_eq!(compare(&progress(10, Some(9)), "log", log), Continuity::Continues { read_back });
        }
    }

    #[test]
    fn a_low_watermark_above_progress_is_a_gap() {
        let (log, at) = (log(15, 20), progress(10, Some(9)));
        let continuity = compare(&at, "log", log);
        assert_eq!(continuity, Continuity::Gap);
        assert_eq!(decide(continuity, &at, "log", log, HALT), Decision::Halt(Halt::Gap));
        let Decision::Relocate(moved) = decide(continuity, &at, "log", log, GO_ON) else { panic!("expected a move") };
        assert_eq!((moved.to.next_offset, moved.to.generation, moved.lost_range), (15, 3, Some((10, 15))));
        assert_eq!(place(2, Some(&at), "log", log), moved.to.position());
    }

    #[test]
    fn a_log_that_ends_below_progress_or_has_another_name_is_another_one() {
        let at = progress(10, Some(9));
        for (name, log) in [("log", log(0, 9)), ("other", log(4, 30))] {
            let continuity = compare(&at, name, log);
            assert_eq!(continuity, Continuity::Replaced);
            assert_eq!(decide(continuity, &at, name, log, HALT), Decision::Halt(Halt::Regression));
            let Decision::Relocate(moved) = decide(continuity, &at, name, log, GO_ON) else {
                panic!("expected a move")
            };
            assert_eq!((moved.to.next_offset, moved.to.generation, moved.recount), (log.low, 4, true));
            assert_eq!(place(2, Some(&at), name, log), moved.to.position());
        }
    }

    #[test]
    fn without_progress_a_follower_belongs_at_the_beginning() {
        let at = place(2, None, "log", log(4, 9));
        assert_eq!(at, Position { partition: 2, epoch: Epoch::of("log", 0), next_offset: 4 });
    }
}
