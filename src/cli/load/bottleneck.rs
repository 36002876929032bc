//! Whether the load was itself what held it up. Then its latencies say little of the service.

use std::collections::BTreeMap;

use super::{clock, latency::Curve, process};

/// A thread that is busy for more of the time, or waits for a core, is late for what comes.
const MAX_BUSY: f64 = 0.9;
/// One of a hundred events given to the broker's client later than this was late, in microseconds.
const MAX_LATENESS: u64 = 5_000;
/// More of the updates than this waited here until they were read.
const MAX_HELD: f64 = 0.01;

/// The threads' time, from a beginning.
#[derive(Debug)]
pub(super) struct Busy {
    at: u64,
    threads: BTreeMap<String, u64>,
}

/// How much of the time threads ran or waited for a core: the busiest of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(super) struct Share {
    pub(super) reading: f64,
    pub(super) publishing: f64,
}

impl Busy {
    pub(super) fn begin() -> Self {
        Self { at: clock::now(), threads: process::threads() }
    }

    pub(super) fn end(&self) -> Share {
        let took = clock::now().saturating_sub(self.at).max(1) as f64;
        let now = process::threads();
        let busiest = |kind: &str| {
            let of_kind = now.iter().filter(|(name, _)| name.starts_with(kind));
            let share = |(name, busy): (&String, &u64)| {
                busy.saturating_sub(self.threads.get(name).copied().unwrap_or(0)) as f64 / took
            };
            of_kind.map(share).fold(0.0, f64::max)
        };
        Share { reading: busiest("load-read"), publishing: busiest("load-publish") }
    }
}

/// Why the latencies of a window are not to be trusted, if they are not.
pub(super) fn doubts(share: Share, lateness: &Curve, held: u64, deliveries: u64) -> Vec<String> {
    let mut doubts = Vec::new();
    if share.reading > MAX_BUSY {
        let percent = share.reading * 100.0;
        doubts.push(format!(
            "the load was the bottleneck: a thread that reads was busy, or waited for a core, {percent:.0} % of the time: --threads, --shard"
        ));
    }
    if share.publishing > MAX_BUSY {
        let percent = share.publishing * 100.0;
        doubts.push(format!(
            "the load was the bottleneck: the thread that publishes was busy, or waited for a core, {percent:.0} % of the time: --shard"
        ));
    }
    if lateness.p99 > MAX_LATENESS {
        let late = lateness.p99 as f64 / 1e3;
        doubts.push(format!(
            "the load was the bottleneck: one of a hundred events was published {late:.1} ms or more after it was due"
        ));
    }
    if held as f64 > deliveries as f64 * MAX_HELD {
        doubts.push(format!(
            "the load was the bottleneck: {held} of {deliveries} updates waited for 2 ms or longer until it read them"
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_had_time_is_not_doubted_and_one_that_had_none_is() {
        let calm = Share { reading: 0.5, publishing: 0.3 };
        assert!(doubts(calm, &Curve { p99: 300, ..Curve::default() }, 10, 10_000).is_empty());
        assert_eq!(doubts(Share { reading: 0.95, publishing: 0.91 }, &Curve::default(), 0, 1).len(), 2);
        assert_eq!(doubts(calm, &Curve { p99: 9_000, ..Curve::default() }, 500, 10_000).len(), 2);
    }
}
