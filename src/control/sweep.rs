//! Takes back records that matter no more: kicks and announcements after their minute, revocations of tokens that have
//! ended, and those that another covers. Compaction then removes them.
//!
//! Every instance does it, each at its own time, so mostly one is first and the others find nothing left. A record that
//! is taken back twice is taken back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{ControlDependencies, SharedFold};
use crate::domain::Timestamp;

/// How long from one look to the next, at random: two instances that started together must not stay together.
const INTERVAL_SECONDS: std::ops::Range<u64> = 30..90;

/// Inputs: the clock, stop.
pub(super) async fn run(dependencies: ControlDependencies, fold: Arc<SharedFold>, stop: CancellationToken) {
    let started = (Instant::now(), Timestamp::now());
    loop {
        let pause = Duration::from_secs(rand::random_range(INTERVAL_SECONDS));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = vouched_for(Timestamp::now(), started.1, started.0.elapsed());
        let mut keys = fold.step(|fold| fold.over(now));
        keys.extend(dependencies.revocations.read(|revocations| revocations.spent(now)));
        tokio::select! {
            () = stop.cancelled() => return,
            erased = dependencies.writer.erase(&keys) => {
                if let Err(error) = erased {
                    tracing::warn!(%error, "records of the control topic that are over could not be taken back");
                }
            }
        }
    }
}

/// What is taken back is taken back for all, for ever. So a clock that was set forward since this process started counts
/// for as much only as has really passed: what it says is over too early is kept, at worst, until the next start.
fn vouched_for(now: Timestamp, started_at: Timestamp, since: Duration) -> Timestamp {
    let passed = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let steady = Timestamp::from_millis(started_at.as_millis().saturating_add(passed));
    steady.map_or(now, |steady| steady.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_forward_takes_nothing_back_early() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000).unwrap();
        let minute = Duration::from_secs(60);
        assert_eq!(vouched_for(at(1_060), at(1_000), minute), at(1_060));
        assert_eq!(vouched_for(at(1_000_000), at(1_000), minute), at(1_060), "set forward");
        assert_eq!(vouched_for(at(500), at(1_000), minute), at(500), "set back");
    }
}
