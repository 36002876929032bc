//! When a statement for what is due begins. Pure: time is passed in.
//!
//! Whoever comes alone is asked for at once. What comes while a statement is under way goes with the next. Where few come
//! one by one, a statement does not follow the other on the heel, so that a storm costs the database few: each statement
//! costs it as much as five reads do, and as twenty where it is busy. A slow answer holds up others for a moment only.

use std::time::{Duration, Instant};

/// So many reads are worth a statement, once none is under way.
const ENOUGH: usize = 40;
/// So many are worth one at any time.
const FULL: usize = 200;
/// How soon a statement for fewer follows another.
const SPACING: Duration = Duration::from_millis(30);
/// Who came together with many has come if nobody follows within this time.
const SILENCE: Duration = Duration::from_millis(4);
/// How soon it follows one that is still under way.
const PATIENCE: Duration = Duration::from_millis(50);

/// The last statement, and what has become due since.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    begun: Option<Instant>,
    /// How many reads it carried.
    carried: usize,
    due: usize,
    /// When the last of them became due, as far as it was seen.
    grown_at: Option<Instant>,
}

impl Pace {
    /// How long `due` reads are to wait for others from `now` on, with so many statements like theirs under way; zero:
    /// they go.
    pub(crate) fn wait(&mut self, due: usize, under_way: usize, now: Instant) -> Duration {
        if std::mem::replace(&mut self.due, due) < due {
            self.grown_at = Some(now);
        }
        let Some(begun) = self.begun else { return Duration::ZERO };
        let left = |since: Instant, pause: Duration| pause.saturating_sub(now.saturating_duration_since(since));
        match under_way {
            _ if due >= FULL => Duration::ZERO,
            0 if due >= ENOUGH => Duration::ZERO,
            0 if self.carried >= ENOUGH => left(begun, SPACING).min(left(self.grown_at.unwrap_or(begun), SILENCE)),
            0 => left(begun, SPACING),
            _ => left(begun, PATIENCE),
        }
    }

