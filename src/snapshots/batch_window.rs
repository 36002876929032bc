//! How long reads are gathered before they share a statement. Pure: time is passed in.
//!
//! Whoever comes alone is answered at once. The more was read in the last second, the longer the next statement waits for
//! others to join it, so that a reconnect storm costs few statements and an ordinary day no time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So many reads are worth a statement, however soon they came.
const FULL: usize = 200;
/// What each read of the last second adds to the wait.
const WAIT_PER_READ: Duration = Duration::from_millis(2);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// What counts as recent.
const RECENT: Duration = Duration::from_secs(1);

/// The statements sent lately.
#[derive(Debug, Default)]
pub(crate) struct BatchWindow {
    sent: VecDeque<(Instant, usize)>,
}

impl BatchWindow {
    /// How long `due` reads are to wait for others from `now` on; zero: they go.
    pub(crate) fn wait(&mut self, due: usize, now: Instant) -> Duration {
        while self.sent.pop_front_if(|(at, _)| now.saturating_duration_since(*at) > RECENT).is_some() {}
        let Some((last, _)) = self.sent.back().filter(|_| due < FULL) else { return Duration::ZERO };
        let reads = self.sent.iter().map(|(_, reads)| reads).sum::<usize>() + due;
        let wait = WAIT_PER_READ.saturating_mul(u32::try_from(reads).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
        wait.saturating_sub(now.saturating_duration_since(*last))
    }

    /// A statement was sent for so many reads.
    pub(crate) fn sent(&mut self, reads: usize, now: Instant) {
        self.sent.push_back((now, reads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements sent for `reads` that come evenly at `per_second`, and the longest that one of them waited.
    fn statements(reads: u32, per_second: u32) -> (u32, Duration) {
        let (start, step) = (Instant::now(), Duration::from_micros(500));
        let (mut window, mut taken, mut statements, mut now) = (BatchWindow::default(), 0, 0, start);
        let (mut oldest, mut longest) = (None, Duration::ZERO);
        while taken < reads {
            now += step;
            let come = ((now - start).as_secs_f64() * f64::from(per_second)) as u32;
            let due = (come.min(reads) - taken) as usize;
            if due == 0 {
                continue;
            }
            let since = *oldest.get_or_insert(now);
            if window.wait(due, now).is_zero() {
                window.sent(due, now);
                longest = longest.max(now - since);
                (oldest, taken, statements) = (None, taken + due as u32, statements + 1);
            }
        }
        (statements, longest)
    }

    #[test]
    fn a_storm_costs_a_statement_for_each_hundred_reads_at_most() {
        for (reads, per_second) in
            [(1_000, 1_000_000), (1_000, 2_000), (5_000, 250), (5_000, 500), (5_000, 5_000), (15_000, 2_000)]
        {
            let (statements, longest) = statements(reads, per_second);
            assert!(statements <= reads / 100, "{statements} statements for {reads} reads at {per_second} a second");
            assert!(longest <= LONGEST_WAIT, "{longest:?}");
        }
    }

    #[test]
    fn an_ordinary_day_costs_no_time() {
        for (per_second, at_most) in [(1, 2), (10, 30), (30, 80)] {
            let (_, longest) = statements(per_second * 10, per_second);
            assert!(longest <= Duration::from_millis(at_most), "{longest:?} at {per_second} a second");
        }
    }
}
