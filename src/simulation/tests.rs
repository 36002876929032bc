//! Many seeds that must end clean, and rules switched off that must be seen to be missing.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::{
    flaws::{Flaw, Flaws},
    rules::Rule,
    run,
};
use crate::{hub, log};

const RUNS: u64 = 10_000;
/// Seeds tried before a rule counts as not needed.
const TRIES: u64 = 1_000;

fn asked_for(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs seeds on all processors. Returns what failed, by seed.
fn run_all(runs: u64) -> Vec<(u64, Flaws)> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        return;
                    }
                    let (flaws, _) = run(seed, None, false);
                    if !flaws.is_empty() {
                        failed.lock().unwrap().push((seed, flaws));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    failed
}

#[test]
fn a_cluster_ends_at_the_truth_whatever_happens() {
    if let Some(asked) = asked_for("ORDERCAST_SIM_SEED") {
        if let Some(seed) = asked.strip_prefix("cluster:") {
            let (flaws, _) = run(seed.parse().expect("the seed is a number"), None, true);
            assert!(flaws.is_empty(), "{flaws:#?}");
        }
        return;
    }
    let runs = asked_for("ORDERCAST_SIM_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let failed = run_all(runs);
    if let Some((seed, flaws)) = failed.first() {
        let again = format!("ORDERCAST_SIM_SEED=cluster:{seed} cargo test --lib cluster_ends -- --nocapture");
        let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).take(20).collect();
        panic!("{} of {runs} runs failed ({seeds:?}); the first: {flaws:#?}\nagain: {again}", failed.len());
    }
}

#[test]
fn the_same_seed_is_the_same_cluster() {
    for seed in 0..50 {
        assert_eq!(run(seed, None, false).1, run(seed, None, false).1, "seed {seed}");
    }
}

/// The first seed that fails without the rule in one of these ways; with the rule the same seed does not.
fn fails_without(rule: Rule, ways: &[Flaw]) {
    let failing = (0..TRIES).find(|seed| run(*seed, Some(rule), false).0.iter().any(|(flaw, _)| ways.contains(flaw)));
    let seed = failing.expect("a rule nobody needs, or a simulation that does not see it");
    let (flaws, _) = run(seed, None, false);
    assert!(flaws.is_empty(), "with the rule, seed {seed} fails as well: {flaws:#?}");
}

#[test]
fn without_compare_and_set_a_cluster_records_twice() {
    fails_without(Rule::CompareAndSet, &[Flaw::Recorded, Flaw::Rows]);
}

#[test]
fn with_rows_and_progress_apart_a_cluster_s_rows_are_not_the_log() {
    fails_without(Rule::OneTransaction, &[Flaw::Rows]);
}

#[test]
fn with_positions_from_kafka_a_cluster_does_not_get_on() {
    fails_without(Rule::PositionsFromSql, &[Flaw::Stuck]);
}

#[test]
fn letters_that_nobody_waits_for_are_lost_by_a_cluster() {
    fails_without(Rule::DeadLetterFirst, &[Flaw::DeadLetter]);
}

#[test]
fn halts_that_are_kept_to_oneself_leave_screens_of_other_instances_fresh() {
    fails_without(Rule::HaltsInSql, &[Flaw::Freshness]);
}

#[test]
fn a_cluster_that_takes_silence_for_good_news_shows_old_screens_as_fresh() {
    fails_without(Rule::Log(log::rules::LogRule::Silence), &[Flaw::Silent]);
}

#[test]
fn claims_compared_as_cursors_leave_screens_of_a_cluster_behind() {
    fails_without(Rule::Hub(hub::rules::HubRule::SyncRev), &[Flaw::Stale]);
}

#[test]
fn an_older_look_at_the_log_makes_a_cluster_take_it_for_another_one() {
    let ways = [Flaw::Recorded, Flaw::Rows, Flaw::Stuck, Flaw::Stale, Flaw::Freshness];
    fails_without(Rule::Log(log::rules::LogRule::NewerLook), &ways);
}

#[test]
fn a_cluster_that_proves_only_what_may_be_read_shows_old_screens_as_fresh_behind_an_open_transaction() {
    fails_without(Rule::Log(log::rules::LogRule::WholeLog), &[Flaw::Silent]);
}

#[test]
fn an_answer_of_a_slow_broker_that_is_compared_with_the_newest_progress_never_lets_a_cluster_begin() {
    fails_without(Rule::Log(log::rules::LogRule::OlderReading), &[Flaw::Freshness]);
}

#[test]
fn recorders_of_a_cluster_take_over_what_their_fanouts_have_read() {
    let taken_over: Vec<u64> = (0..40).map(super::taken_over).collect();
    let many = taken_over.iter().filter(|records| **records > 0).count();
    assert!(many >= 5, "too few runs try it: {taken_over:?}");
}
