//! Takes back records that matter no more: kicks and announcements after their minute, revocations of tokens that have
//! ended, and those that another covers. Compaction then removes them.
//!
//! Every instance does it, each at its own time, so mostly one is first and the others find nothing left. A record that
//! is taken back twice is taken back.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{ControlParts, SharedFold};
use crate::event::Timestamp;

/// How long from one look to the next, at random: two instances that started together must not stay together.
const INTERVAL_SECONDS: std::ops::Range<u64> = 30..90;

/// Inputs: the clock, stop.
pub(super) async fn run(parts: ControlParts, fold: Arc<SharedFold>, stop: CancellationToken) {
    loop {
        let pause = Duration::from_secs(rand::random_range(INTERVAL_SECONDS));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = Timestamp::now();
        let mut keys = fold.step(|fold| fold.over(now));
        keys.extend(parts.revocations.read(|revocations| revocations.spent(now)));
        tokio::select! {
            () = stop.cancelled() => return,
            erased = parts.writer.erase(&keys) => {
                if let Err(error) = erased {
                    tracing::warn!(%error, "records of the control topic that are over could not be taken back");
                }
            }
        }
    }
}
