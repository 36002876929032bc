//! The time that events carry and latencies are taken from.

use std::time::{Duration, SystemTime};

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970, by the wall clock: publisher and reader may be two processes.
pub(super) fn now() -> u64 {
    nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// In whole nanoseconds, as long as 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long from now until then; nothing if it has passed.
pub(super) fn until(moment: u64) -> Duration {
    Duration::from_nanos(moment.saturating_sub(now()))
}