    /// A statement for so many reads begins.
    pub(crate) fn begin(&mut self, reads: usize, now: Instant) {
        (self.begun, self.carried, self.due) = (Some(now), reads, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    /// Statements under way at most.
    const MOST: usize = 3;

    /// A database that takes so long for a statement and for each read in it.
    #[derive(Clone, Copy)]
    struct Database {
        statement: Duration,
        read: Duration,
    }

    const QUICK: Database = Database { statement: MILLI, read: Duration::from_micros(80) };
    const SLOW: Database = Database { statement: Duration::from_millis(40), read: Duration::from_micros(200) };

    /// What became of reads.
    #[derive(Debug, Default)]
    struct Outcome {
        statements: usize,
        /// How long each waited for its statement to begin.
        waits: Vec<Duration>,
        /// How long each waited for its answer.
        answers: Vec<Duration>,
        /// Whether one was kept waiting for longer than the spacing, with no statement under way.
        idled: bool,
    }

    impl Outcome {
        fn percentile(times: &[Duration], percent: usize) -> Duration {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
        }
    }

    /// Reads come at these moments after the start.
    fn run(comings: &[Duration], database: Database) -> Outcome {
        let (start, step) = (Instant::now(), Duration::from_micros(100));
        let (mut pace, mut outcome, mut now) = (Pace::default(), Outcome::default(), start);
        let (mut taken, mut come, mut under_way) = (0, 0, Vec::<Instant>::new());
        let mut alone_since = None;
        while taken < comings.len() {
            under_way.retain(|end| *end > now);
            while comings.get(come).is_some_and(|at| start + *at <= now) {
                come += 1;
            }
            let due = come - taken;
            let sends = due > 0 && under_way.len() < MOST && pace.wait(due, under_way.len(), now).is_zero();
            if sends {
                pace.begin(due, now);
                let took = database.statement + database.read * due as u32;
                under_way.push(now + took);
                outcome.statements += 1;
                for at in &comings[taken..come] {
                    outcome.waits.push(now - (start + *at));
                    outcome.answers.push(now + took - (start + *at));
                }
                taken = come;
            }
            alone_since = (due > 0 && !sends && under_way.is_empty()).then(|| alone_since.unwrap_or(now));
            outcome.idled |= alone_since.is_some_and(|since| now - since > SPACING);
            now += step;
        }
        outcome
    }

    fn evenly(reads: u32, per_second: u32) -> Vec<Duration> {
        (0..reads).map(|n| Duration::from_secs(1) * n / per_second).collect()
    }

    #[test]
    fn whoever_comes_alone_does_not_wait() {
        for database in [QUICK, SLOW] {
            let Outcome { statements, waits, .. } = run(&evenly(50, 15), database);
            assert_eq!(statements, 50);
            assert!(waits.iter().all(|wait| *wait <= MILLI), "{waits:?}");
        }
    }

    #[test]
    fn who_come_together_share_few_statements_and_wait_little() {
        for (together, at_most) in [(20, 2), (100, 4), (200, 7), (500, 14)] {
            // A client of one thread opens ten a millisecond.
            let outcome = run(&evenly(together, 10_000), QUICK);
            assert!(outcome.statements <= at_most, "{} statements for {together}", outcome.statements);
            let wait = Outcome::percentile(&outcome.waits, 100);
            // Only after many is it known that all have come.
            let most = if together < ENOUGH as u32 { SPACING + MILLI } else { 20 * MILLI };
            assert!(wait <= most, "{wait:?} for {together}");
        }
    }

    #[test]
    fn a_storm_shares_statements_and_hardly_anybody_waits_long() {
        for per_second in [200, 1_000, 2_000, 5_000] {
            let outcome = run(&evenly(5_000, per_second), QUICK);
            let most = 5_000 / (per_second as usize / 40).clamp(1, ENOUGH / 2);
            assert!(outcome.statements <= most + 1, "{} statements at {per_second} a second", outcome.statements);
            let late = Outcome::percentile(&outcome.answers, 99);
            assert!(late <= 50 * MILLI, "{late:?} at {per_second} a second");
            assert!(!outcome.idled);
        }
    }

    #[test]
    fn a_slow_database_is_asked_by_few_statements_at_once_and_nobody_waits_without_one() {
        for per_second in [50, 1_000, 5_000] {
            let outcome = run(&evenly(5_000, per_second), SLOW);
            assert!(!outcome.idled, "at {per_second} a second");
            let longest = Outcome::percentile(&outcome.waits, 100);
            assert!(longest <= 2 * PATIENCE, "{longest:?} at {per_second} a second");
            let span = Duration::from_secs(1) * 5_000 / per_second;
            let begun_one_after_the_other = (span.as_millis() / SPACING.as_millis()) as usize + 5_000 / FULL + MOST;
            assert!(outcome.statements <= begun_one_after_the_other, "{} statements", outcome.statements);
        }
    }

    #[test]
    fn one_slow_answer_holds_up_others_for_a_moment_only() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        assert_eq!(pace.wait(1, 0, start), Duration::ZERO);
        pace.begin(1, start);
        assert_eq!(pace.wait(ENOUGH, 1, start + MILLI), PATIENCE - MILLI);
        assert_eq!(pace.wait(FULL, 1, start + MILLI), Duration::ZERO);
        assert_eq!(pace.wait(1, 1, start + PATIENCE), Duration::ZERO);
        assert_eq!(pace.wait(1, 0, start + MILLI), SPACING - MILLI, "it was answered soon");
        assert_eq!(pace.wait(ENOUGH, 0, start + MILLI), Duration::ZERO);
        pace.begin(ENOUGH, start + MILLI);
        assert_eq!(pace.wait(2, 0, start + 2 * MILLI), SILENCE);
        assert_eq!(pace.wait(3, 0, start + 5 * MILLI), SILENCE, "somebody follows");
        assert_eq!(pace.wait(3, 0, start + 5 * MILLI + SILENCE), Duration::ZERO, "all have come");
    }
}
